"""What the bundle would have earned in place of the system that logged the evaluation split, by its propensities.

Each row of the log is a choice that was made with a known probability, the propensity. The bundle is asked for a list
at each of these requests; rows whose item it would have shown, too, tell what it would have earned, and count the more
the less probable they were. See `edgerec.metrics.off_policy` for the estimators.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgerec import metrics
from edgerec.evaluation.runtime_model import RuntimeModel
from edgerec.metrics import MetricTable, OffPolicy
from edgerec.tasks import binary_tasks

__all__ = ["LoggedPolicy", "evaluate_logged_policy"]

AS_LOGGED: Final = "as logged"
POLICIES: Final = {"int8, the best item": 1, "int8, one of its ten best": 10}
"""Policies by name: how many of the best items are shown with equal probability."""
MOST_ROWS: Final = 20_000
"""Of more rows an even sample is asked for."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LoggedPolicy:
    """Values by policy and binary task: estimators "ips", "snips" and "dr"; and why they are to be doubted."""

    values: MetricTable
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Choices:
    """What each policy would have done at n logged rows.

    Attributes:
        target: by policy, the probability with which it shows the logged item, (n,).
        expected: by policy, the probability of each task for what it shows, (n, T).
        predicted: the same for the logged item, (n, T).
    """

    target: Mapping[str, Floats]
    expected: Mapping[str, Floats]
    predicted: Floats


def evaluate_logged_policy(model: RuntimeModel) -> LoggedPolicy:
    """Values of the bundle's policy on the evaluation split; none if the log has no propensities."""
    data = model.data
    log, propensities = data.evaluation_log, data.dataset.propensities()
    if propensities is None:
        return LoggedPolicy({})
    tasks = binary_tasks(data.tasks)
    if not tasks:
        return LoggedPolicy({}, ("propensity is set in [data], but no binary task says what a choice earned",))
    known = dict(zip(propensities["row"].to_list(), propensities["propensity"].to_list(), strict=True))
    logged = np.array([known.get(row) or np.nan for row in log.row.tolist()], np.float64)
    usable = np.flatnonzero((logged > 0) & (logged <= 1))
    notes = []
    if len(usable) < len(log):
        notes.append(f"{len(log) - len(usable):,} rows without a propensity between 0 and 1 are left out of off-policy")
    if not len(usable):
        return LoggedPolicy({}, tuple(notes))
    rows = usable[:: -(-len(usable) // MOST_ROWS)]
    choices = _choices(model, rows)
    values: MetricTable = {}
    for task in tasks:
        reward, user = log.labels[task.name][rows], log.user[rows]
        ones = np.ones(len(rows))
        values.setdefault(AS_LOGGED, {})[task.name] = {
            "snips": metrics.estimate_policy(reward, ones, ones, user).values["snips"]
        }
        for name in POLICIES:
            of = _value(choices, name, model, task.name, reward, logged[rows], user)
            values.setdefault(name, {})[task.name] = of.values
            notes += [f"{name}: {line}" for line in of.warnings()]
    return LoggedPolicy(values, tuple(dict.fromkeys(notes)))


def _value(
    choices: _Choices, policy: str, model: RuntimeModel, task: str, reward: Any, logged: Floats, user: Any
) -> OffPolicy:
    at = [t.name for t in model.recommender.bundle.manifest.tasks].index(task)
    predicted, expected = choices.predicted[:, at], choices.expected[policy][:, at]
    return metrics.estimate_policy(reward, logged, choices.target[policy], user, predicted, expected)


def _choices(model: RuntimeModel, rows: npt.NDArray[np.int64]) -> _Choices:
    """Ask the bundle at each row of the evaluation split for its best items."""
    train, log = model.data.train_log, model.data.evaluation_log
    target = {name: np.zeros(len(rows)) for name in POLICIES}
    predicted = np.zeros((len(rows), len(model.recommender.tasks)))
    expected = {name: np.zeros_like(predicted) for name in POLICIES}
    with model.progress.track(len(rows), "int8, off-policy") as done:
        for i, row in enumerate(rows.tolist()):
            user, item = int(log.user[row]), int(log.item[row])
            request = model.request(slice(int(train.offsets[user]), int(train.offsets[user + 1])), row)
            ranked = model.recommender.rank(max(POLICIES.values()), **request)
            place = model.place[item] if item < len(model.place) else -1
            if place >= 0:
                predicted[i] = model.recommender.rate([place], **request).probability[0]
            for name, size in POLICIES.items():
                shown = ranked.item[:size]
                target[name][i] = list(shown).count(place) / max(len(shown), 1)
                if len(shown):
                    expected[name][i] = np.mean(ranked.probability[:size], axis=0)
            done.advance()
    return _Choices(target, expected, predicted)
