"""One command runs every benchmark."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tools.benchmarks import __main__ as runner

ROOT = Path(__file__).parents[3]
MODULES = sorted(path for path in (ROOT / "tools" / "benchmarks").glob("*.py") if not path.name.startswith("_"))


def test_list_names_every_module_with_what_it_prints_and_how_long_it_takes(capsys):
    assert runner.main(["--list"]) == 0
    header, _, *lines = capsys.readouterr().out.splitlines()

    assert header.split() == ["name", "takes", "prints"]
    assert [line.split()[0] for line in lines] == sorted(path.stem.replace("_", "-") for path in MODULES)
    for benchmark in runner.benchmarks().values():
        assert benchmark.duration and 20 < len(benchmark.prints) <= 120


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_every_module_is_a_benchmark(path):
    names = [node.name for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.FunctionDef)]

    assert "main" in names


@pytest.mark.parametrize("name", runner.benchmarks())
def test_every_benchmark_has_a_help(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        runner.main([name, "--help"])

    assert stopped.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: tools/benchmark {name} [-h]")


@pytest.mark.parametrize(
    ("name", "nearest"), [("studnet", "student"), ("judge_teacher", "teacher"), ("web_speed", "web")]
)
def test_an_unknown_name_is_one_line_with_the_nearest(name, nearest, capsys):
    assert runner.main([name, "retail"]) == 2
    assert capsys.readouterr().err == (
        f"tools/benchmark: there is no benchmark {name!r}; did you mean {nearest!r}? --list names them all\n"
    )


def test_without_a_name_the_usage_is_printed(capsys):
    assert runner.main([]) == 2
    assert capsys.readouterr().err.startswith("usage: tools/benchmark NAME")


def test_a_mistake_of_the_user_is_one_line(tmp_path, capsys):
    assert runner.main(["bundle", str(tmp_path / "nothing")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_list_loads_no_benchmark():
    code = "import sys; from tools.benchmarks.__main__ import main; main(['--list']); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
