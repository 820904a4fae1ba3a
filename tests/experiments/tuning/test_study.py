"""Slots, seeds, dead workers and pruning, with an objective that is arithmetic."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from edgerec.config import Config
from edgerec.errors import DataError, EdgerecError
from edgerec.experiments.tuning import study as studies
from edgerec.experiments.tuning.objective import Outcome, loss_that_decides, weighed
from edgerec.experiments.tuning.study import Search, Study
from edgerec.experiments.tuning.worker import make_trials
from edgerec.metrics import Estimate
from edgerec.progress import Silent
from tests import tiny

AXES = {"teacher.dropout": {"low": 0.0, "high": 0.6}, "teacher.dim": {"low": 4, "high": 32, "step": 4}}


@cache
def empty_study() -> bytes:
    """A study.db without a study: making its tables takes longer than any test here."""
    with TemporaryDirectory() as folder:
        optuna.storages.RDBStorage(f"sqlite:///{folder}/study.db").engine.dispose()
        return (Path(folder) / "study.db").read_bytes()


def search(folder: Path, seed: int = 0, **tuning: Any) -> Search:
    if not (folder / "tuning").exists():
        for path, content in (("dataset/dataset.json", b"{}"), ("tuning/study.db", empty_study())):
            (folder / path).parent.mkdir()
            (folder / path).write_bytes(content)
    config = Config.of(tiny.settings() | {"seed": seed, "tuning": {"space": AXES, "trials": 5, **tuning}})
    return Search(config, folder, folder / "tuning")


def by_dropout(search, config, folder, progress, title, on_loss):
    """Best at dropout = 0.3."""
    return Outcome(-abs(config.teacher.dropout - 0.3), math.nan, {})


def made(search, objective=by_dropout) -> list[dict[str, Any]]:
    """The settings of each slot once all of its trials are made."""
    study = Study(search)
    make_trials(study, Silent(), objective=objective)
    return [trial.user_attrs["settings"] for _, trial in sorted(study.latest().items())]


def stops_at(n, error=KeyboardInterrupt):
    """An objective that ends its worker at the nth call."""
    calls = []

    def objective(*given):
        calls.append(given)
        if len(calls) == n:
            raise error
        return by_dropout(*given)

    return objective


# ---------------------------------------------------------------------------- what is tried


def test_a_grid_tries_every_point_once(tmp_path):
    axes = {"teacher.sharing": ["mmoe", "ple"], "teacher.dropout": {"low": 0.1, "high": 0.3, "step": 0.1}}
    grid = search(tmp_path, space=axes, sampler="grid", trials=None)

    assert [(s["teacher.sharing"], s["teacher.dropout"]) for s in made(grid)] == [
        ("mmoe", 0.1), ("mmoe", 0.2), ("mmoe", 0.3), ("ple", 0.1), ("ple", 0.2), ("ple", 0.3),
    ]  # fmt: skip
    assert len(Study(grid).trials()) == 6


@pytest.mark.parametrize(("sampler", "n"), [("random", 4), ("tpe", 12)])  # TPE begins with ten at random
def test_the_seed_alone_decides_what_is_drawn_even_after_a_stop(tmp_path, sampler, n):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    whole = made(search(tmp_path / "a", sampler=sampler, trials=n))
    with pytest.raises(KeyboardInterrupt):
        made(search(tmp_path / "b", sampler=sampler, trials=n), stops_at(3))
    resumed = made(search(tmp_path / "b", sampler=sampler, trials=n))

    assert resumed == whole
    assert len({s["teacher.dropout"] for s in whole}) == n
    assert made(search(tmp_path / "c", seed=1, sampler=sampler, trials=2))[1] != whole[1]


def test_the_settings_of_now_are_tried_first_if_the_space_holds_them(tmp_path):
    assert made(search(tmp_path, trials=2))[0] == {"teacher.dropout": 0.2, "teacher.dim": 8}
    for name, axes in (("out", {"teacher.dropout": [0.3, 0.4]}), ("between", {"teacher.dim": AXES["teacher.dim"]})):
        (tmp_path / name).mkdir()
        config = search(tmp_path / name, space=axes, trials=1).config
        config = config.model_copy(update={"teacher": config.teacher.model_copy(update={"dim": 10})})
        assert replace(search(tmp_path / name), config=config).wanted() == [{}]


def test_drawn_amounts_are_short_and_stay_in_their_range(tmp_path):
    axes = {"teacher.learning_rate": {"low": 0.123456, "high": 0.123457}}

    assert 0.123456 <= made(search(tmp_path, space=axes, trials=1))[0]["teacher.learning_rate"] <= 0.123457
    found = made(search(tmp_path, space={"teacher.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}, trials=2))
    assert all(float(f"{s['teacher.learning_rate']:.4g}") == s["teacher.learning_rate"] for s in found)


# ---------------------------------------------------------------------------- going on


def test_a_second_call_makes_only_the_missing_trials(tmp_path):
    first = made(search(tmp_path, trials=2))
    again = made(search(tmp_path, trials=3))

    assert again[:2] == first
    assert made(search(tmp_path, trials=3)) == again
    assert Study(search(tmp_path, trials=3)).left() == (0, 0)
    assert len(Study(search(tmp_path)).trials()) == 3


@pytest.mark.parametrize(
    "changed",
    [{"space": {"teacher.dropout": [0.1, 0.2]}}, {"sampler": "random"}, {"metric": "click.auc"}, {"seed": 3}],
)
def test_another_search_is_another_study_and_the_first_is_kept(tmp_path, changed):
    made(search(tmp_path, trials=1))
    other = Study(search(tmp_path, **changed))

    assert other.trials() == []
    assert other.others == [search(tmp_path).name]
    assert Study(search(tmp_path, pruner="none", workers=2, minutes=3)).left() == (4, 0)  # these do not matter


KILLED = """
import json, sys, time
from pathlib import Path
from edgerec.config import Config
from edgerec.experiments.tuning.study import Search, Study
folder, settings = Path(sys.argv[1]), json.loads(sys.argv[2])
study = Study(Search(Config.of(settings), folder, folder / "tuning"))
trial, values = study.claim()
study.work(trial.number).mkdir(parents=True)
(study.work(trial.number) / "last.ckpt").touch()
print(json.dumps(values), flush=True)
time.sleep(60)
"""


def test_a_killed_workers_trial_is_made_again_with_its_settings_and_its_checkpoints(tmp_path):
    given = search(tmp_path)
    settings = json.dumps(given.config.model_dump(mode="json", exclude_unset=True))
    killed = subprocess.Popen(
        [sys.executable, "-c", KILLED, tmp_path, settings], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    taken = json.loads(killed.stdout.readline())
    study = Study(given)
    assert study.left() == (4, 1)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    killed.stdout.close()
    found = {}

    def objective(search, config, folder, *more):
        found.setdefault(config.teacher.dropout, (folder / "last.ckpt").exists())
        return by_dropout(search, config, folder, *more)

    assert study.left() == (5, 0)
    settings = made(given, objective)
    assert settings[0] == taken
    assert [found[s["teacher.dropout"]] for s in settings] == [True] + 4 * [False]
    assert [trial.state for trial in study.trials()] == [TrialState.FAIL] + 5 * [TrialState.COMPLETE]
    assert study.trials()[1].user_attrs["repeats"] == 0
    assert list((tmp_path / "tuning" / "work").iterdir()) == []


def test_settings_whose_process_dies_every_time_are_given_up_and_ctrl_c_is_no_death(tmp_path):
    given = search(tmp_path, trials=1)
    for _ in range(studies.TRIES):
        with pytest.raises(KeyboardInterrupt):
            made(given, stops_at(1))
    for _ in range(studies.TRIES):
        with pytest.raises(MemoryError):
            made(given, stops_at(1, MemoryError))
    study = Study(given)
    make_trials(study, Silent(), objective=stops_at(1, AssertionError))

    assert study.left() == (0, 0)
    assert len(study.trials()) == 2 * studies.TRIES


def test_a_worker_elsewhere_is_dead_when_it_says_nothing_for_long(tmp_path):
    study = Study(search(tmp_path))
    trial, _ = study.claim()
    trial.set_user_attr("worker", {"host": "elsewhere", "pid": os.getpid(), "at": time.time() - studies.GRACE_S / 2})
    assert study.left() == (4, 1)

    with studies.beating(trial, every_s=0.01):
        impatient = Study(search(tmp_path), grace_s=0.0)
        assert impatient.left() == (5, 0)
        make_trials(impatient, Silent(), objective=by_dropout)  # repeats it; the beat of the first ends quietly
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        trial.report(1.0, 1)


def test_workers_share_a_study_and_make_each_trial_once(tmp_path):
    by = []

    def objective(*given):
        by.append(threading.get_ident())
        time.sleep(0.05)
        return by_dropout(*given)

    given = search(tmp_path, trials=6)
    workers = [threading.Thread(target=made, args=(given, objective)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    study = Study(given)

    assert sorted(study.latest()) == list(range(6))
    assert [trial.state for trial in study.trials()] == 6 * [TrialState.COMPLETE]
    assert len(set(by)) == 2


def test_no_trial_begins_after_the_deadline(tmp_path):
    study = Study(search(tmp_path))
    make_trials(study, Silent(), deadline=time.time() - 1, objective=by_dropout)

    assert study.trials() == []


def test_a_damaged_study_is_told_in_one_line(tmp_path):
    made(search(tmp_path, trials=1))
    (tmp_path / "tuning" / "study.db").write_bytes(b"no database" * 1000)

    with pytest.raises(DataError, match=r"study.db: is damaged and cannot be read; move it away") as caught:
        Study(search(tmp_path))
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------------------- trials that end early or fail


@pytest.mark.parametrize(
    ("pruner", "metric"), [("median", "next.ndcg@10"), ("none", "next.ndcg@10"), ("median", "watch.mae")]
)
def test_the_pruner_ends_a_hopeless_trial(tmp_path, pruner, metric):
    epochs = []

    def objective(search, config, folder, progress, title, on_loss):
        epochs.append(0)
        hopeless = len(epochs) == 6
        for epoch in (1, 2, 3):
            epochs[-1] = epoch
            on_loss(epoch, 2.0 if hopeless else 1.0 / epoch)
        return Outcome(0.5, 0.1, {})

    study = Study(search(tmp_path, pruner=pruner, metric=metric, trials=6))
    make_trials(study, Silent(), objective=objective)

    pruned = pruner == "median"
    assert epochs == [3, 3, 3, 3, 3, 2 if pruned else 3]
    assert study.trials()[5].state == (TrialState.PRUNED if pruned else TrialState.COMPLETE)
    assert study.trials()[5].user_attrs["found"]["losses"] == {"1": 2.0, "2": 2.0} | ({} if pruned else {"3": 2.0})


def test_settings_that_cannot_be_trained_are_told_and_not_tried_again(tmp_path):
    study = Study(search(tmp_path, trials=3))
    said = []

    class Says(Silent):
        def say(self, line):
            said.append(line)

    make_trials(study, Says(), objective=stops_at(2, EdgerecError("the loss is not a number")))

    assert [trial.state for trial in study.trials()] == [TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE]
    assert any(line.startswith("trial 2: failed: the loss is not a number, ") for line in said)
    assert study.left() == (0, 0)


def test_settings_that_do_not_go_together_fail_as_a_trial_and_are_refused_by_no_other(tmp_path):
    axes = {"teacher.dim": [8, 9], "teacher.heads": [2, 3], "teacher.sequence": [4]}
    study = Study(search(tmp_path, space=axes, sampler="grid", trials=None))
    make_trials(study, Silent(), objective=by_dropout)
    failed = [trial.user_attrs for trial in study.trials(TrialState.FAIL)]

    assert [(f["settings"]["teacher.dim"], f["settings"]["teacher.heads"]) for f in failed] == [(8, 3), (9, 2)]
    assert failed[0]["why"] == "[teacher]: with a sequence, dim must be a multiple of heads, got dim = 8, heads = 3"


# ---------------------------------------------------------------------------- what decides


def test_the_weighted_sum_of_metrics_decides():
    estimates = {"next": {"ndcg@10": Estimate(0.3, 10)}, "click": {"auc": Estimate(0.7, 10)}}
    value, se = weighed({"next.ndcg@10": 1.0, "click.auc": 0.5}, estimates)

    assert value == pytest.approx(0.3 + 0.5 * 0.7)
    assert math.isnan(se)
    with pytest.raises(EdgerecError, match=r"like.auc has no value on the validation split"):
        weighed({"like.auc": 1.0}, estimates)
    with pytest.raises(EdgerecError, match=r"click.auc has no value"):
        weighed({"click.auc": 1.0}, {"click": {"auc": Estimate(math.nan, 0)}})


def test_the_loss_of_the_tasks_that_decide_is_compared():
    losses = {"next": 3.0, "click": 0.5, "loss": 9.0}

    assert loss_that_decides({"next_again.auc": 1.0, "click.auc": 2.0}, losses) == 3.0 + 2.0 * 0.5
    assert loss_that_decides({"watch.mae": 1.0}, losses) is None
