"""The transfer report: its arithmetic, what each network learns, and that nothing is trained twice."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from edgerec.cli.main import app
from edgerec.errors import ConfigError
from edgerec.experiments import transfer as stage
from edgerec.experiments.transfer import (
    SharingStrategy,
    TransferReport,
    mean_over_seeds,
    only,
    transfer,
    verdict,
    with_parents,
)
from edgerec.metrics import Estimate, mean
from edgerec.progress import Silent
from edgerec.stages.run import Run
from tests import tiny

TASKS = [task for task in tiny.TASKS if task["name"] in ("next", "click", "liked")]
MMOE, PLE = SharingStrategy("mmoe", "fixed"), SharingStrategy("ple", "pcgrad")


def estimate(*values):
    return mean(np.array(values))


def report(alone, mmoe, ple):
    names = [f"task {i}" for i in range(len(alone))]
    found = [dict(zip(names, values, strict=True)) for values in (alone, mmoe, ple)]
    return TransferReport((0,), dict.fromkeys(names, "auc"), found[0], {MMOE: found[1], PLE: found[2]})


# ------------------------------------------------------------------------------------------------ arithmetic


def test_a_difference_is_shown_beyond_two_standard_errors():
    # deviations ±1, 0: standard error sqrt(2 / 6)
    verdicts = [verdict(estimate(x - 1, x, x + 1)) for x in (-1.2, -1.1, 0.0, 1.1, 1.2)]

    assert verdicts == ["loses", "no difference shown", "no difference shown", "no difference shown", "gains"]


def test_the_mean_gain_is_relative_to_each_task_alone():
    found = report(
        [estimate(0.5, 0.5), estimate(0.1, 0.1)],
        [estimate(0.6, 0.6), estimate(0.1, 0.1)],
        [estimate(0.5, 0.5)] * 2,
    )

    assert found.gain(MMOE)[0] == pytest.approx((0.1 / 0.5 + 0.0) / 2)
    assert found.gain(PLE, over=MMOE)[0] == pytest.approx((-0.1 / 0.5 + 0.4 / 0.1) / 2)


def test_the_best_strategy_is_picked_only_if_its_lead_is_not_chance():
    base, sure, chance = estimate(1.0, 2.0, 3.0), estimate(1.2, 2.2, 3.2), estimate(1.9, 2.0, 2.7)

    assert report([base], [base], [sure]).pick() == PLE
    assert report([base], [base], [chance]).pick() == MMOE
    assert "which can be chance" in report([base], [base], [chance]).sentence()
    assert "a network for each" in report([sure], [base], [base]).sentence()


def test_a_mean_over_seeds_has_the_error_over_requests_and_over_seeds():
    first, second = estimate(1.0, 2.0, 3.0), estimate(2.0, 3.0, 4.0)  # standard error of each: sqrt(1 / 3)
    found = mean_over_seeds([first, second])

    assert found.value == 2.5
    assert found.se == pytest.approx(math.sqrt(1 / 3 + 0.5**2))  # of two seeds: half their distance
    assert found.minus(found).se == 0.0
    assert mean_over_seeds([first]).se == pytest.approx(first.se)
    assert math.isnan(mean_over_seeds([Estimate(1.0, 3)]).se)


# ------------------------------------------------------------------------------------------------ what is learned


@pytest.fixture
def config(tiny_config):
    small = {"epochs": 1, "dim": 4, "hidden": 4, "experts": 1, "heads": 1}
    tasks = tuple(t for t in tiny_config.task if t.name in ("next", "click", "liked"))
    return tiny_config.model_copy(update={"task": tasks, "teacher": tiny_config.teacher.model_copy(update=small)})


@pytest.fixture
def run_dir(tiny_run, tmp_path):
    shutil.copytree(tiny_run / "dataset", tmp_path / "run" / "dataset")
    return tmp_path / "run"


def test_a_task_is_learned_with_those_that_it_comes_after(config, tiny_data):
    assert with_parents("liked", config) == ["click", "liked"]
    data = only(tiny_data, ["click", "liked"])

    assert [t.name for t in data.tasks] == ["click", "liked"]
    assert data.train.sessions is None and data.evaluation.sessions is None
    assert data.train.impressions is tiny_data.train.impressions
    assert data.shape == tiny_data.shape
    assert only(tiny_data, ["related"]).train.impressions is None


def test_what_was_trained_is_not_trained_again(config, run_dir, monkeypatch):
    titles = []
    fit = stage.fit_on_valid
    monkeypatch.setattr(stage, "fit_on_valid", lambda *a: (titles.append(a[-1]), fit(*a))[1])
    first = transfer(Run(config, run_dir, Silent()))
    together = "together by mmoe, fixed, seed 0"
    assert titles == ["next alone, seed 0", "click alone, seed 0", "liked alone, seed 0", together]
    titles.clear()

    assert transfer(Run(config, run_dir, Silent())).to_json() == first.to_json()
    assert titles == []
    both = transfer(Run(config, run_dir, Silent()), seeds=2)
    assert len(titles) == 4 and all(title.endswith("seed 1") for title in titles)
    assert both.seeds == (0, 1)
    told = json.loads((run_dir / "report" / "transfer.json").read_text())
    assert told.pop("settings")["teacher"]["dim"] == 4
    assert told == json.loads(json.dumps(both.to_json()))
    assert not list(run_dir.glob("work/transfer/*/model"))


def test_all_strategies_are_compared_and_that_of_the_settings_comes_first(config, run_dir, monkeypatch):
    asked = []

    def judged(run, data, names, title):
        asked.append((run.config.teacher.sharing, run.config.teacher.loss_weights))
        return {name: ("auc", estimate(0.5, 0.6)) for name in names}

    monkeypatch.setattr(stage, "_judged", judged)
    config = config.model_copy(
        update={"teacher": config.teacher.model_copy(update={"sharing": "ple", "loss_weights": "gradnorm"})}
    )
    found = transfer(Run(config, run_dir, Silent()), compare=True)

    assert asked[:4] == [("ple", "fixed")] * 3 + [("ple", "gradnorm")]
    assert len(set(asked[3:])) == len(asked[3:]) == len(found.together) == 12
    assert found.pick() == SharingStrategy("ple", "gradnorm")


def test_one_task_is_refused(config, run_dir):
    with pytest.raises(ConfigError, match="one task only"):
        transfer(Run(config.model_copy(update={"task": config.task[:1]}), run_dir, Silent()))


def test_the_command_prints_a_row_a_task_and_the_pick(tiny_run, tmp_path):
    tiny.write(tmp_path)
    (tmp_path / "edgerec.toml").write_text(tiny.toml(tiny.settings(TASKS, teacher={"dim": 4, "hidden": 4})))
    given = ["-c", str(tmp_path / "edgerec.toml"), "--run-dir", str(tmp_path / "run")]
    early = CliRunner().invoke(app, ["transfer", *given])
    assert (early.exit_code, early.stderr.count("\n")) == (2, 1)
    assert "run: edgerec prepare" in early.stderr
    assert CliRunner().invoke(app, ["prepare", *given]).exit_code == 0

    shown = CliRunner().invoke(app, ["transfer", *given])
    assert shown.exit_code == 0, shown.stderr
    assert [line.split()[:3] for line in shown.stdout.splitlines() if "mmoe, fixed" in line] == [
        ["next", "ndcg@10", "mmoe,"],
        ["click", "auc", "mmoe,"],
        ["liked", "auc", "mmoe,"],
    ]
    assert 'the evidence picks sharing = "mmoe", loss_weights = "fixed"' in shown.stdout
