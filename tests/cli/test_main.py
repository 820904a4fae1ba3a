import json

import pytest
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


def test_help_cuts_no_line():
    assert "..." not in run(app, ["--help"], env={"COLUMNS": "80"}).stdout.partition("Commands:")[2]


def test_json_is_the_only_thing_on_standard_output(tmp_path, monkeypatch):
    monkeypatch.setattr("edgerec.cli.run.load_run", lambda *_: (None, tmp_path))
    monkeypatch.setattr("edgerec.stages.pipeline.run", lambda *_: {"prepare": None})

    assert json.loads(run(app, ["run", "--json"]).stdout) == {"run_dir": str(tmp_path), "ran": ["prepare"]}


def test_an_empty_table_has_a_head():
    assert format_table(("item", "score"), []) == "item  score\n----  -----"
