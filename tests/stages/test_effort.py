"""Settings that a file leaves open fit the log and the effort; those that it gives stay."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from edgerec.config import Config
from edgerec.config.effort import LogSize, time_s
from edgerec.files import read_json
from edgerec.progress import Silent
from edgerec.stages import cost, effort, pipeline
from edgerec.stages.run import Run
from tests import tiny

SIZE = LogSize(rows=100_000, users=16_500, items=10_500, sessions=100_000, past=50.0, judged=2_000)
BIG = LogSize(rows=5_000_000, users=200_000, items=100_000, sessions=5_000_000, past=60.0, judged=50_000)


def settings(**sections):
    data = {"interactions": "log.csv", "user": "user", "item": "item", "time": "time"}
    tasks = [{"name": "next", "kind": "retrieval"}, {"name": "like", "kind": "binary", "label": "rating >= 4"}]
    return Config.of({"name": "shop", "data": data, "task": tasks, **sections})


def work_of(config):
    """A made-up cost: a second for 10,000 of each kind of example."""
    t, e, d = config.teacher, config.ensemble, config.distillation
    return (
        t.epochs * t.sessions_per_epoch + e.requests * e.windows + d.epochs * d.requests_per_epoch * (1 + d.future)
    ) / 10_000


def test_what_costs_little_has_its_defaults():
    assert effort.choose(settings(), limit_s=1_000.0, cost=work_of) == {}


@pytest.mark.parametrize("limit_s", [5.0, 10.0, 20.0, 40.0, 60.0])
def test_the_run_stays_within_the_time_and_uses_most_of_it(limit_s):
    chosen = effort.choose(settings(), limit_s, work_of)

    assert limit_s / 2 < work_of(effort._with_values(settings(), chosen)) <= limit_s


def test_too_little_time_leaves_the_least_of_each_part():
    chosen = effort.choose(settings(), 0.01, work_of)

    assert (chosen["teacher.epochs"], chosen["teacher.sessions_per_epoch"]) == (1, 2_000)
    assert (chosen["distillation.epochs"], chosen["distillation.requests_per_epoch"]) == (3, 3_000)


def test_given_settings_stay_and_the_others_give_way():
    given = settings(teacher={"epochs": 9, "folds": 4}, ensemble={"trees": 300})
    fitted, chosen = effort.fit_to_log(given, BIG, "quick")

    assert (fitted.teacher.epochs, fitted.teacher.folds, fitted.ensemble.trees) == (9, 4, 300)
    assert {"teacher.epochs", "teacher.folds", "ensemble.trees", "ensemble.learning_rate"}.isdisjoint(chosen)
    assert fitted.teacher.sessions_per_epoch < 20_000


def test_full_effort_has_all_defaults():
    assert effort.fit_to_log(settings(effort="full"), BIG) == (settings(effort="full"), {})


def test_more_effort_takes_longer_and_more_rows_are_worth_more_time():
    assert time_s("quick", 10_000) < time_s("normal", 10_000) < time_s("normal", 10_000_000) < time_s("full", 1)
    large = replace(SIZE, rows=1_000_000, sessions=1_000_000, items=20_000)
    quick, normal, full = (effort.fit_to_log(settings(), large, e)[0] for e in ("quick", "normal", "full"))

    assert cost.run_s(quick, large) < cost.run_s(normal, large) < cost.run_s(full, large)


def test_every_part_has_constants_and_every_constant_a_part():
    constants = read_json(cost.CONSTANTS)["seconds"]
    work = cost.work(settings(), SIZE)

    assert set(constants) == {"/".join(part) for part in work}
    assert all(set(constants["/".join(part)]) <= set(counts) for part, counts in work.items())
    assert all(seconds >= 0 for of_part in constants.values() for seconds in of_part.values())


def test_a_machine_whose_probe_takes_twice_as_long_needs_twice_as_long():
    there = read_json(cost.CONSTANTS)["probe"]

    assert cost.factor_of({name: 2 * seconds for name, seconds in there.items()}) == pytest.approx(2.0)
    assert cost.probe().keys() == there.keys() and min(cost.probe().values()) > 0


def test_the_size_of_a_log_is_that_of_its_dataset(tiny_run):
    size = effort.log_size(tiny_run)

    assert (size.rows, size.users, size.items, size.sessions) == (1_050, tiny.USERS, tiny.ITEMS, 210)
    assert size.past == 35 / 2  # each user has 35 rows
    assert size.texts == 0 and 0 < size.judged <= tiny.USERS


@pytest.fixture
def run_dir(tiny_run, tmp_path, monkeypatch):
    """A run with the tiny dataset, in a world in which only a quick effort leaves nothing to its defaults."""
    shutil.copytree(tiny_run / "dataset", tmp_path / "dataset")
    monkeypatch.setattr(effort, "time_s", lambda name, rows: 0.0 if name == "quick" else 1e9)
    return tmp_path


def test_an_effort_of_the_command_line_holds_until_the_settings_change(run_dir, tiny_config):
    assert effort.settled(tiny_config, run_dir).ensemble.windows == 10
    lines = effort.remember(tiny_config, run_dir, "quick")

    assert "[ensemble] windows = 1" in lines[0] and "effort quick" in lines[0]
    assert effort.settled(tiny_config, run_dir).ensemble.windows == 1
    assert Run(tiny_config, run_dir, Silent()).config.ensemble.windows == 1
    assert effort.settled(tiny_config.model_copy(update={"effort": "full"}), run_dir).ensemble.windows == 10
    effort.remember(tiny_config, run_dir, "normal")
    assert effort.settled(tiny_config, run_dir).ensemble.windows == 10


def test_what_is_chosen_is_settled_once(run_dir, tiny_config):
    effort.remember(tiny_config, run_dir, "quick")
    once = effort.settled(tiny_config, run_dir)

    assert effort.settled(once, run_dir).model_dump() == once.model_dump()
    assert once.teacher.epochs == 1  # given


def test_another_effort_makes_the_teacher_stale_but_not_the_dataset(run_dir, tiny_config, monkeypatch):
    keys = []
    for name in ("normal", "quick"):
        effort.remember(tiny_config, run_dir, name)
        keys.append([pipeline._key(stage, tiny_config, run_dir) for stage in pipeline.STAGES[:2]])

    assert keys[0][0] == keys[1][0] and keys[0][1] != keys[1][1]


def test_a_run_without_a_dataset_has_its_settings_as_they_are(tmp_path, tiny_config):
    assert effort.settled(tiny_config, tmp_path) is tiny_config
