"""Planted faults must be found: a shuffled item table, one wrong scale of the INT8 graph."""

import json
import shutil

import numpy as np
import pytest

from edgerec.bundle import MANIFEST, Bundle, write_bundle
from edgerec.config import Config, EvaluationConfig
from edgerec.errors import QualityError
from edgerec.evaluation.gates import broken_gates, float32_failures, teacher_failures
from edgerec.metrics import Estimate
from edgerec.progress import Silent
from edgerec.runtime import native
from edgerec.stages.pipeline import run_stage, stage_named
from tests import tiny


@pytest.fixture
def chain(tiny_chain, tmp_path, monkeypatch, undrawn):
    """A finished chain; `evaluate` runs its last stage with gates, after a change to a tensor of the bundle."""
    monkeypatch.setattr(native, "FOLDER", tmp_path)  # the tensors are those of the graphs, not the engine's
    folder = shutil.copytree(tiny_chain, tmp_path / "chain")
    bundle = folder / "run" / "bundle"

    def evaluate(tensor=None, change=None, **gates):
        if tensor is not None:
            manifest = json.loads((bundle / MANIFEST).read_bytes())
            spec = next(t for t in manifest["tensors"] if t["name"] == tensor)
            content = bytearray((bundle / "weights.bin").read_bytes())
            part = slice(spec["offset"], spec["offset"] + spec["bytes"])
            values = np.frombuffer(bytes(content[part]), spec["type"]).reshape(spec["shape"])
            content[part] = np.ascontiguousarray(change(values.copy())).tobytes()
            files = {name: bundle / name for name in Bundle.open(bundle).manifest.files}
            write_bundle(bundle, {**files, "weights.bin": bytes(content)}, manifest)
        settings = tiny.settings(evaluation=gates)
        (folder / "edgerec.toml").write_text(tiny.toml(settings))
        return run_stage(stage_named("evaluate"), Config.load(folder / "edgerec.toml"), folder / "run", Silent())

    return evaluate


@pytest.mark.slow
def test_the_untouched_bundle_passes_the_gates_that_stop_the_planted_ones(chain):
    assert chain(min_overlap=0.95, max_auc_drop=0.5).failures == ()


def test_a_shuffled_item_table_is_stopped(chain):
    order = np.random.default_rng(0).permutation(tiny.ITEMS)
    with pytest.raises(
        QualityError, match=r"related: 0\.\d+ ±.* of the ten best are those of the same weights in float32"
    ):
        chain("item_table", lambda table: table[..., order], min_overlap=0.95)


@pytest.mark.slow
def test_one_wrong_scale_is_stopped_and_the_report_says_so(chain, tmp_path):
    def double(scales):
        scales[7] *= 50
        return scales

    with pytest.raises(QualityError, match="evaluate: "):
        chain("item_scales", double, min_overlap=0.95)
    report = json.loads((tmp_path / "chain" / "run" / "report" / "report.json").read_text())
    assert report["failures"] and "the gate is 0.95" in report["failures"][0]


def test_what_chance_can_explain_does_not_fail():
    sure, unsure = Estimate(0.7, 900, np.full(4, 0.01)), Estimate(0.7, 9, np.full(4, 0.1))
    assert len(teacher_failures({"next": {"retained": sure}}, 0.8, 0.02)) == 1
    assert teacher_failures({"next": {"retained": unsure}}, 0.8, 0.02) == []
    lost = Estimate(-0.1, 900, np.full(4, 0.01))
    assert len(float32_failures({"click": {"auc": lost, "rank_correlation": sure}}, 0.9, 0.02)) == 1
    # Of lists the ten best count, not the places of a hundred.
    assert float32_failures({"next": {"overlap@10": Estimate(1.0, 9), "rank_correlation": sure}}, 0.9, 0.02) == []


@pytest.mark.slow
def test_random_exposure_is_replayed(chain, tmp_path):
    chain(random_exposure=True)
    report = json.loads((tmp_path / "chain" / "run" / "report" / "report.json").read_text())["replay"]
    assert set(report) == {"teacher", "student", "pruned", "int8"} and set(report["int8"]) == {
        "click",
        "liked",
        "watch",
    }
    # One random item is what the log earned, whoever ranks; four fifths of what is shown is clicked.
    assert [of["click"]["best of 1"]["value"] for of in report.values()] == pytest.approx([0.8] * 4)
    assert report["teacher"]["click"]["best of 5"]["value"] >= 0.9


def test_a_table_of_fewer_bits_may_differ_more():
    figures = {"int8 ~ pruned": {"next": {"overlap@10": Estimate(0.88, 900, np.full(4, 0.001))}}}

    def broken(table, **gates):
        return broken_gates(figures, EvaluationConfig(**gates), table)

    assert len(broken("int8", min_overlap=0.95)) == 1 and broken("int4", min_overlap=0.8) == ()
    assert [len(broken(table)) for table in ("int8", "int4", "pq")] == [1, 0, 0]
