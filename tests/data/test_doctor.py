"""Leaks that were planted are found, and stop training unless they are allowed; a sound log is left alone."""

import json

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from edgerec.cli.main import app
from edgerec.config import Config
from edgerec.data import Dataset, prepare
from edgerec.data.doctor import examine, leaks, refuse_leaks
from edgerec.errors import DataError
from edgerec.progress import Silent
from edgerec.stages.run import Run
from edgerec.stages.train import train
from tests import tiny


def prepared(folder, change=None, **sections):
    """The tiny log with a changed frame, prepared."""
    folder.mkdir(exist_ok=True)
    tiny.write(folder)
    frame = pl.read_csv(folder / "log.csv").sort("user", "time")
    if change is not None:
        frame = change(frame)
    frame.write_csv(folder / "log.csv")
    context = {"categorical": ["tab"], "numeric": ["battery"], "from_time": ["hour", "weekday"]}
    context = context | ({"numeric": ["battery", "odd"]} if "odd" in frame.columns else {})
    values = tiny.settings(**sections)
    values["data"]["context"] = context
    (folder / "edgerec.toml").write_text(tiny.toml(values))
    config = Config.load(folder / "edgerec.toml")
    prepare(config, folder / "run")
    return config, Dataset.open(folder / "run" / "dataset")


def noisy(values):
    return pl.Series("odd", values + np.random.default_rng(0).normal(0, 0.01, len(values)))


PLANTED = {
    "a copy": lambda f: f.with_columns(noisy(f["click"].to_numpy().astype(float))),
    "turned round": lambda f: f.with_columns(noisy(-3.0 * f["click"].to_numpy())),
    "missing where it is not": lambda f: f.with_columns(pl.when(pl.col("click") == 1).then(5.0).alias("odd")),
    "the user's next label": lambda f: f.with_columns(
        pl.col("click").shift(-1).over("user").fill_null(0).cast(float).alias("odd")
    ),
}


@pytest.mark.parametrize("how", PLANTED)
def test_a_planted_leak_is_found_and_named(tmp_path, how):
    _, dataset = prepared(tmp_path / "a", PLANTED[how])
    found = [f for f in leaks(dataset) if f.name == "odd" and f.level == "stop"]
    assert any("click" in f.what for f in found), list(leaks(dataset))
    assert ("next row" in found[0].what) == (how == "the user's next label")


def test_a_sound_log_has_no_leak(tmp_path):
    _, dataset = prepared(tmp_path / "a")
    assert [f for f in examine(dataset) if f.level == "stop"] == []
    refuse_leaks(dataset, ())


def test_training_stops_at_a_leak_unless_it_is_allowed_by_name(tmp_path):
    config, dataset = prepared(tmp_path / "a", PLANTED["a copy"])
    with pytest.raises(DataError, match=r"odd alone tells .* apart .*: a leak; .*allow_leaks = \[\"odd\"\]"):
        train(Run(config, tmp_path / "a" / "run", Silent()))
    assert not (tmp_path / "a" / "run" / "teacher").exists()
    refuse_leaks(dataset, ["odd"])
    with pytest.raises(DataError, match="a leak"):
        refuse_leaks(dataset, ["battery"])


def test_what_is_constant_empty_or_of_a_wrong_clock_is_told(tmp_path):
    old = tiny.START_MS + 3 * tiny.DAY_MS

    def change(frame):
        jumped = pl.when(pl.col("time") < old).then(pl.col("time") - 900 * tiny.DAY_MS).otherwise(pl.col("time"))
        return frame.with_columns(jumped.alias("time"), pl.lit(7.0).alias("odd"), pl.lit(0).alias("liked"))

    _, dataset = prepared(tmp_path / "a", change)
    told = {f.name: f.what for f in examine(dataset)}
    assert told["odd"] == "odd has one value in every row"
    assert "liked is 0.0 in every row of" in told["liked"]
    assert told["time"].startswith("no row between") and told["users"] == "train has 30 users"


def test_the_command_tells_machine_and_log_and_ends_with_1_at_a_leak(tmp_path):
    folder = tmp_path / "a"
    prepared(folder, PLANTED["a copy"])
    arguments = ["doctor", "-c", str(folder / "edgerec.toml"), "--run-dir", str(folder / "run")]
    found = CliRunner().invoke(app, arguments)
    assert found.exit_code == 1 and "train would stop" in found.stderr and "instructions" in found.stdout
    told = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert told["machine"]["edgerec"] and any(f["name"] == "odd" and f["level"] == "stop" for f in told["log"])


def test_without_settings_it_tells_of_the_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(app, ["doctor"])
    assert found.exit_code == 0 and "no log was checked" in found.stdout and "onnxruntime" in found.stdout
