"""`edgerec` without a command: the three next steps for the current folder."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import typer

__all__ = ["next_steps", "print_next_steps"]

SETTINGS, SCREEN = "edgerec.toml", 80
LOGS = (".csv", ".parquet", ".jsonl")
BESIDE = ("items", "users", "products", "catalog", "rejected")
"""Words in names of tables that are no logs."""


def print_next_steps(folder: Path) -> None:
    """Print what is here, the three commands, and where all of them are listed."""
    found, steps = next_steps(folder)
    typer.echo(f"{found}\nNext:\n")
    width = max(len(command) for command, _ in steps)
    aligned = all(width + len(what) + 6 <= SCREEN for _, what in steps)
    for command, what in steps:
        typer.echo(f"  {command:<{width}}  # {what}" if aligned else f"  {command}\n      # {what}")
    typer.echo("\nAll commands: edgerec --help")


def next_steps(folder: Path) -> tuple[str, list[tuple[str, str]]]:
    """What is in the folder in a sentence, and three commands with what each does."""
    name = _name(folder / SETTINGS)
    run = next(_runs(folder, name), None)
    if run is not None:
        bundle = (run / "bundle").relative_to(folder).as_posix()
        own = run / SETTINGS
        settings = f" -c {own.relative_to(folder).as_posix()}" if own.is_file() and name is None else ""
        judged = (run / "report" / "report.html").is_file()
        report = f",\nand its report is {bundle.removesuffix('bundle')}report/report.html" if judged else ""
        inspect = (f"edgerec inspect {bundle}", "what it holds")
        evaluate = (f"edgerec evaluate{settings}", "is it better than simple baselines?")
        return f"There is a bundle in {bundle}{report}.", [
            inspect if judged else evaluate,
            (f"edgerec recommend {bundle} --explain", "a list, with its reasons"),
            (f"edgerec embed python {bundle} app", "a folder for an app"),
        ]
    if name is not None:
        return f"There are settings for {name}, and no bundle yet.", [
            ("edgerec run", "from the log to the judged bundle"),
            ("edgerec run --effort quick", "the same in minutes, to see whether all fits"),
            ("edgerec doctor", "what is wrong with machine and log"),
        ]
    log = next(_logs(folder), None)
    if log is not None:
        typed = f'"{log}"' if " " in log else log
        return f"There is a table, {log}, and no settings yet.", [
            (f"edgerec init {typed}", "guess the settings, and say why"),
            ("edgerec run", "from the log to the judged bundle"),
            ("edgerec demo retail", "see it all on sample data first"),
        ]
    return "There is no log and no settings here.", [
        ("edgerec demo retail", "the whole way on sample data, in minutes"),
        ("edgerec init LOG", "start from your own log: CSV, Parquet or JSONL"),
        ("edgerec doctor", "is this machine ready?"),
    ]


def _name(settings: Path) -> str | None:
    try:
        return str(tomllib.loads(settings.read_text("utf-8-sig")).get("name", "edgerec"))
    except (OSError, ValueError):
        return None


def _runs(folder: Path, name: str | None) -> Iterator[Path]:
    """Runs that have a bundle: that of the settings first, then the one made last."""
    bundles = [path.parents[1] for path in (folder / "runs").glob("*/bundle/manifest.json")]
    own = [run for run in bundles if run.name == name]
    others = [] if name is not None else bundles
    yield from own or sorted(others, key=lambda run: (run / "bundle" / "manifest.json").stat().st_mtime, reverse=True)


def _logs(folder: Path) -> Iterator[str]:
    """Tables that may be a log, the largest first."""
    files = [path for path in folder.iterdir() if path.suffix.lower() in LOGS and path.is_file()]
    files.sort(key=lambda path: (any(word in path.stem.lower() for word in BESIDE), -path.stat().st_size))
    yield from (path.name for path in files)
