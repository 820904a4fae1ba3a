"""`edgerec tune` on the tiny log: from the settings to a table, plots and settings to paste."""

from __future__ import annotations

import importlib
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edgerec.cli.main import app
from edgerec.config import Config
from edgerec.experiments.tuning.plots import plot_history, plot_importance
from edgerec.experiments.tuning.report import TrialRow, TuningReport, best_toml
from edgerec.experiments.tuning.search import on_valid
from edgerec.progress import Silent
from edgerec.stages import pipeline
from tests import tiny

SPACE = {"teacher.dropout": [0.1, 0.3], "teacher.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}


def write(folder: Path, **tuning: Any) -> None:
    tiny.write(folder)
    tasks = [task for task in tiny.TASKS if task["name"] in ("next", "click")]
    settings = tiny.settings(tasks) | {"tuning": tuning}
    (folder / "edgerec.toml").write_text(tiny.toml(settings))


def tune(folder: Path, *more: str, code: int = 0):
    arguments = ["tune", "-c", str(folder / "edgerec.toml"), "--run-dir", str(folder / "run"), *more]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def test_three_trials_end_in_a_table_plots_and_settings_to_paste(tmp_path):
    write(tmp_path, trials=3, space=SPACE)
    found = json.loads(tune(tmp_path, "--json").stdout)
    out = tmp_path / "run" / "tuning"
    best = tomllib.loads((out / "best.toml").read_text())["teacher"]

    assert [row["state"] for row in found["trials"]] == 3 * ["done"]
    values = [row["value"] for row in found["trials"]]
    assert values == sorted(values, reverse=True)
    assert {f"teacher.{key}": value for key, value in best.items()} == found["best"]["settings"]
    assert found["best"]["metrics"]["next"]["ndcg@10"] == found["best"]["value"] > 0
    assert (out / "history.png").read_bytes()[:4] == b"\x89PNG"
    assert json.loads((out / "trials.json").read_text()) == found
    assert not (tmp_path / "run" / "teacher").exists()  # the run's own stages are left alone

    again = tune(tmp_path)
    assert "the study is finished: all 3 trials are made; raise [tuning] trials for more" in again.stderr
    assert "epoch" not in again.stderr
    assert "the test split is not read" in again.stderr
    assert again.stdout.splitlines()[4].split()[:2] == [str(found["best"]["trial"]), "done"]


def test_a_search_without_a_space_is_refused_in_one_line(tmp_path):
    write(tmp_path)

    assert tune(tmp_path, code=2).stderr.startswith("there is no [tuning.space]; add what to search, such as")


def test_without_optuna_the_extra_is_named(tmp_path, monkeypatch):
    def missing(name: str) -> None:
        if name.startswith("edgerec.experiments.tuning"):
            raise ModuleNotFoundError("no optuna", name="optuna")
        return real(name)

    real = importlib.import_module
    write(tmp_path, trials=3, space=SPACE)
    monkeypatch.setattr(importlib, "import_module", missing)

    assert tune(tmp_path, code=2).stderr == (
        'edgerec tune needs optuna, which is not installed: pip install "edgerec[train]"\n'
    )


@pytest.mark.slow
def test_two_processes_share_the_trials_of_a_student_of_a_teacher_that_saw_no_valid_row(tmp_path):
    space = {"distillation.listwise": [0.0, 0.5], "distillation.dropout": [0.0, 0.2]}
    write(tmp_path, space=space, stage="student", sampler="grid", metric="click.logloss")
    found = json.loads(tune(tmp_path, "--workers", "2", "--json").stdout)

    assert [row["state"] for row in found["trials"]] == 4 * ["done"]
    values = [row["value"] for row in found["trials"]]
    assert values == sorted(values)  # of a log-loss, less is better
    assert set(found["importance"]) == set(space)
    base = tmp_path / "run" / "tuning" / "base"
    valid = on_valid(Config.load(tmp_path / "edgerec.toml"))
    assert pipeline.is_fresh(pipeline.stage_named("train"), valid, base)
    assert pipeline.run(valid, base, Silent(), until="train") == {}


# ---------------------------------------------------------------------------- the report


def row(trial: int, state: str, value: float | None = None, se: float | None = None, dropout: float = 0.1) -> TrialRow:
    settings = {"teacher.dropout": dropout, "teacher.sharing": "ple"}
    return TrialRow(trial, state, value, se, 1.0, settings, None, {}, {})


def report(*rows: TrialRow, higher: bool = True, now: int | None = 1) -> TuningReport:
    importance = {"teacher.dropout": 0.75, "teacher.sharing": 0.25}
    return TuningReport("teacher-0", "next.ndcg@10", higher, list(rows), importance, now, 0)


def test_what_changed_and_whether_it_may_be_chance_is_said_beside_the_best_settings():
    config = Config.of(tiny.settings())
    text = best_toml(report(row(2, "done", 0.31, 0.02, 0.4), row(1, "done", 0.30, 0.02, 0.2)), config)

    assert tomllib.loads(text) == {"teacher": {"dropout": 0.4, "sharing": "ple"}}
    assert "dropout = 0.4  # now 0.2\n" in text
    assert 'sharing = "ple"  # now "mmoe"\n' in text
    assert "With the current settings: 0.3000 (standard error 0.0200)." in text
    assert "smaller than one standard error: it may be chance" in text
    clear = best_toml(report(row(2, "done", 0.40, 0.02, 0.4), row(1, "done", 0.30, 0.02, 0.2)), config)
    assert "chance" not in clear
    assert "# These are the current settings." in best_toml(report(row(1, "done", 0.3)), config)
    assert best_toml(report(row(1, "failed")), config) == ""


def test_plots_are_drawn_whatever_is_known(tmp_path):
    rows = [row(2, "done", 0.4, 0.02), row(1, "done", 0.3, None), row(4, "ended early"), row(3, "failed")]
    for name, found in (
        ("higher", report(*rows)),
        ("lower", report(*rows, higher=False, now=None)),
        ("one", report(rows[0])),
    ):
        for plot in (plot_history, plot_importance):
            path = plot(found, tmp_path / f"{name}-{plot.__name__}.png")
            assert path.stat().st_size > 10_000
