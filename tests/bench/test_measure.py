"""Fresh processes tell size, times and memory; they are compared with a device's budget."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgerec.bench.child import peak_mb
from edgerec.bench.measure import Measured, Target, measure, verdicts
from edgerec.cli.main import app
from edgerec.devices import load_profile
from edgerec.errors import BundleError
from edgerec.experiments.device_search.cost import Point

SMALL = {"processes": 2, "calls": 20, "cold": 4}


def edgerec(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_bundle_is_measured_in_fresh_processes(toy_bundle):
    one, again = measure([toy_bundle, toy_bundle], 1, **SMALL)
    files = {path.name: path.stat().st_size for path in toy_bundle.iterdir()}

    assert one.with_catalog_mb == sum(files.values()) / 1e6
    assert one.bundle_mb == again.bundle_mb == (sum(files.values()) - files["catalog.sqlite"]) / 1e6
    assert 0 < one.p50_ms <= one.p95_ms <= one.p99_ms
    assert one.p50_ms < one.first_result_ms < one.cold_start_ms
    assert one.cold_cache_p50_ms <= one.cold_cache_p95_ms
    assert 0 < one.above_interpreter_mb < one.peak_ram_mb


def test_the_engine_that_is_asked_for_is_measured(toy_bundle):
    found = {engine: measure([toy_bundle], 1, 1, 10, 1, engine)[0].engine for engine in ("auto", "numpy")}

    assert found == {"auto": "onnxruntime", "numpy": "numpy"}  # it has no student.bin
    with pytest.raises(BundleError, match=r"cannot be measured: .*student\.bin"):
        measure([toy_bundle], 1, 1, 10, 1, "native")


def test_memory_is_this_process_own_not_that_of_its_parent(toy_bundle):
    ballast = b"x" * 300_000_000  # would be a child's peak, if getrusage reported it
    one = measure([toy_bundle], 1, processes=1, calls=10, cold=1)[0]

    assert len(ballast) / 1e6 > one.peak_ram_mb
    assert peak_mb() > 300


def test_what_cannot_be_measured_is_one_line(toy_bundle, monkeypatch):
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(BundleError, match="cannot be measured: the process ended without a word"):
        measure([toy_bundle], 1, **SMALL)


def test_a_limit_is_kept_up_to_itself_and_where_memory_is_not_reported():
    target = Target.of(load_profile("kiosk-x86").to_json(), "here")
    at = target.limits["p95_ms"]
    values = dict.fromkeys(Measured.__dataclass_fields__, 0.0) | {"p95_ms": at, "peak_ram_mb": None}

    assert all(ok for _, _, ok in verdicts(Measured(**values), target).values())
    assert not verdicts(Measured(**values | {"p95_ms": at + 0.1}), target)["p95_ms"][2]


def test_the_command_prints_the_budget_of_the_bundles_own_device_and_a_comparison(toy_bundle, few_calls):
    result = edgerec("bench", toy_bundle, "--compare", toy_bundle)

    assert result.exit_code == 0, result.output
    line = next(line for line in result.stdout.splitlines() if line.startswith("bundle_mb"))
    assert line.split()[1] == line.split()[2] and line.split()[3] == "1"
    assert line.endswith("kept")


def test_a_bundle_for_a_device_of_its_owners_is_held_against_that_budget(toy_bundle, few_calls, tmp_path):
    bundle = shutil.copytree(toy_bundle, tmp_path / "mine")
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["device"] |= {"name": "mine"}
    manifest["device"]["budget"]["bundle_mb"]["limit"] = 0.001
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    result = edgerec("bench", bundle)

    assert result.exit_code == 1
    assert "over the budget of mine: bundle_mb" in result.stderr

    del manifest["device"]["budget"]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    result = edgerec("bench", bundle)
    assert result.exit_code == 2
    assert result.stderr.strip().endswith("describes no device with threads and a budget; give --device")


def test_over_the_budget_the_exit_code_is_1(toy_bundle, few_calls, tmp_path):
    text = (Path(__file__).parents[2] / "devices" / "kiosk-x86.toml").read_text()
    (tmp_path / "tiny.toml").write_text(text.replace("limit = 25.0", "limit = 0.001"))
    result = edgerec("bench", toy_bundle, "--device", tmp_path / "tiny.toml", "--json")

    assert result.exit_code == 1
    assert "over the budget of tiny: bundle_mb" in result.stderr
    printed = json.loads(result.stdout)
    assert printed["budget"]["bundle_mb"]["kept"] is False and printed["budget"]["p95_ms"]["kept"] is True
    assert printed["measured"][0]["threads"] == 1


def test_what_is_saved_on_a_device_corrects_fit(tiny_chain, few_calls, tmp_path):
    saved = tmp_path / "here.json"
    result = edgerec("bench", tiny_chain / "run" / "bundle", "--save", saved, "--json")
    point = Point.read(saved)

    assert json.loads(result.stdout)["measured"][0]["p50_ms"] == point.measured["p50_ms"] > 0
    assert (point.work.items, point.work.table) == (40, 40 * 8)


def test_a_bundle_that_does_not_tell_its_work_cannot_correct(toy_bundle, few_calls, tmp_path):
    result = edgerec("bench", toy_bundle, "--save", tmp_path / "here.json")

    assert result.exit_code == 2
    assert "its manifest holds no work; build it again" in result.stderr
    assert not (tmp_path / "here.json").exists()
