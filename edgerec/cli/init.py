"""`edgerec init`: first settings for a log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgerec.cli.options import EffortOption, JsonOption, checked_effort

if TYPE_CHECKING:
    from edgerec.data.guess import GuessedSettings
    from edgerec.data.portrait import Portrait

__all__ = ["init"]


def init(
    log: Annotated[Path, typer.Argument(help="Log as CSV, Parquet or JSONL, with one row for each event.")],
    items: Annotated[Path | None, typer.Option(help="Table of items, with one row for each item.")] = None,
    users: Annotated[Path | None, typer.Option(help="Table of users, with one row for each user.")] = None,
    effort: EffortOption = None,
    role: Annotated[
        list[str] | None,
        typer.Option(help="Name a column where no guess is right: user=COLUMN, item=..., time=..., session=..."),
    ] = None,
    time_format: Annotated[
        str | None,
        typer.Option(help='How the time is read, as in [data]: "%d/%m/%Y", or "order" for a column that counts.'),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Settings file to write.")] = Path("edgerec.toml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing settings file.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Guess a settings file from the columns of a log.

    Each column is listed with what became of it and why. If nothing tells which column is the user, the item or the
    time, or whether day or month comes first, the file has a line to fill in, and the exit code is 2.
    """
    from edgerec.cli.output import print_json
    from edgerec.errors import ConfigError, need

    need("polars", "train", "reading a log")
    from edgerec.config.data import is_time_format
    from edgerec.data.guess import guess_settings

    if output.exists() and not force:
        raise ConfigError(f"{output}: exists already; name another file with -o, or overwrite it with --force")
    if time_format is not None and not is_time_format(time_format):
        raise ConfigError(f'--time-format {time_format}: expected one such as "%d/%m/%Y", "order" or "seconds"')
    chosen = checked_effort(effort)
    settings = guess_settings(log, items, users, output.parent, _roles(role or []), time_format)
    try:
        output.write_text(with_effort(settings.toml, chosen), "utf-8")
    except OSError as error:
        raise ConfigError(f"{output}: cannot be written: {error.strerror}") from None
    if as_json:
        print_json({"config": str(output), **settings.to_json()})
    else:
        _print(settings, output)
    if settings.open_:
        name, what = next(iter(settings.open_.items()))
        option = "--time-format FORMAT" if name == "time_format" else f"--role {name}=COLUMN"
        raise ConfigError(
            f"{output}: written, but without {name}: {what}; fill it in, or run init again with --force {option}"
        )
    if not as_json:
        typer.echo(f"\n{output} written. Read the guesses in it, then: edgerec prepare -c {output}")


def with_effort(toml: str, effort: str | None) -> str:
    """A settings file with the effort in front of its first section."""
    line = f'effort = "{effort}"                         # see: edgerec run --help\n' if effort else ""
    return toml.replace("\n[data]\n", f"{line}\n[data]\n", 1)


def _roles(given: Sequence[str]) -> dict[str, str]:
    from edgerec.errors import ConfigError

    roles = {}
    for text in given:
        role, sign, column = text.partition("=")
        if not sign or not column:
            raise ConfigError(f"--role {text}: expected ROLE=COLUMN, such as user=customer_no")
        roles[role] = column
    return roles


def _print(settings: GuessedSettings, output: Path) -> None:
    """All columns, the tasks and the log in numbers."""
    from edgerec.cli.output import print_table

    for path, fates in settings.columns.items():
        print_table(["column", "becomes", "why"], [[f.column, f.becomes, f.why] for f in fates], f"Columns of {path}")
    tasks = [[g.role.removeprefix("task "), g.column, g.why] for g in settings.guesses if g.role.startswith("task ")]
    print_table(["task", "label", "why"], tasks, "Tasks")
    if settings.portrait is not None:
        training = None if settings.open_ else _training(settings.portrait, output)
        print_table(["", "the log"], settings.portrait.lines(training))
    for note in settings.notes:
        typer.echo(note)


def _training(portrait: Portrait, output: Path) -> str | None:
    """How long `edgerec run` will take on this machine; None where the settings cannot be read as they are."""
    from edgerec.config import Config
    from edgerec.config.effort import LogSize
    from edgerec.errors import EdgerecError
    from edgerec.stages.effort import announced

    try:
        config = Config.load(output)
    except EdgerecError:
        return None
    size = LogSize(
        rows=portrait.rows,
        users=portrait.users,
        items=portrait.items,
        sessions=portrait.sessions or portrait.rows,
        past=portrait.events[1] / 2,  # as if all users were like those with many events
        judged=portrait.requests[1],
        texts=portrait.items if config.data.items.text else 0,
    )
    return f"{announced(config, size)} on this machine, effort {config.effort}"
