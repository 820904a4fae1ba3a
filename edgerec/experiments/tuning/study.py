"""One search in one SQLite file: which trials are to be made, and which worker makes which.

A study has *slots*, one for each setting to try. A slot begins as a waiting trial; a trial whose process died gives its
slot to a new trial with the same settings. So any number of workers, started together or one after the other, make
each slot once.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import DatabaseError

from edgerec.config import Config, lower_is_better
from edgerec.errors import DataError
from edgerec.experiments.tuning.space import Values, distributions, draw, grid, present

TRIALS = 20
"""Number of trials, if `[tuning] trials` is not set."""
TRIES = 3
"""How often the process of a trial may die before its settings are given up."""
BEAT_S = 15.0
"""Seconds between two signs of life of a worker."""
GRACE_S = 120.0
"""A worker without a sign of life for so many seconds is dead. On this machine its process is checked instead."""
STARTUP_TRIALS = 4
"""Trials that must have ended before the pruner compares."""
WARMUP_EPOCHS = 2
"""No trial is pruned before this epoch, since the learning rate still rises."""


@dataclass(frozen=True)
class Search:
    """What a study is about; every worker derives the same search from the same settings.

    Attributes:
        config: the settings, judged on the validation split. base: the run whose dataset (and teacher) the trials use.
        folder: where the study lies.
    """

    config: Config
    base: Path
    folder: Path

    @property
    def metric(self) -> dict[str, float]:
        """The weight of each "task.metric" that decides."""
        return self.config.tuning.judged_by(self.config.task, self.config.evaluation.k)

    @property
    def metric_name(self) -> str:
        """The deciding metrics and their weights, to be printed."""
        weights = self.metric
        if len(weights) == 1:
            return next(iter(weights))
        return " + ".join(f"{weight:g} {name}" for name, weight in weights.items())

    @property
    def sign(self) -> int:
        """1 if a higher metric is better, -1 if a lower one is."""
        return -1 if any(map(lower_is_better, self.metric)) else 1

    @property
    def name(self) -> str:
        """Name of the study; it differs for another space, dataset or teacher."""
        config = self.config
        tuning = config.tuning.model_dump(mode="json", include={"stage", "sampler", "space"})
        sections = {"seed", "task", "evaluation", "teacher", "training", "student", "distillation"}
        made_by = [tuning, self.metric, config.model_dump(mode="json", include=sections)]
        key = hashlib.sha256(json.dumps(made_by, sort_keys=True).encode())
        key.update((self.base / "dataset" / "dataset.json").read_bytes())
        if config.tuning.stage == "student":
            for path in sorted((self.base / "teacher").glob("*.safetensors")):
                key.update(path.read_bytes())
        return f"{config.tuning.stage}-{key.hexdigest()[:12]}"

    def wanted(self) -> list[Values]:
        """The settings of each slot; the sampler draws the keys that a slot leaves open."""
        tuning = self.config.tuning
        if tuning.sampler == "grid":
            return grid(self.config)
        now = present(self.config)
        n = TRIALS if tuning.trials is None else tuning.trials
        return [now or {}, *({} for _ in range(n - 1))]

    def seed_of(self, slot: int) -> int:
        """The sampler's seed for one slot; it does not depend on how often the search was stopped before."""
        return int(np.random.SeedSequence([self.config.seed, slot]).generate_state(1)[0])


class Study:
    """The trials of a search, on disk."""

    def __init__(self, search: Search, grace_s: float = GRACE_S) -> None:
        """Open or begin the study.

        Args:
            grace_s: a worker on another machine without a sign of life for so many seconds is dead.
        Raises:
            DataError: its file is damaged.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.search, self.grace_s = search, grace_s
        self.folder = search.folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path = self.folder / "study.db"
        pruner = optuna.pruners.MedianPruner(STARTUP_TRIALS, WARMUP_EPOCHS)
        try:
            with alone(self.folder, "setup"):
                storage = optuna.storages.RDBStorage(
                    f"sqlite:///{self.path}", engine_kwargs={"connect_args": {"timeout": 60}}
                )
                self.others = [name for name in optuna.get_all_study_names(storage) if name != search.name]
                self.optuna = optuna.create_study(
                    storage=storage,
                    study_name=search.name,
                    load_if_exists=True,
                    direction="maximize" if search.sign > 0 else "minimize",
                    pruner=pruner if search.config.tuning.pruner == "median" else optuna.pruners.NopPruner(),
                )
        except (DatabaseError, StorageInternalError) as error:
            raise DataError(
                f"{self.path}: is damaged and cannot be read; move it away to begin a new search"
            ) from error
        self.space = distributions(search.config)

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """All trials, or those in one of `states`, oldest first."""
        return self.optuna.get_trials(deepcopy=False, states=states or None)

    def latest(self) -> dict[int, FrozenTrial]:
        """The last trial of each slot."""
        return {int(trial.user_attrs["slot"]): trial for trial in self.trials()}

    def left(self) -> tuple[int, int]:
        """How many slots a worker could take now, and how many another worker is making."""
        latest = self.latest()
        slots = range(len(self.search.wanted()))
        free = sum(slot not in latest or self.is_open(latest[slot]) for slot in slots)
        return free, sum(self.is_alive(trial) for slot, trial in latest.items() if slot in slots)

    def claim(self) -> tuple[optuna.Trial, Values] | None:
        """A trial of the first free slot and its settings, now this process's own; None when there is none.

        A trial that repeats the trial of a dead worker takes over its folder.
        """
        with alone(self.folder, "claim"):
            # A process may have died between queueing a trial and taking it.
            if not self.trials(TrialState.WAITING) and not self._queue():
                return None
            (waiting, *_) = self.trials(TrialState.WAITING)
            self.optuna.sampler = self._sampler(int(waiting.user_attrs["slot"]))
            trial = self.optuna.ask()
            trial.set_user_attr("worker", _me())
            values = draw(trial, self.space)
            trial.set_user_attr("settings", values)
        repeats = trial.user_attrs.get("repeats")
        if repeats is not None and self.work(repeats).exists():
            self.work(repeats).rename(self.work(trial.number))
        return trial, values

    def work(self, number: int) -> Path:
        """Where a trial keeps its checkpoints while it runs."""
        return self.folder / "work" / f"{self.search.name}-{number}"

    def is_open(self, trial: FrozenTrial) -> bool:
        """Was the last trial of its slot cut off, and not too often?"""
        cut = trial.state == TrialState.FAIL or (trial.state == TrialState.RUNNING and not self.is_alive(trial))
        often = _deaths(trial) + ("stopped" not in trial.user_attrs) >= TRIES
        return cut and "why" not in trial.user_attrs and not often

    def is_alive(self, trial: FrozenTrial) -> bool:
        """Is a process making this trial?"""
        worker = trial.user_attrs.get("worker")
        if trial.state != TrialState.RUNNING or worker is None or time.time() - worker["at"] > self.grace_s:
            return False
        return os.name != "posix" or worker["host"] != platform.node() or _is_process(worker["pid"])

    def _queue(self) -> bool:
        """Queue a trial for the first free slot; False when there is none."""
        latest = self.latest()
        for slot, values in enumerate(self.search.wanted()):
            trial = latest.get(slot)
            if trial is None:
                self.optuna.enqueue_trial(values, user_attrs={"slot": slot})
                return True
            if self.is_open(trial):
                died = "stopped" not in trial.user_attrs
                self.optuna.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
                attributes = {"slot": slot, "deaths": _deaths(trial) + died, "repeats": trial.number}
                self.optuna.enqueue_trial(dict(trial.params), user_attrs=attributes)
                return True
        return False

    def _sampler(self, slot: int) -> optuna.samplers.BaseSampler:
        seed = self.search.seed_of(slot)
        if self.search.config.tuning.sampler == "tpe":
            return optuna.samplers.TPESampler(seed=seed)
        return optuna.samplers.RandomSampler(seed=seed)


@contextmanager
def beating(trial: optuna.Trial, every_s: float = BEAT_S) -> Iterator[None]:
    """Give regular signs of life of the trial's process."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(every_s):
            try:
                trial.set_user_attr("worker", _me())
            except UpdateFinishedTrialError:  # another worker took this one for dead and repeats the trial
                return

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def alone(folder: Path, what: str) -> Iterator[None]:
    """Hold a lock that all processes share, and that a dead process loses: an exclusive transaction of SQLite."""
    lock = sqlite3.connect(folder / f"{what}.lock", timeout=0.1, isolation_level=None)
    try:
        while True:
            try:
                lock.execute("BEGIN EXCLUSIVE")
                break
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise
        yield
    finally:
        lock.close()


def _me() -> dict[str, object]:
    return {"host": platform.node(), "pid": os.getpid(), "at": time.time()}


def _deaths(trial: FrozenTrial) -> int:
    """How often a process died at these settings before this trial."""
    return int(trial.user_attrs.get("deaths", 0))


def _is_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
