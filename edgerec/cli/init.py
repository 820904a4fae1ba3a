"""`edgerec init`: first settings for a log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgerec.cli.options import EffortOption, JsonOption, checked_effort

__all__ = ["init"]


def init(
    log: Annotated[Path, typer.Argument(help="Log as CSV, Parquet or JSONL, with one row for each event.")],
    items: Annotated[Path | None, typer.Option(help="Table of items, with one row for each item.")] = None,
    users: Annotated[Path | None, typer.Option(help="Table of users, with one row for each user.")] = None,
    effort: EffortOption = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Settings file to write.")] = Path("edgerec.toml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing settings file.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Guess a settings file from the columns of a log.

    Each guess is printed with the reason for it.
    """
    from edgerec.cli.output import print_json, print_table
    from edgerec.errors import ConfigError, need

    need("polars", "train", "reading a log")
    from edgerec.data.guess import guess_settings

    if output.exists() and not force:
        raise ConfigError(f"{output}: exists already; name another file with -o, or overwrite it with --force")
    chosen = checked_effort(effort)
    settings = guess_settings(log, items, users, output.parent)
    try:
        output.write_text(with_effort(settings.toml, chosen), "utf-8")
    except OSError as error:
        raise ConfigError(f"{output}: cannot be written: {error.strerror}") from None
    if as_json:
        print_json({"config": str(output), "guesses": [vars(guess) for guess in settings.guesses]})
        return
    print_table(["role", "column", "why"], [[guess.role, guess.column, guess.why] for guess in settings.guesses])
    typer.echo(f"\n{output} written. Read the guesses in it, then: edgerec prepare -c {output}")


def with_effort(toml: str, effort: str | None) -> str:
    """A settings file with the effort in front of its first section."""
    line = f'effort = "{effort}"                         # see: edgerec run --help\n' if effort else ""
    return toml.replace("\n[data]\n", f"{line}\n[data]\n", 1)
