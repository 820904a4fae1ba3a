"""`edgerec search` on the tiny log: trials, a finished bundle inside its budget, and a budget that nothing fits."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgerec.cli.main import app
from edgerec.errors import RenamedWarning, deprecated
from edgerec.experiments.device_search import search
from edgerec.experiments.device_search.calibrate import calibrate
from edgerec.experiments.device_search.cost import Point
from edgerec.experiments.device_search.space import Widths, first_of, simplest, space_of
from edgerec.experiments.device_search.trials import Untrained
from edgerec.models.student import StudentSizes
from edgerec.runtime import Recommender
from tests import tiny

DEVICES = Path(__file__).parents[3] / "devices"


def measured(untrained: Untrained, encoder, profile, kernels, progress) -> list[Point]:
    """What `calibrate` could measure on some machine; on a real one it takes half a minute."""
    points = []
    for kernel in kernels:
        for dim in (8, 16, 32):
            work = untrained.counted(StudentSizes.of(dim, 16, 2), kernel, 10_000 + 100 * dim, 40)
            values = {"p50_ms": 0.2 + dim / 1e3, "p95_ms": 0.3, "peak_ram_mb": 70.0, "cold_start_ms": 200.0}
            points.append(Point(work, values))
    return points


@pytest.fixture
def quick(monkeypatch):
    few = partial(search.search_device, widths=Widths(dims=(4, 8), hidden=(8, 16)), calibration=measured)
    monkeypatch.setattr(search, "search_device", few)


def search_by_command(folder: Path, *more: str, code: int = 0, command: str = "search"):
    arguments = [command, "-c", str(folder / "edgerec.toml"), "--run-dir", str(folder / "run"), *more]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def write(folder: Path) -> None:
    tiny.write(folder)
    tasks = [task for task in tiny.TASKS if task["name"] in ("next", "click")]
    (folder / "edgerec.toml").write_text(tiny.toml(tiny.settings(tasks)))


@pytest.mark.slow
def test_a_search_ends_with_a_bundle_inside_the_budget_and_goes_on_where_it_was(tmp_path, quick):
    write(tmp_path)
    first = search_by_command(tmp_path, "--trials", "2")
    again = search_by_command(tmp_path, "--trials", "3", "--json")
    report = json.loads(again.stdout)
    folder = tmp_path / "run" / "search" / "kiosk-x86"

    assert "Trials for kiosk-x86" in first.stdout and "because of 2 trained trials" in first.stdout
    assert sum(row["quality"] is not None for row in report["trials"]) == 3
    assert report["checked"]["model_mb"]["expected"] == report["checked"]["model_mb"]["measured"]
    assert report["budget"]["bundle_mb"]["measured"] < report["budget"]["bundle_mb"]["limit"]
    assert any(row["front"] and row["settings"] == report["chosen"] for row in report["trials"])
    for place in (folder / "report", folder / "bundle"):
        sealed = json.loads((place / "report.json").read_text())["search"]
        assert (sealed["chosen"], sealed["device"]) == (report["chosen"], "kiosk-x86")
    assert "quality, size and latency for kiosk-x86" in (folder / "report" / "report.html").read_text()
    with Recommender.open(folder / "bundle") as recommender:
        assert recommender.bundle.manifest.dim == report["chosen"]["student.dim"]
        assert len(recommender.recommend(k=3)) == 3


@pytest.mark.slow
def test_a_budget_that_nothing_fits_ends_with_what_would_have_to_give(tmp_path, quick):
    write(tmp_path)
    kiosk = (DEVICES / "kiosk-x86.toml").read_text()
    (tmp_path / "tiny.toml").write_text(kiosk.replace("limit = 25.0", "limit = 0.002"))
    result = search_by_command(tmp_path, "--device", str(tmp_path / "tiny.toml"), "--trials", "2", code=1)

    assert "nothing fits tiny" in result.stderr
    assert "bundle_mb must be at least 0.0" in result.stderr and "the budget has 0.002" in result.stderr
    assert not (tmp_path / "run" / "search" / "tiny" / "bundle").exists()
    assert json.loads((tmp_path / "run" / "search" / "tiny" / "search.json").read_text())["chosen"] is None


@pytest.mark.slow
def test_this_machine_is_measured_by_real_bundles(tiny_data):
    from edgerec.devices import load_profile
    from edgerec.progress import Silent

    untrained = Untrained(tiny_data.shape, tiny_data.features, tiny_data.tasks)
    kiosk, encoder = load_profile("kiosk-x86"), tiny_data.encoder
    points = calibrate(untrained, encoder, kiosk, ["u8s8"], Silent(), widths=("nano",), times=(1, 3), calls=10)

    assert [point.work.items for point in points] == [40, 120]
    assert all(value > 0 for point in points for value in point.measured.values())


def test_the_space_holds_what_the_device_can_run(tiny_config):
    from edgerec.devices import load_profile

    native = load_profile("kiosk-x86")
    web, kiosk, graphs = (
        space_of(tiny_config, profile)
        for profile in (load_profile("web-wasm"), native, replace(native, runtime="onnxruntime"))
    )

    assert kiosk["quantization.kernel"] == ["u8s8"]  # of which the native engine reads the file
    assert "nbits8" not in web["quantization.kernel"] and "nbits8" in graphs["quantization.kernel"]
    assert all(values.keys() == kiosk.keys() for values in first_of(tiny_config, kiosk))


def test_settings_that_make_the_same_bundle_are_one():
    packed = {"quantization.kernel": "fp32", "quantization.table": "pq"}

    assert simplest(packed) == {"quantization.kernel": "fp32", "quantization.table": "int8"}
    assert simplest(packed | {"quantization.kernel": "nbits8"})["quantization.kernel"] == "u8s8"


def test_run_with_a_device_and_until_is_refused(tmp_path):
    tiny.write(tmp_path)
    (tmp_path / "edgerec.toml").write_text(tiny.toml(tiny.settings()))
    result = CliRunner().invoke(
        app, ["run", "-c", str(tmp_path / "edgerec.toml"), "--device", "ios", "--until", "prune"]
    )

    assert result.exit_code == 2
    assert "exclude each other" in result.stderr


def test_the_old_name_of_the_command_works_with_a_warning(tmp_path):
    deprecated.cache_clear()
    with pytest.warns(RenamedWarning, match="edgerec fit is now called edgerec search"):
        missing = CliRunner().invoke(app, ["fit", "-c", str(tmp_path / "no.toml")])

    assert missing.exit_code == 2 and "no.toml: no such file" in missing.stderr
    assert "\n  fit " not in CliRunner().invoke(app, ["--help"]).stdout
