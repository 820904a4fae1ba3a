"""The simple baselines of a run: judged once for a dataset, in whatever process has the time, and kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgerec.config import EvaluationConfig
from edgerec.ensemble.members import load_boosting
from edgerec.ensemble.views import EnsembleSettings
from edgerec.evaluation.baselines import Baselines, evaluate_baselines
from edgerec.examples.evaluation_requests import EvaluationRequests
from edgerec.examples.load import LearningData
from edgerec.progress import Progress
from edgerec.stages.run import ENSEMBLE, Run

WORTH_A_PROCESS = 2_000_000
"""Scores of the evaluation requests' catalogues from which the baselines are judged in a process of their own."""


@dataclass(frozen=True)
class JudgeBaselines:
    """The evaluation of the baselines; what was found is in the file `kept`, and read from there the next time."""

    ensemble: EnsembleSettings
    settings: EvaluationConfig
    data: LearningData
    eval_requests: EvaluationRequests
    members: Path
    kept: Path

    @classmethod
    def of(cls, run: Run, data: LearningData, eval_requests: EvaluationRequests) -> JudgeBaselines:
        """The baselines of a run; boosted trees of its ensemble are among them."""
        members = run.teacher / ENSEMBLE
        boosted = run.teacher_files() if (members / "boosting.json").exists() else []
        asked = run.config.model_dump(mode="json", include={"seed", "task", "evaluation"})
        kept = run.kept("baselines", boosted, asked)
        return cls(run.ensemble_settings, run.config.evaluation, data, eval_requests, members, kept)

    def is_worth_a_process(self) -> bool:
        """Or do the evaluation requests have so few scores that a process takes longer to start?"""
        return len(self.eval_requests.rows) * self.data.n_items >= WORTH_A_PROCESS

    def __call__(self, progress: Progress) -> Baselines:
        """Judge them, if that was not done before."""
        if self.kept.exists():
            return Baselines.load(self.kept)
        boosting = load_boosting(self.ensemble, self.data, self.members)
        found = evaluate_baselines(self.data, self.eval_requests, self.settings, boosting)
        found.save(self.kept)
        return found
