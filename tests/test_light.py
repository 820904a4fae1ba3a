"""What an app on a device loads: the standard library, numpy and onnxruntime; `edgerec --help` only typer."""

import subprocess
import sys

import pytest

HEAVY = {"lightning", "onnx", "onnxscript", "pandas", "polars", "pyarrow", "scipy", "sklearn", "torch", "transformers"}


def loaded_by(code: str) -> set[str]:
    code = f"import sys; {code}; print(*(m.partition('.')[0] for m in sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "start",
    ["import edgerec.runtime", "import edgerec.bundle", "import edgerec.bench.child", "import edgerec.cli.main"],
)
def test_light_entry_points_load_nothing_heavy(start):
    assert (HEAVY | {"pydantic", "rich"}).isdisjoint(loaded_by(start))


def test_a_fresh_process_that_measures_has_loaded_nothing_of_what_it_measures():
    assert (HEAVY | {"numpy", "onnxruntime"}).isdisjoint(loaded_by("import edgerec.bench.child"))


def test_help_loads_neither_numpy_nor_onnxruntime():
    loaded = loaded_by("from edgerec.cli.main import app; app(['--help'], standalone_mode=False)")

    assert "typer" in loaded
    assert (HEAVY | {"numpy", "onnxruntime"}).isdisjoint(loaded)
