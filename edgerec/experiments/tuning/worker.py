"""Workers make trials until none is left. Several workers are processes, each with its share of the cores."""

from __future__ import annotations

import _thread
import json
import math
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

import edgerec
from edgerec.config import Config
from edgerec.errors import EdgerecError
from edgerec.experiments.tuning.objective import Objective, judge
from edgerec.experiments.tuning.space import Values, applied
from edgerec.experiments.tuning.study import Search, Study, beating
from edgerec.progress import Lines, Progress
from edgerec.threads import cores

LEAVE_S = 10.0
"""Seconds that a worker has to save its state before it is killed."""


def make_trials(study: Study, progress: Progress, deadline: float | None = None, objective: Objective = judge) -> None:
    """Make trials until no slot is free or, in seconds since the epoch, the deadline has come."""
    while deadline is None or time.time() < deadline:
        claimed = study.claim()
        if claimed is None:
            return
        trial, values = claimed
        slot, slots = int(trial.user_attrs["slot"]), len(study.search.wanted())
        listed = ", ".join(f"{key} = {_short(value)}" for key, value in values.items())
        progress.say(f"trial {slot + 1} of {slots}: {listed}")
        try:
            with beating(trial):
                _make(study, trial, values, f"trial {slot + 1}", progress, objective)
        except UpdateFinishedTrialError:
            progress.say(f"trial {slot + 1}: another worker repeats it, since this one was silent for too long")
        shutil.rmtree(study.work(trial.number), ignore_errors=True)


def _make(
    study: Study, trial: optuna.Trial, values: Values, title: str, progress: Progress, objective: Objective
) -> None:
    search, start = study.search, time.monotonic()
    losses: dict[int, float] = {}

    def on_loss(epoch: int, loss: float) -> None:
        losses[epoch] = loss
        trial.report(search.sign * -loss, epoch)  # compared in the direction of the metric
        if trial.should_prune():
            raise optuna.TrialPruned

    def end(line: str, **more: object) -> None:
        trial.set_user_attr("found", {"seconds": time.monotonic() - start, "losses": losses, **more})
        progress.say(f"{title}: {line}, {time.monotonic() - start:.0f} s")

    try:
        config = applied(search.config, values)
        outcome = objective(search, config, study.work(trial.number), progress, title, on_loss)
    except optuna.TrialPruned:
        end(f"ended early, after epoch {max(losses)}: its validation loss is worse than half of the others'")
        study.optuna.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)
    except (EdgerecError, ValueError) as error:  # these settings cannot be trained; others may be
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        trial.set_user_attr("why", why)
        end(f"failed: {why}")
        study.optuna.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
    except BaseException as error:  # Ctrl-C, or a mistake of ours: the next worker repeats it
        if isinstance(error, KeyboardInterrupt):
            trial.set_user_attr("stopped", True)
        study.optuna.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
        raise
    else:
        se = None if math.isnan(outcome.se) else outcome.se
        error_of = "" if se is None else f" (standard error {se:.4f})"
        end(f"{search.metric_name} = {outcome.value:.4f}{error_of}", metrics=outcome.metrics, se=se)
        study.optuna.tell(trial, outcome.value)


def run_workers(search: Search, n: int, deadline: float | None) -> list[int]:
    """Run `n` workers as processes and wait for them; they end when this process ends, however that happens.

    Returns:
        Their exit codes.
    """
    settings = search.config.model_dump(mode="json", exclude_unset=True)
    task = {
        "settings": settings,
        "home": search.config.resolve("."),
        "base": str(search.base),
        "folder": str(search.folder),
        "deadline": deadline,
    }
    command = [sys.executable, "-m", "edgerec.experiments.tuning.worker"]
    workers: list[subprocess.Popen[bytes]] = []
    try:
        for number in range(n):
            workers.append(subprocess.Popen(command, stdin=subprocess.PIPE, env=_environment(number, n)))
            _stdin(workers[-1]).write(json.dumps(task).encode() + b"\n")
            _stdin(workers[-1]).flush()  # and stays open: its end tells the worker that this process is gone
        return [worker.wait() for worker in workers]
    finally:
        for worker in workers:
            _stdin(worker).close()
        for worker in workers:
            try:
                worker.wait(LEAVE_S)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()


def _stdin(worker: subprocess.Popen[bytes]) -> IO[bytes]:
    assert worker.stdin is not None
    return worker.stdin


def _environment(number: int, n: int) -> dict[str, str]:
    """The environment of worker `number`: its share of the cores, one of the GPUs, and this package."""
    import torch

    environment = {**os.environ, "OMP_NUM_THREADS": str(max(cores() // n, 1))}
    gpus = torch.cuda.device_count()
    if gpus > 1:
        names = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(gpus)))
        environment["CUDA_VISIBLE_DEVICES"] = names.split(",")[number % gpus]
    home = str(Path(edgerec.__file__).parents[1])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    return environment


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _main() -> int:
    """A worker process: the first line of standard input is its task, and it ends when standard input ends."""
    task = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_input, daemon=True).start()
    config = Config.of(task["settings"], folder=Path(task["home"]))
    search = Search(config, Path(task["base"]), Path(task["folder"]))
    try:
        make_trials(Study(search), Lines(), task["deadline"])
    except EdgerecError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _end_with_input() -> None:
    sys.stdin.read()
    _thread.interrupt_main()
    time.sleep(LEAVE_S)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(_main())
