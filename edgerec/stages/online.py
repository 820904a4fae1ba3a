"""Judges what devices have logged, together with the last report of a run."""

from __future__ import annotations

from dataclasses import dataclass

from edgerec.evaluation.online import Online, analyse, read_places
from edgerec.evaluation.report import Report
from edgerec.evaluation.verdict import Combined, combine
from edgerec.files import write_json
from edgerec.runtime import Recommender
from edgerec.stages.run import Run

__all__ = ["OnlineReport", "judge_online"]


@dataclass(frozen=True)
class OnlineReport:
    """Results of logged lists, and one verdict from them and the last report of the run."""

    online: Online
    verdict: Combined

    def lines(self) -> list[str]:
        """For the screen, below the tables of `online`."""
        return [*self.online.lines(), *self.verdict.lines()]

    def to_json(self) -> dict[str, object]:
        """The content of online.json."""
        return {**self.online.to_json(), "verdict": self.verdict.word, "because": list(self.verdict.because)}


def judge_online(run: Run, pattern: str, reward: str, share: float) -> OnlineReport:
    """Analyse logged lists and write report/online.json.

    Args:
        pattern: files of `edgerec events lists`. reward: the kind of feedback that counts.
        share: of the users who had bundle b in an A/B test.
    Raises:
        DataError: a file is missing or holds something else.
    """
    places = read_places(pattern)
    offline = Report.read(run.report) if (run.report / "report.json").exists() else None
    if run.bundle.exists():
        with Recommender.of(run.bundle) as recommender:
            online = analyse(places, reward, share, recommender)
    else:
        online = analyse(places, reward, share, None)
    report = OnlineReport(online, combine(offline, online))
    write_json(run.report / "online.json", report.to_json(), sort_keys=False)
    return report
