"""One verdict from the offline evaluation and from what devices logged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edgerec.evaluation.online import Online
from edgerec.evaluation.report import Report

__all__ = ["Combined", "combine"]

Word = Literal["ship", "wait", "stop"]


@dataclass(frozen=True)
class Combined:
    """What to do, and why."""

    word: Word
    because: Sequence[str]

    def lines(self) -> list[str]:
        """For the screen."""
        return [f"verdict: {self.word}", *(f"  {line}" for line in self.because)]


def combine(offline: Report | None, online: Online | None) -> Combined:
    """stop: a gate is broken, or users prefer the older bundle. wait: something is undecided. ship: otherwise.

    The newer of two bundles is b: names end in their version, and are compared in that order.
    """
    words: list[Word] = []
    because: list[str] = []
    if offline is not None:
        words.append(offline.verdict["word"] if offline.verdict else "stop" if offline.failures else "wait")
        because += [f"offline: {line}" for line in offline.verdict.get("because", offline.failures)]
        if not because:
            because.append("offline: no verdict in this report; run: edgerec evaluate")
    tests = () if online is None else (("A/B test", online.ab), ("interleaving", online.interleaved))
    for test, verdicts in tests:
        for name, verdict in verdicts.items():
            winner = verdict.winner
            words.append("wait" if winner is None else "ship" if winner == "b" else "stop")
            result = "undecided" if winner is None else f"{winner} is better"
            because.append(f"online, {test} of {name}: {result} after {verdict.users:,} users ({verdict.value:+.4f})")
    if online is not None and not (online.ab or online.interleaved):
        because.append("online: no A/B test and no interleaving of two bundles; rewards alone decide nothing")
    word: Word = "stop" if "stop" in words else "wait" if "wait" in words or not words else "ship"
    return Combined(word, because or ["there is neither a report nor a logged list"])
