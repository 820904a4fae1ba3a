"""Whether what a device learns of its user pays: AUC and gain per user of the bundle as it is and with adaptation.

Replays the impressions of a run's evaluation split, user by user, in time order. Each is a list of one item that was
taken or not. "frozen" ranks by the bundle's probability; "adapted" by the policy's correction of it, learned from the
user's earlier impressions of the split alone and used only while its guard trusts it. Choose --rate and --most on
valid; look at test once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from edgerec import metrics
from edgerec.bundle.policy import Adapt
from edgerec.config import Config
from edgerec.errors import ConfigError
from edgerec.evaluation.runtime_model import RuntimeModel
from edgerec.examples.evaluation_requests import EvaluationRequests, evaluation_labels
from edgerec.progress import progress_for
from edgerec.runtime import ArrayRecommender
from edgerec.runtime.adaptation import LearnedState
from edgerec.stages.run import Run
from edgerec.tasks import scored_tasks
from tools.benchmarks.shared.command import Parser, Row, add_json, add_run, print_rows

DURATION = "minutes"
MANY = 10
"""Impressions from which a user's own ranking is told apart from noise."""
Double: TypeAlias = npt.NDArray[np.float64]
Bool: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Impressions:
    """E rows, sorted by user, then time.

    Attributes:
        probability: float64 (E,), of the bundle; vectors: float32 (E, dim), zeros of items that it does not hold.
        taken: bool (E,); user: int64 (E,).
    """

    probability: Double
    vectors: npt.NDArray[np.float32]
    taken: Bool
    user: npt.NDArray[np.int64]

    @classmethod
    def of(cls, run: Path, part: Literal["valid", "test"], task_name: str) -> Impressions:
        """Those of a run's evaluation split, for a binary task.

        Raises:
            ConfigError: the run has none.
        """
        progress = progress_for()
        data = Run(Config.load(run / "edgerec.toml"), run, progress).learning_data(part)
        rows = data.evaluation.impressions
        tasks = {task.name: task for task in scored_tasks(data.tasks) if task.kind == "binary"}
        if rows is None or task_name not in tasks:
            raise ConfigError(f"{run}: has no binary task {task_name!r} with impressions")
        at = [task.name for task in scored_tasks(data.tasks)].index(task_name)
        with ArrayRecommender.of(run / "bundle") as recommender:
            model = RuntimeModel(recommender, data, EvaluationRequests.none(), progress)
            probability = np.asarray(model.rows()[:, at], np.float64)
            known = model.place[rows.item] >= 0
            vectors = np.zeros((len(probability), recommender.bundle.manifest.dim), np.float32)
            vectors[known] = recommender.directions(model.place[rows.item[known]])
        taken, user = evaluation_labels(data, tasks[task_name]) > 0, rows.requests.user
        order = np.lexsort((rows.requests.time_ms, user))
        return cls(probability[order], vectors[order], taken[order], user[order])

    def figures(self, score: Double) -> dict[str, float]:
        """How well a score orders them."""
        label, many = self.taken.astype(np.float64), np.bincount(self.user)[self.user] >= MANY
        return {
            "auc": metrics.auc(label, score),
            "gauc": metrics.gauc(label, score, self.user),
            f"gauc, {MANY} rows and more": metrics.gauc(label[many], score[many], self.user[many]),
        }

    def auc_by_user(self, score: Double) -> Double:
        """Of each user with both answers and `MANY` impressions."""
        values = []
        for user in np.flatnonzero(np.bincount(self.user) >= MANY):
            own = self.user == user
            if 0 < self.taken[own].sum() < own.sum():
                values.append(metrics.auc(self.taken[own].astype(np.float64), score[own]))
        return np.array(values)


def replay(impressions: Impressions, adapts: Sequence[Adapt]) -> list[Row]:
    """Figures of "frozen" and of each setting."""
    frozen = impressions.probability
    before = impressions.auc_by_user(frozen)
    nothing = {"corrected rows": 0.0, "users better": 0.0, "users worse": 0.0}
    rows: list[Row] = [{"setting": "frozen", **impressions.figures(frozen), **nothing}]
    for adapt in adapts:
        correction = corrections(impressions, adapt)
        adapted = frozen * np.exp(correction)
        after = impressions.auc_by_user(adapted)
        corrected = {"corrected rows": float((correction != 0).mean())}
        setting = f"rate {adapt.rate:g}, most {adapt.most:g}"
        rows.append({"setting": setting, **impressions.figures(adapted), **corrected, **_gains(after - before)})
    return rows


def _gains(gain: Double) -> dict[str, float]:
    """Of AUC by user; nothing of fewer than two users."""
    if len(gain) < 2:
        return {}
    return {
        "users better": float((gain > 0).mean()),
        "users worse": float((gain < 0).mean()),
        "gain per user": float(gain.mean()),
        "its error": float(gain.std(ddof=1) / np.sqrt(len(gain))),
    }


def corrections(impressions: Impressions, adapt: Adapt) -> Double:
    """In log-odds, of each row by what was learned from the same user's rows before it."""
    correction = np.zeros(len(impressions.user))
    learned, last_user = LearnedState("replay"), None
    for r, user in enumerate(impressions.user.tolist()):
        if user != last_user:
            learned, last_user = LearnedState("replay"), user
        row = slice(r, r + 1)
        probability, vectors = impressions.probability[row].astype(np.float32), impressions.vectors[row]
        if learned.trusted():
            correction[r] = learned.correction(vectors, adapt)[0]
        learned.learn(probability, vectors, impressions.taken[row], adapt)
    return correction


def numbers(given: str) -> list[float]:
    """Of a list such as 0.1,0.2."""
    return [float(number) for number in given.split(",")]


def main(arguments: Sequence[str]) -> int:
    """Print a row for each setting."""
    parser = Parser(__name__, __doc__)
    add_run(parser)
    parser.add_argument("--part", default="valid", choices=("valid", "test"), help="the evaluation split")
    parser.add_argument("--task", default="click", help="a binary task (default: %(default)s)")
    parser.add_argument("--rate", type=numbers, default=[Adapt().rate], help="one or several, separated by commas")
    parser.add_argument("--most", type=numbers, default=[Adapt().most], help="one or several, separated by commas")
    add_json(parser)
    options = parser.parse_args(arguments)
    adapts = [Adapt(rate, most) for rate, most in product(options.rate, options.most)]
    print_rows(replay(Impressions.of(options.run, options.part, options.task), adapts), options.json)
    return 0
