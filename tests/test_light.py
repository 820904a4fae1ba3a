"""What an app on a device loads: the standard library alone; `edgerec --help` only typer beside it."""

import subprocess
import sys

import pytest

HEAVY = {"lightning", "onnx", "onnxscript", "pandas", "polars", "pyarrow", "scipy", "sklearn", "torch", "transformers"}


def loaded_by(code: str) -> set[str]:
    code = f"import sys; {code}; print(*(m.partition('.')[0] for m in sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.splitlines()[-1].split())


USE = """
from pathlib import Path
from edgerec.runtime import Events, Recommender, native
native.FOLDER = Path({library!r})
with Recommender.of({bundle!r}) as rec:
    assert rec.health()["engine"] == "native"
    ids = [rec.arrays.named(index)[0] for index in range(3)]
    rec.observe(ids[0])
    assert rec.recommend(3, where="title LIKE '%1%' OR available", diversity=0.3, explain=True)
    rec.score(ids, history=Events(ids[:2], [0, 0], [1_600_000_000_000, 1_600_000_000_001]))
    rec.explain(ids[1])
    assert rec.check()
"""


def test_a_bundle_with_the_native_engine_is_used_with_the_standard_library_alone(tiny_chain, native_library):
    code = USE.format(bundle=str(tiny_chain / "run" / "bundle"), library=str(native_library.parent))
    before, loaded = loaded_by("pass"), loaded_by(f"exec({code!r})")

    assert "edgerec" in loaded
    others = {name for name in loaded - before - {"edgerec"} if not name.startswith("_sysconfigdata")}
    assert others <= sys.stdlib_module_names


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
