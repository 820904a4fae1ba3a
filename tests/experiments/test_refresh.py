"""The next version from a grown log, the gate against the old bundle, and what differs between two bundles."""

import json
import shutil

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from edgerec.bundle import Bundle
from edgerec.bundle.delta import apply_delta
from edgerec.cli.main import app
from edgerec.config import Config
from edgerec.distillation.student import new_student
from edgerec.distillation.warm_start import warm_start
from edgerec.errors import ConfigError
from edgerec.experiments.diff import Diff
from edgerec.metrics import Estimate
from edgerec.progress import Silent
from edgerec.runtime import Recommender
from edgerec.stages.run import Run, student_settings
from tests import tiny

slow = pytest.mark.slow


@pytest.fixture(scope="module")
def grown(tiny_chain, tmp_path_factory):
    """The finished tiny run, a log of ten more days, and what `edgerec refresh` told."""
    folder = tmp_path_factory.mktemp("grown")
    shutil.copytree(tiny_chain, folder, dirs_exist_ok=True)
    log = pl.read_csv(folder / "log.csv")
    late = log.filter(pl.col("time") >= log["time"].max() - 4 * tiny.DAY_MS)
    newer = late.with_columns(pl.col("time") + 5 * tiny.DAY_MS, pl.col("session") + "-new")
    newer = newer.with_columns(pl.when(pl.col("item") == "i39").then(pl.lit("fresh")).otherwise("item").alias("item"))
    last = late.with_columns(pl.col("time") + 10 * tiny.DAY_MS, pl.col("session") + "-last")
    pl.concat([log, newer, last]).write_csv(folder / "grown.csv")
    arguments = ["-c", str(folder / "edgerec.toml"), "--run-dir", str(folder / "run")]
    result = CliRunner().invoke(
        app, ["refresh", *arguments, "--log", str(folder / "grown.csv")], catch_exceptions=False
    )
    return folder, arguments, result


@slow
def test_a_refreshed_run_is_the_next_version_and_its_delta_gives_it(grown, tmp_path):
    folder, _, result = grown
    if result.exit_code == 1:  # a tiny log may go either way; then the gate must have said so, and no delta is there
        assert "refresh: " in result.stderr and not (folder / "run-v2" / "delta").exists()
        return
    assert result.exit_code == 0, result.stderr
    assert "tensors start from" in result.stderr and "Quality on the same evaluation split" in result.stdout
    new = folder / "run-v2" / "bundle"
    assert Bundle.open(new).manifest.version == 2
    (tmp_path / "made").mkdir()
    apply_delta(Bundle.open(folder / "run" / "bundle"), folder / "run-v2" / "delta", tmp_path / "made")
    assert (tmp_path / "made" / "weights.bin").read_bytes() == (new / "weights.bin").read_bytes()
    with Recommender.of(new) as rec:
        assert rec.arrays.index_of("fresh") is not None


@slow
def test_a_student_goes_on_with_rows_by_what_they_stand_for(grown):
    folder, _, _ = grown
    config = Config.load(folder / "edgerec.toml")
    data = Run(config, folder / "run-v2", Silent()).learning_data("test")
    student = new_student(student_settings(config), data)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    assert warm_start(student, folder / "run", data) > 20
    old_data = Run(config, folder / "run", Silent()).learning_data("test")
    old = load_file(folder / "run" / "student" / "model.safetensors")["items.identity.weight"]
    ids = [of.dataset.items()["id"].to_list() for of in (old_data, data)]
    table, before_table = student.state_dict()["items.identity.weight"], before["items.identity.weight"]
    for i, item in enumerate(ids[1][: len(table)]):
        if item in ids[0]:
            assert torch.equal(table[i], old[ids[0].index(item)])
        else:
            assert torch.equal(table[i], before_table[i])


@slow
def test_a_student_of_other_tasks_or_another_shape_is_refused(grown):
    folder, _, _ = grown
    config = Config.of(tiny.settings(student={"dim": 4, "hidden": 8}), folder=folder)
    data = Run(config, folder / "run", Silent()).learning_data("test")
    with pytest.raises(ConfigError, match="has another shape"):
        warm_start(new_student(student_settings(config), data), folder / "run", data)


@slow
def test_a_log_that_has_not_grown_is_refused(grown, tmp_path):
    _, arguments, _ = grown
    result = CliRunner().invoke(app, ["refresh", *arguments, "--out", str(tmp_path / "next")])
    assert result.exit_code == 2 and "give a grown one by --log" in result.stderr


@slow
def test_a_bundle_is_not_different_from_itself(grown):
    folder, arguments, _ = grown
    bundle = str(folder / "run" / "bundle")
    found = json.loads(CliRunner().invoke(app, ["diff", bundle, bundle, *arguments, "--json"]).stdout)
    assert found["failures"] == [] and all(of["value"] == 1 for of in found["overlap"].values())
    assert all(
        e["value"] == 0 for figures in found["paired"].values() for e in figures.values() if e["value"] is not None
    )
    told = CliRunner().invoke(app, ["diff", bundle, bundle, *arguments]).stdout
    assert "tiny 1 (old)" in told and "not worse" in told


def test_worse_by_more_than_chance_fails_and_parts_that_moved_are_told():
    sure, unsure = (Estimate(-0.05, 90, np.full(4, error)) for error in (0.01, 0.05))
    names = ("a 1", "a 2")
    figures = {"old": {"next": {"ndcg@10": sure}}, "new": {"next": {"ndcg@10": sure}}}
    parts = {"tab = home": {"next": {"ndcg@10": sure}}, "tab = search": {"next": {"ndcg@10": unsure}}}
    diff = Diff(names, figures, {"next": {"ndcg@10": sure}}, {}, parts, {})
    assert diff.failures == ["next: ndcg@10 is 0.0500 ±0.0200 below a 1's"]
    assert Diff(names, figures, {"next": {"ndcg@10": unsure}}, {}, parts, {}).failures == []
    moved = next(t for t in diff.tables() if t.title.startswith("Who gains"))
    assert [row[0] for row in moved.rows] == ["tab = home"] and moved.rows[0][-1] == "loses"
