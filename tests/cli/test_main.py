import json

import pytest
import typer
from typer.testing import CliRunner

from edgerec import __version__
from edgerec.cli.main import COMMANDS, app
from edgerec.cli.output import format_table
from edgerec.errors import ConfigError, QualityError

run = CliRunner().invoke


def failing(monkeypatch, error: BaseException) -> None:
    """Make `edgerec run` fail in the middle."""

    def load_run(*_):
        raise error

    monkeypatch.setattr("edgerec.cli.run.load_run", load_run)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("shop.toml: what\nand where"), 2, "shop.toml: what and where\n"),
        (QualityError("INT8 loses too much"), 1, "INT8 loses too much\n"),
        (KeyboardInterrupt(), 130, "\nstopped: the same command goes on from the last checkpoint\n"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(monkeypatch, error, code, line):
    failing(monkeypatch, error)
    result = run(app, ["run"])

    assert (result.exit_code, result.stderr, result.stdout) == (code, line, "")


def test_our_own_mistakes_are_not_hidden(monkeypatch):
    failing(monkeypatch, ZeroDivisionError())

    assert isinstance(run(app, ["run"]).exception, ZeroDivisionError)


def test_a_missing_settings_file_is_named(tmp_path):
    result = run(app, ["train", "-c", str(tmp_path / "no.toml")])

    assert result.exit_code == 2
    assert result.stderr == f"{tmp_path}/no.toml: no such file; write one with: edgerec init LOG\n"


def test_an_unknown_stage_or_demo_is_refused_with_the_known_ones(tmp_path, monkeypatch):
    monkeypatch.setattr("edgerec.cli.run.load_run", lambda *_: (None, tmp_path))

    assert "one of prepare, train" in run(app, ["run", "--until", "trian"]).stderr
    assert run(app, ["demo", "groceries"]).exit_code == 2


def test_help_lists_every_command():
    result = run(app, ["--help"])

    assert all(f"\n  {name} " in result.stdout for name in COMMANDS)
    assert run(app, ["--version"]).stdout == f"edgerec {__version__}\n"


def test_help_groups_the_commands_with_a_whole_line_for_each():
    said = run(app, ["--help"], env={"COLUMNS": "80"}).stdout.partition("\nBuild:\n")[2].splitlines()

    groups = [line for line in said if line and not line.startswith(" ")]
    assert groups == ["Judge:", "Ship:", "Use:", "Keep:"]
    assert len([line for line in said if line.startswith("  ")]) == len(COMMANDS) == len(set(COMMANDS))
    assert all(len(line) <= 80 and line.endswith(".") for line in said if line.startswith("  "))


def test_every_command_has_json():
    commands = typer.main.get_command(app).commands
    without = [name for name in COMMANDS if not any("--json" in p.opts for p in commands[name].params)]

    assert without == []


def test_a_shell_can_complete_commands():
    env = {"_EDGEREC_COMPLETE": "complete_bash", "COMP_WORDS": "edgerec ser", "COMP_CWORD": "1"}

    assert run(app, [], prog_name="edgerec", env=env).stdout.split() == ["serve"]


@pytest.mark.parametrize(
    ("files", "found", "first"),
    [
        ({}, "no log and no settings", "edgerec demo retail"),
        ({"users.csv": "u" * 99, "my orders.csv": "a"}, "a table, my orders.csv", 'edgerec init "my orders.csv"'),
        ({"a.csv": "", "edgerec.toml": 'name = "shop"'}, "settings for shop", "edgerec run"),
        ({"runs/a/bundle/manifest.json": ""}, "a bundle in runs/a/bundle.", "edgerec evaluate"),
        (
            {"runs/a/bundle/manifest.json": "", "runs/a/edgerec.toml": "", "runs/a/report/report.html": ""},
            "its report is runs/a/report/report.html",
            "edgerec inspect runs/a/bundle",
        ),
        ({"runs/a/bundle/manifest.json": "", "edgerec.toml": 'name = "b"'}, "settings for b", "edgerec run"),
    ],
)
def test_without_a_command_three_next_steps_for_the_folder_are_said(tmp_path, monkeypatch, files, found, first):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    result = run(app, [])

    said = result.stdout.splitlines()
    steps = [line for line in said if line.startswith("  edgerec ")]
    assert result.exit_code == 0 and found in " ".join(said[:2])
    assert len(steps) == 3 and steps[0].partition("  #")[0].strip() == first
    assert all(len(line) <= 80 for line in said)
    assert {step.split()[1] for step in steps} <= set(COMMANDS)


def test_json_is_the_only_thing_on_standard_output(tmp_path, monkeypatch):
    monkeypatch.setattr("edgerec.cli.run.load_run", lambda *_: (None, tmp_path))
    monkeypatch.setattr("edgerec.stages.pipeline.run", lambda *_: {"prepare": None})

    assert json.loads(run(app, ["run", "--json"]).stdout) == {"run_dir": str(tmp_path), "ran": ["prepare"]}


def test_an_empty_table_has_a_head():
    assert format_table(("item", "score"), []) == "item  score\n----  -----"


def test_a_wide_table_has_cells_of_several_lines_or_goes_on_below_with_its_first_column():
    row = ["retail", "how often the user had it (half-life 7 days)", *(f"0.{i}234 ±0.0056" for i in range(9))]
    columns = ["task", "best baseline", *(f"stage{i}" for i in range(9))]
    for width in (80, 40):
        lines = format_table(columns, [row], width).splitlines()

        assert max(map(len, lines)) <= width
        said = " ".join(lines).split()
        assert all(word in said for cell in row for word in cell.split())
    assert [line.split()[0] for line in lines if line.startswith(("task", "retail"))] == ["task", "retail"] * 4


def test_a_table_that_fits_is_as_before():
    assert format_table(["a", "b"], [["x", 1]], 80) == format_table(["a", "b"], [["x", 1]])
