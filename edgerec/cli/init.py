"""`edgerec init`: first settings for a log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.options import JsonOption

__all__ = ["init"]


def init(
    log: Annotated[Path, typer.Argument(help="CSV, Parquet or JSONL, one row an event.")],
    items: Annotated[Path | None, typer.Option(help="A table with one row an item.")] = None,
    users: Annotated[Path | None, typer.Option(help="A table with one row a user.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The settings file to write.")] = Path("edgerec.toml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite the settings file.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Guess the settings for a log from its columns; each guess says why."""
    from edgerec.cli.output import print_json, print_table
    from edgerec.errors import ConfigError, need

    need("polars", "train", "reading a log")
    from edgerec.data.guess import guess_settings

    if output.exists() and not force:
        raise ConfigError(f"{output}: exists already; name another file with -o, or overwrite it with --force")
    settings = guess_settings(log, items, users, output.parent)
    try:
        output.write_text(settings.toml, "utf-8")
    except OSError as error:
        raise ConfigError(f"{output}: cannot be written: {error.strerror}") from None
    if as_json:
        print_json({"config": str(output), "guesses": [vars(guess) for guess in settings.guesses]})
        return
    print_table(["role", "column", "why"], [[guess.role, guess.column, guess.why] for guess in settings.guesses])
    typer.echo(f"\n{output} written. Read the guesses in it, then: edgerec prepare -c {output}")
