"""What README tells a stranger to type works."""

import json
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import polars as pl
import pytest
from typer.testing import CliRunner

from edgerec.cli.main import COMMANDS, app
from edgerec.config import Config
from tests import tiny
from tools.benchmarks.__main__ import benchmarks

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FIGURES = (ROOT / "tools" / "site" / "pages" / "figures.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)


def lines(language):
    code = "".join(code for tongue, code in BLOCKS if tongue == language)
    return [line.split("  #")[0].strip() for line in code.splitlines() if line.strip()]


def test_a_reader_is_through_in_five_minutes():
    assert len(README.split()) <= 1200


def test_the_picture_is_an_svg_for_light_and_dark_pages():
    (picture,) = re.findall(r"!\[.+\]\((\S+)\)", README)
    ElementTree.parse(ROOT / picture)
    assert "prefers-color-scheme: dark" in (ROOT / picture).read_text(encoding="utf-8")


def test_a_fresh_clone_has_edgerec_on_its_path_before_it_is_called():
    demo, activate, *rest = lines("sh")
    assert demo.startswith("tools/demo ") and activate == ". .venv/bin/activate"
    assert all(line.startswith(("edgerec ", "pip install ")) for line in rest)


@pytest.mark.parametrize("line", [line for line in lines("sh") if line.startswith("edgerec recommend")])
def test_every_question_to_a_bundle_is_answered(line, tiny_chain, tmp_path, monkeypatch):
    bundle = re.search(r"runs/\w+/bundle", line).group()
    shutil.copytree(tiny_chain / "run" / "bundle", tmp_path / bundle)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, shlex.split(line.replace("22423,85123A", "i3,i5"))[1:])

    assert result.exit_code == 0, result.stderr


def test_every_command_and_tool_that_is_named_exists():
    assert set(re.findall(r"edgerec (\w+)", "\n".join(lines("sh")))) <= set(COMMANDS)
    for tool in re.findall(r"(?<!\()tools/\w+", README):
        assert (ROOT / tool).stat().st_mode & 0o100, tool
    assert set(re.findall(r"tools/benchmark ([\w-]+)", README)) <= set(benchmarks())
    for link in re.findall(r"\]\((\S+?)\)", README):
        assert (ROOT / link).exists(), link


def test_every_file_that_is_installed_from_is_there():
    installs = [line for line in lines("sh") if line.startswith("pip install")]
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")

    assert installs == ["pip install .", 'pip install -c constraints.txt ".[train,text]"']
    assert (ROOT / "constraints.txt").exists() and "\ntrain = [" in pyproject and "\ntext = [" in pyproject


@pytest.mark.parametrize("block", [code for language, code in BLOCKS if language == "toml"])
def test_every_setting_that_is_shown_is_one(block, tmp_path):
    assert Config.of({**tiny.settings(), **tomllib.loads(block)}, folder=tmp_path)


def test_the_lines_for_an_app_run(toy_bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (code,) = (code for language, code in BLOCKS if language == "python")
    exec(code.replace("runs/retail/bundle", str(toy_bundle)).replace("22423", "i3"), {})

    assert len(capsys.readouterr().out.splitlines()) == 8
    assert (tmp_path / "state.sqlite").exists()


def test_the_commands_for_a_log_of_ones_own_prepare_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pl.DataFrame(tiny.rows()).write_csv("orders.csv")
    init, run = (next(x.split()[1:] for x in lines("sh") if x.startswith(f"edgerec {c}")) for c in ("init", "run"))
    assert (init, run) == (["init", "orders.csv"], ["run"])

    for command in (init, [*run, "--until", "prepare"]):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
    assert Path("runs/orders/dataset/rejected.parquet").exists()


@pytest.mark.slow
def test_the_bundle_benchmark_prints_the_figures_by_the_names_on_the_page(toy_bundle):
    done = subprocess.run(
        [ROOT / "tools" / "benchmark", "bundle", toy_bundle, "--json"], capture_output=True, text=True, check=True
    )
    figures = json.loads(done.stdout)

    (measured,) = re.findall(r"^- `tools/benchmark bundle .*?(?=\n- )", FIGURES, re.DOTALL | re.MULTILINE)
    named = set(re.findall(r"\w+_\w+", measured))
    assert named and named <= set(figures)
    assert all(value > 0 for value in figures.values())
