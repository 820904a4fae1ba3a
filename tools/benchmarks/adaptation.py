"""Does what a device learns of its user pay? Replays the shown rows of a run's held part, user by user, in time order.

Each row is a list of one item that was shown and taken or not. "frozen" ranks by the bundle's probability; "adapted" by
the policy's correction of it, learned from the user's earlier rows of the part alone and used only while its guard
trusts it. Choose --rate and --most on valid; look at test once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgerec.bundle.policy import Adapt
from edgerec.config import Config
from edgerec.errors import ConfigError
from edgerec.evaluation import metrics
from edgerec.evaluation.cases import Cases, held_labels
from edgerec.evaluation.runtime_model import RuntimeModel
from edgerec.progress import progress_for
from edgerec.runtime import Recommender
from edgerec.runtime.adaptation import Learned
from edgerec.tasks import scored_tasks
from edgerec.training.load import load_learning_data
from tools.of_a_run import tell

Double = npt.NDArray[np.float64]


def replay(run: Path, part: str, task_name: str, adapts: list[Adapt]) -> list[dict[str, Any]]:
    """Figures of "frozen" and of each setting."""
    config = Config.load(run / "edgerec.toml")
    progress = progress_for()
    data = load_learning_data(config, run, part, progress)
    rows = data.held.rows
    tasks = [t for t in scored_tasks(data.tasks) if t.name == task_name and t.kind == "binary"]
    if rows is None or not tasks:
        raise ConfigError(f"{run}: has no binary task {task_name!r} with shown rows")
    at = [t.name for t in scored_tasks(data.tasks)].index(task_name)
    with Recommender.of(run / "bundle") as rec:
        model = RuntimeModel(rec, data, Cases.none(), progress)
        plain = model.rows()[:, at]
        known = model.place[rows.item] >= 0
        vectors = np.zeros((len(plain), rec.bundle.manifest.dim), np.float32)
        vectors[known] = rec._model().directions(model.place[rows.item[known]])
    taken = held_labels(data, tasks[0]) > 0
    user, time_ms = rows.requests.user, rows.requests.time_ms
    order = np.lexsort((time_ms, user))
    plain, vectors, taken, user = plain[order], vectors[order], taken[order], user[order]
    many = np.bincount(user)[user] >= 10
    frozen = _figures(taken, plain, user, many)
    found = [{"setting": "frozen", **frozen, "corrected rows": 0.0, "users better": 0.0, "users worse": 0.0}]
    for adapt in adapts:
        moved = corrections(plain, vectors, taken, user, adapt)
        adapted = _figures(taken, plain * np.exp(moved), user, many)
        before, after = (_by_user(taken, s, user, many) for s in (plain, plain * np.exp(moved)))
        found.append(
            {
                "setting": f"rate {adapt.rate:g}, most {adapt.most:g}",
                **adapted,
                "corrected rows": float((moved != 0).mean()),
                "users better": float((after > before).mean()),
                "users worse": float((after < before).mean()),
                **_paired(before, after),
            }
        )
    return found


def corrections(
    plain: Double, vectors: npt.NDArray[np.float32], taken: npt.NDArray[np.bool_], user: npt.NDArray[Any], adapt: Adapt
) -> Double:
    """In log-odds, of each row by what was learned from the same user's rows before it."""
    moved = np.zeros(len(plain))
    learned, of = Learned("replay"), None
    for r in range(len(plain)):
        if user[r] != of:
            learned, of = Learned("replay"), user[r]
        row = slice(r, r + 1)
        if learned.trusted():
            moved[r] = learned.correction(vectors[row], adapt)[0]
        learned.learn(plain[row].astype(np.float32), vectors[row], taken[row], adapt)
    return moved


def _figures(taken: npt.NDArray[np.bool_], score: Double, user: npt.NDArray[Any], many: npt.NDArray[np.bool_]) -> Any:
    label = taken.astype(np.float64)
    return {
        "auc": metrics.auc(label, score),
        "gauc": metrics.gauc(label, score, user),
        "gauc, 10 rows and more": metrics.gauc(label[many], score[many], user[many]),
    }


def _by_user(
    taken: npt.NDArray[np.bool_], score: Double, user: npt.NDArray[Any], many: npt.NDArray[np.bool_]
) -> Double:
    """AUC of each user with both answers."""
    found = []
    for name in np.unique(user[many]):
        own = user == name
        if 0 < taken[own].sum() < own.sum():
            found.append(metrics.auc(taken[own].astype(np.float64), score[own]))
    return np.array(found)


def _paired(before: Double, after: Double) -> dict[str, float]:
    gain = after - before
    return {"gain per user": float(gain.mean()), "its error": float(gain.std(ddof=1) / np.sqrt(len(gain)))}


def main() -> None:
    options = {
        "--part": {"default": "valid", "choices": ("valid", "test")},
        "--task": {"default": "click"},
        "--rate": {"default": f"{Adapt().rate:g}", "help": "one or several, separated by commas"},
        "--most": {"default": f"{Adapt().most:g}", "help": "one or several"},
    }
    tell("tools/replay", __doc__, lambda g: replay(g.run, g.part, g.task, adapts_of(g.rate, g.most)), options)


def adapts_of(rates: str, most: str) -> list[Adapt]:
    """All pairs of two lists of numbers."""
    return [Adapt(float(rate), float(bound)) for rate in rates.split(",") for bound in most.split(",")]


if __name__ == "__main__":
    main()
