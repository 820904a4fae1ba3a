"""The cost model: exact sizes from settings alone, coefficients found again, devices and corrections."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from edgerec.compression.graphs import Expectation
from edgerec.compression.pruning import pruned_student
from edgerec.compression.workload import Workload, macs
from edgerec.devices import load_profile
from edgerec.distillation.student import new_student
from edgerec.errors import ConfigError
from edgerec.experiments.device_search.cost import CostModel, Point
from edgerec.experiments.device_search.trials import Untrained
from edgerec.experiments.tuning.space import applied
from edgerec.models.inputs import Shape
from edgerec.models.student import StudentSizes
from edgerec.progress import Silent
from edgerec.stages.labels import labelled_examples
from edgerec.stages.quantize import build
from edgerec.stages.run import Run, student_settings


def works():
    rng = np.random.default_rng(0)
    for kernel in ("u8s8", "fp32"):
        for items in (1_000, 10_000, 100_000):
            for dim in (8, 32, 64):
                unit = 4 if kernel == "fp32" else 1
                weight = 50_000 + items * (dim * unit + 6)
                yield Workload(kernel, items, weight, items * dim, items * 2, int(1e5 + dim * 1e4 * rng.random()))


def costs_of(work: Workload) -> dict[str, float]:
    """A made-up machine."""
    per_number = 2e-7 if work.kernel == "fp32" else 6e-8
    p50 = 0.1 + 5e-8 * work.macs + 1e-6 * work.logits + per_number * work.table
    ram = 60 + 1.5e-6 * work.model_bytes + 3e-5 * work.logits
    return {"p50_ms": p50, "p95_ms": 1.2 * p50, "peak_ram_mb": ram, "cold_start_ms": 150 + 1e-5 * work.model_bytes}


def model() -> CostModel:
    return CostModel.fit([Point(work, costs_of(work)) for work in works()])


def test_a_machine_that_follows_the_model_is_predicted_at_sizes_that_were_not_measured():
    for work in (Workload("u8s8", 50_000, 2_000_000, 50_000 * 48, 100_000, 300_000),
                 Workload("fp32", 30_000, 6_000_000, 30_000 * 48, 60_000, 300_000)):  # fmt: skip
        predicted, wanted = model().here(work), costs_of(work)

        assert predicted.p95_ms == pytest.approx(wanted["p95_ms"], rel=0.05)
        assert predicted.peak_ram_mb == pytest.approx(wanted["peak_ram_mb"], rel=0.05)
        assert predicted.cold_start_ms == pytest.approx(wanted["cold_start_ms"], rel=0.05)
        assert predicted.bundle_mb == work.model_bytes / 1e6


def test_more_of_anything_never_costs_less():
    work = Workload("u8s8", 10_000, 700_000, 320_000, 20_000, 300_000)
    before = asdict(model().here(work))
    for more in ("model_bytes", "table", "logits", "macs"):
        after = asdict(model().here(replace(work, **{more: 10 * getattr(work, more)})))
        assert all(after[name] >= before[name] for name in before), more


def test_a_slower_core_takes_longer_and_slow_memory_is_a_limit():
    work, here = Workload("u8s8", 10_000, 700_000, 320_000, 20_000, 300_000), load_profile("server-x86")
    slow = replace(here, core_speed=replace(here.core_speed, value=0.1))
    starved = replace(here, memory_bandwidth_gb_s=replace(here.memory_bandwidth_gb_s, value=0.0001))

    assert model().on(work, here).p95_ms == pytest.approx(model().here(work).p95_ms)
    assert model().on(work, slow).p95_ms == pytest.approx(10 * model().here(work).p95_ms)
    assert model().on(work, starved).p95_ms == pytest.approx(320_000 / 0.0001e6)  # bytes by bytes a ms


def test_a_measurement_of_the_device_corrects_what_is_expected_there(tmp_path):
    measured, device = Workload("u8s8", 10_000, 700_000, 320_000, 20_000, 300_000), load_profile("raspberry-pi-4")
    other = replace(measured, items=20_000, table=640_000, logits=40_000)
    on = model().on(measured, device)
    truth = {
        "p50_ms": 1.0,
        "p95_ms": 3 * on.p95_ms,
        "peak_ram_mb": on.peak_ram_mb + 25,
        "cold_start_ms": on.cold_start_ms / 2,
    }
    (tmp_path / "pi.json").write_text(json.dumps({"work": asdict(measured), "measured": truth}))
    point = Point.read(tmp_path / "pi.json")
    before, after = model().on(other, device), model().on(other, device, [point])

    assert after.p95_ms == pytest.approx(3 * before.p95_ms)
    assert after.peak_ram_mb == pytest.approx(before.peak_ram_mb + 25)
    assert after.cold_start_ms == pytest.approx(before.cold_start_ms / 2)
    assert after.bundle_mb == before.bundle_mb


def test_a_file_that_is_not_a_measurement_is_refused_in_one_line(tmp_path):
    (tmp_path / "pi.json").write_text("{}")

    with pytest.raises(ConfigError, match=r"pi.json: is not a measurement of a device \('work'\); make one"):
        Point.read(tmp_path / "pi.json")


@pytest.mark.parametrize(("runtime", "taken"), [("native", False), ("onnxruntime", True), ("onnxruntime-web", True)])
def test_a_measurement_by_another_engine_than_the_devices_corrects_nothing(tmp_path, runtime, taken):
    work = asdict(Workload("u8s8", 10, 1_000, 80, 20, 100))
    figures = {"p50_ms": 1, "p95_ms": 2, "peak_ram_mb": 70, "cold_start_ms": 200, "engine": "onnxruntime"}
    (tmp_path / "pi.json").write_text(json.dumps({"work": work, "measured": figures}))

    if taken:
        assert Point.read(tmp_path / "pi.json", runtime).work.items == 10
    else:
        with pytest.raises(ConfigError, match=r"with the engine onnxruntime, and .* runtime is native; measure again"):
            Point.read(tmp_path / "pi.json", runtime)


@pytest.mark.parametrize("value", ["NaN", "0", "Infinity", "-1", '"fast"'])
def test_a_measurement_that_is_not_a_number_is_refused(tmp_path, value):
    work = json.dumps(asdict(Workload("u8s8", 10, 1_000, 80, 20, 100)))
    figures = f'"p50_ms": 1, "p95_ms": {value}, "peak_ram_mb": 70, "cold_start_ms": 200'
    (tmp_path / "pi.json").write_text(f'{{"work": {work}, "measured": {{{figures}}}}}')

    with pytest.raises(ConfigError, match=r"pi\.json: is not a measurement of a device"):
        Point.read(tmp_path / "pi.json")


def test_what_exceeds_the_budget_is_named_with_its_limit():
    work = Workload("u8s8", 1_000_000, 70_000_000, 64_000_000, 2_000_000, 300_000)
    over = model().on(work, load_profile("raspberry-pi-zero-2w")).over(load_profile("raspberry-pi-zero-2w"))

    assert over["bundle_mb"] == (70.0, 5.0)


def test_multiplications_by_hand():
    shape = Shape(10, 2, (3,), 4, (), 0, 0, 4)
    sizes = StudentSizes(dim=2, heads=1, inner=3, context=5, pooling=2, repeat=1, head=4, item=8)
    context = 4 * 3 + 3 * 5 + 5 * 3
    events = 50 * ((2 + 6) * 3 + 2 * 1 + 1 * 2 + 2)
    vectors = 2 * 4 + (5 + 2) * 4 + 4 * 4
    direction = 2 * 2 * (4 + 2) + 2 * 4 * 2
    reasons = 10 * 2 * (2 + 50)

    assert macs(shape, sizes, 2) == context + events + vectors + direction + reasons


@pytest.mark.parametrize(
    "values",
    [
        {"student.dim": 12, "student.hidden": 20, "pruning.hidden": 0.5, "quantization.kernel": "nbits8"},
        *(
            pytest.param(values, marks=pytest.mark.slow)
            for values in (
                {},
                {"quantization.table": "int4", "pruning.heads": 0.5},
                {"quantization.table": "pq", "student.transitions": 3},
                {"quantization.kernel": "fp32", "pruning.dim": 0.25},
            )
        ),
    ],
    ids=str,
)
def test_the_size_of_a_bundle_is_known_before_anything_is_trained(tiny_config, tiny_run, tiny_data, tmp_path, values):
    settings = applied(tiny_config, {"quantization.kernel": "u8s8", "distillation.pseudo_labelled": 0.0, **values})
    settings = applied(settings, {"distillation.future": 0.0})
    for term in ("probabilities", "listwise", "top_list"):  # by the log alone: no teacher is needed
        settings = applied(settings, {f"distillation.{term}": 0.0})
    untrained = Untrained(tiny_data.shape, tiny_data.features, tiny_data.tasks)
    expected = untrained.work(settings, tiny_data.n_items)

    examples, _ = labelled_examples(Run(settings, tiny_run, Silent()), tiny_data)
    student = new_student(student_settings(settings), tiny_data)
    pruned = pruned_student(
        settings.pruning,
        student_settings(settings),
        settings.quantization.table == "int4",
        tiny_data,
        examples,
        student,
        tmp_path / "work",
        Silent(),
    )
    build(settings, tiny_data, pruned, {"watch": Expectation(1.5, -0.25, 20_000.0)}, tmp_path / "bundle")
    work = json.loads((tmp_path / "bundle" / "manifest.json").read_text())["device"]["work"]

    assert Workload.from_json(work) == expected
