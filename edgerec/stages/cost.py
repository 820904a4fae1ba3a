"""How long a run takes: counts of work that follow from the settings and the log's size, times measured constants.

The constants are in ``cost.json``: seconds for each unit of work of each part of a stage, on the machine on which they
were measured with two cores. Another machine takes as many times as long as it needs for a short probe. The parts have
the names under which the stages report their progress. `tools/benchmark stages --fit` measures the constants anew.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

from edgerec.config import Config
from edgerec.config.effort import LogSize
from edgerec.files import read_json
from edgerec.threads import cores

__all__ = [
    "CONSTANTS",
    "FEW_ITEMS",
    "Part",
    "Work",
    "machine_factor",
    "probe",
    "run_s",
    "seconds",
    "seconds_here",
    "work",
]

CONSTANTS = Path(__file__).with_name("cost.json")
CORES = 2
"""Of the machine of the constants."""
MOST_DENSE = 20_000
"""Items beyond which no items x items matrix is made."""
FEW_ITEMS = 8_000
"""Up to so many items members are fitted, and their weights chosen, beside the networks: larger matrices would need too
much memory at a time."""
MOST_BASELINE = 8_000
"""Items beyond which the baselines have none."""
MOST_REQUESTS = 2_000
"""On which the weights of the ensemble are chosen."""
MOST_HELD_OUT = 1_000
"""Users on whom simple parts are judged beside the student."""
MOST_TIMES, FEW_IMPRESSIONS = 200, 512
"""As-of times of a log; twice the least impressions of a step."""
MOST_CALIBRATED = 250_000
"""Impressions that calibration looks at."""
REST = ""
"""All of a stage that has no part of its own."""
Part: TypeAlias = tuple[str, str]
"""A stage and the description of one of its parts."""
Work: TypeAlias = Mapping[str, float]
"""How much of what there is to do, such as 4e5 of "row"."""


@dataclass(frozen=True)
class _Counts:
    """What the parts have to do, from the settings and the size of the log."""

    config: Config
    size: LogSize

    @property
    def retrieval(self) -> int:
        return sum(task.kind == "retrieval" for task in self.config.task)

    @property
    def listed(self) -> bool:
        """Whether there are sessions to learn from."""
        return any(task.kind in ("retrieval", "related") for task in self.config.task)

    @property
    def rows(self) -> int:
        """Impressions."""
        return self.size.rows if any(task.kind in ("binary", "regression") for task in self.config.task) else 0

    @property
    def sessions(self) -> int:
        """To learn from."""
        return min(self.size.sessions, self.config.teacher.sessions_per_epoch) if self.listed else 0

    @property
    def requests(self) -> float:
        """Sessions and requests without an outcome, which the teacher labels."""
        d = self.config.distillation
        return self.sessions * (1 + d.pseudo_labelled + d.future)

    @property
    def past(self) -> float:
        return min(self.size.past, self.config.student.max_history)

    @property
    def dense(self) -> float:
        """Of an items x items matrix that is inverted; 0 where there are too many items for one."""
        return (self.size.items / 1000) ** 3 if self.listed and self.size.items <= MOST_DENSE else 0.0

    def epochs(self, n: float, sessions: float) -> dict[str, float]:
        """Of a network that learns from so many sessions and from impressions."""
        t, items = self.config.teacher, self.size.items
        rows = min(self.rows, t.impressions_per_epoch)
        steps = max(_steps(sessions, t.sessions, t.sessions), _steps(rows, t.impressions, FEW_IMPRESSIONS))
        return {
            "epoch": n,
            "session": n * sessions,
            "session, past": n * sessions * self.past,
            "session, item": n * sessions * items * max(self.retrieval, 1),
            "row": n * rows,
            "row, past": n * rows * self.past,
            "step": n * steps,
            "step, item": n * steps * items,
        }

    def members(self, folds: int) -> dict[str, float]:
        """Of the ensemble, with re-rankers for so many folds."""
        e = self.config.ensemble
        named, tasks = set(e.members), self.retrieval
        snapshots = e.windows + 1 if named - {"boosting"} and self.listed else 0
        dense = snapshots if {"ease", "als"} & named and self.dense else 0
        reranked = min(e.requests, self.sessions) * e.candidates if "reranker" in named else 0
        rated = sum(t.kind in ("binary", "regression") for t in self.config.task)
        boosted = self.rows * e.trees * folds * rated if "boosting" in named else 0
        # Whether order tells enough for a transformer is only known later: its constant is a mean over logs.
        ordered = "sequence" in named and self.retrieval and self.size.sessions >= self.size.rows
        events = e.sequence_epochs * min(self.size.rows, e.sequence_events) * folds if ordered else 0
        return {
            "snapshot": snapshots,
            "snapshot, row": snapshots * self.size.rows,
            "dense": dense * self.dense,
            "dense, row": dense * self.size.rows,
            "candidate": reranked * tasks,
            "candidate, tree, fold": reranked * e.trees * folds * tasks,
            "row, tree": boosted,
            "sequence, event": events,
        }

    def judged(self, models: int, most: float = float("inf")) -> dict[str, float]:
        """Of models that answer the evaluation requests, at most so many, and score the evaluation rows."""
        size = self.size
        judged = min(size.judged, self.config.evaluation.users)
        requests = min(judged, most) if self.listed else 0
        rows = self.rows * 0.1 * judged / max(size.judged, 1)
        return {
            "model": models,
            "request": models * requests * max(self.retrieval, 1),
            "request, item": models * requests * size.items * max(self.retrieval, 1),
            "row": models * rows,
            "item": models * size.items,
        }


def _steps(n: float, size: int, few: int) -> float:
    """Steps of an epoch of `n` examples, of which each has one as-of time: half of a time's last step is empty."""
    return n / size + min(MOST_TIMES, 2 * n / few) / 2


def work(config: Config, size: LogSize, at_once: int = CORES) -> dict[Part, Work]:
    """What each part of each stage has to do, with so many networks at once."""
    c, t, e, d = _Counts(config, size), config.teacher, config.ensemble, config.distillation
    once = {"once": 1.0}
    read = {**once, "row": size.rows, "text": size.texts}
    share = (t.folds - 1) / t.folds
    network = c.epochs(t.epochs * share, c.sessions)
    folds = {name: n * t.folds / min(t.folds, at_once) for name, n in network.items()}
    reranked = c.requests * e.candidates * c.retrieval if "reranker" in e.members else 0
    labelled = min(c.rows, t.impressions_per_epoch * d.epochs)
    labels = {"request": c.requests, "request, item": c.requests * size.items * c.retrieval, "row": labelled}
    learned = min(c.requests, d.requests_per_epoch)
    search = {**c.judged(1 + len(e.members), MOST_REQUESTS), **once}
    beside = size.items <= FEW_ITEMS
    weighed = {"weighed": search["request"] * beside, "weighed, item": search["request, item"] * beside}
    baselines = c.dense if size.items <= MOST_BASELINE else 0.0
    stages: dict[str, dict[str, Work]] = {
        "prepare": {REST: {**once, "row": size.rows}},
        "train": {
            "reading the dataset for valid": read,
            "network and members on valid": {**once, **network, **c.members(1)},
            "choosing the members' weights on valid": {name: n * (not beside) for name, n in search.items()},
            "reading the dataset for test": {**read, "text": 0.0},
            "networks of the folds and members": {**once, **folds, **c.members(t.folds), **weighed},
            REST: once,
        },
        "distill": {
            "reading the dataset for test": {**read, "text": 0.0},
            "labels": {**once, **labels, "candidate": reranked, "candidate, tree": reranked * e.trees},
            "student": {**once, **c.epochs(d.epochs, learned)},
            "calibrating": {**once, "row": min(c.rows, MOST_CALIBRATED)},
            "comparing with the teacher": {**once, **c.judged(2)},
            REST: once,
        },
        "prune": {
            "reading the dataset for test": {**read, "text": 0.0},
            "choosing what to cut": {**once, **c.epochs(1, c.sessions)},
            "recovery": {**once, **c.epochs(config.pruning.epochs * config.pruning.rounds, learned)},
            "comparing with simple baselines": {**once, **c.judged(1, MOST_HELD_OUT), "row": size.rows},
            "calibrating": {**once, "row": min(c.rows, MOST_CALIBRATED)},
            REST: once,
        },
        "quantize": {REST: {**read, "text": 0.0, "item": size.items}},
        "evaluate": {REST: {**read, "text": 0.0, "dense": baselines, **c.judged(6)}},
    }
    return {(stage, part): counts for stage, parts in stages.items() for part, counts in parts.items()}


def seconds(config: Config, size: LogSize, factor: float = 1.0, at_once: int = CORES) -> dict[Part, float]:
    """Seconds that each part takes on a machine that needs `factor` times as long as the one of the constants."""
    constants = _constants()
    return {
        part: factor * sum(n * constants.get("/".join(part), {}).get(name, 0.0) for name, n in counts.items())
        for part, counts in work(config, size, at_once).items()
    }


def seconds_here(config: Config, size: LogSize) -> dict[Part, float]:
    """Seconds that each part takes on this machine; measures it for less than half a second."""
    return seconds(config, size, machine_factor(), cores())


def run_s(config: Config, size: LogSize) -> float:
    """Seconds that the whole run takes on the machine of the constants."""
    return sum(seconds(config, size).values())


@cache
def _constants() -> dict[str, dict[str, float]]:
    constants: dict[str, dict[str, float]] = read_json(CONSTANTS)["seconds"]
    return constants


# ------------------------------------------------------------------------------------------------ the machine


@cache
def machine_factor() -> float:
    """How many times as long as the machine of the constants this one needs, by a probe of less than half a second."""
    return factor_of(probe())


def factor_of(here: Mapping[str, float]) -> float:
    """How many times as long as the machine of the constants one needs whose `probe` is `here`."""
    there = read_json(CONSTANTS)["probe"]
    return statistics.geometric_mean(here[name] / there[name] for name in there)


def forget() -> None:
    """Read the constants again: they have changed."""
    _constants.cache_clear()
    machine_factor.cache_clear()


def probe() -> dict[str, float]:
    """Seconds of a step like those of a network; the fastest of a few, on all cores.

    Sorting was probed too, and misled: where numpy has no vectorised sort for the processor it takes five times as
    long, and the rest of a run does not.
    """
    import torch

    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(96, 192), torch.nn.ReLU(), torch.nn.Linear(192, 2048))
    given = torch.randn(128, 96)

    def learn() -> None:
        torch.nn.functional.log_softmax(layers(given), dim=1).mean().backward()  # type: ignore[no-untyped-call]

    return {"learn_s": _best_of(100, learn)}


def _best_of(n: int, work: Callable[[], None]) -> float:
    times = []
    for _ in range(n):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
