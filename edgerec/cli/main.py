"""`edgerec`: the commands, and what a user sees when one fails."""

from __future__ import annotations

import errno
import sys
import warnings
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from edgerec import __version__
from edgerec.cli.next_steps import print_next_steps
from edgerec.errors import EdgerecError, QualityError, RenamedWarning, deprecated
from edgerec.threads import share_cores

__all__ = ["app"]

GROUPS = {
    "Build": (
        "init", "prepare", "train", "distill", "prune", "quantize", "run", "search", "tune", "encoder", "doctor",
        "demo",
    ),
    "Judge": ("evaluate", "bench", "ablate", "transfer", "diff", "devices"),
    "Ship": ("embed", "serve", "keygen", "sign", "verify"),
    "Use": ("recommend", "similar", "score", "explain", "inspect"),
    "Keep": ("refresh", "delta", "events"),
}  # fmt: skip
"""In the order of `edgerec --help`. Each one is the function NAME of edgerec/cli/NAME.py."""
COMMANDS = tuple(name for names in GROUPS.values() for name in names)


OLD_NAMES = {"fit": "search"}
"""Names of an earlier version that still work, and the commands they stand for."""


class _OneLineErrors(TyperGroup):
    """Turns our own errors into one line and an exit code: 1 for a failed gate, 2 for wrong input, 130 for Ctrl-C."""

    def invoke(self, ctx: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            # Windows gives a redirected output an encoding of 256 characters; a title may have others.
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")
        try:
            return super().invoke(ctx)
        except EdgerecError as error:
            typer.echo(" ".join(str(error).split("\n")), err=True)
            raise typer.Exit(1 if isinstance(error, QualityError) else 2) from error
        except OSError as error:
            # A full disk, a file where a folder should be, a folder that may not be written to. A closed pipe
            # (`edgerec ... | head`) is no error.
            if error.errno == errno.EPIPE or error.strerror is None:
                raise
            typer.echo(f"{error.filename or 'file system'}: {error.strerror}; name another place or free it", err=True)
            raise typer.Exit(2) from error
        except KeyboardInterrupt as stop:
            typer.echo("\nstopped: the same command goes on from the last checkpoint", err=True)
            raise typer.Exit(130) from stop

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The list of commands in `--help`, by what one wants to do; columns of all groups are aligned."""
        width = max(map(len, COMMANDS))
        for title, names in GROUPS.items():
            known = [(name, self.get_command(ctx, name)) for name in names]
            with formatter.section(title):
                formatter.write_dl(
                    [
                        (name.ljust(width), of.get_short_help_str(formatter.width))
                        for name, of in known
                        if of is not None
                    ]
                )


app = typer.Typer(
    cls=_OneLineErrors,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edgerec {__version__}")
        raise typer.Exit


@app.callback()
def edgerec(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Cores to use. Default: all of this process.")] = None,
) -> None:
    """Turn an interaction log into a recommender that runs inside an app.

    Without a command: the three next steps for this folder.
    """
    if ctx.invoked_subcommand is None:
        print_next_steps(Path.cwd())
        return
    share_cores(threads)
    _show_old_names_in_one_line()


def _show_old_names_in_one_line() -> None:
    default = warnings.formatwarning

    def line(message: Warning | str, category: type[Warning], *place: Any, **named: Any) -> str:
        return f"{message}\n" if category is RenamedWarning else default(message, category, *place, **named)

    warnings.formatwarning = line


def _command(name: str) -> Callable[..., None]:
    command: Callable[..., None] = getattr(import_module(f"edgerec.cli.{name}"), name)
    return command


def _renamed(old: str, new: str) -> Callable[..., None]:
    """The command `new` under its old name, with a warning."""
    command = _command(new)

    @wraps(command)
    def with_warning(*arguments: Any, **options: Any) -> None:
        deprecated(f"edgerec {old}", f"edgerec {new}", "command line")
        command(*arguments, **options)

    return with_warning


for _name in COMMANDS:
    if find_spec(f"edgerec.cli.{_name}"):
        app.command(_name)(_command(_name))
for _old, _new in OLD_NAMES.items():
    if find_spec(f"edgerec.cli.{_new}"):
        app.command(_old, hidden=True)(_renamed(_old, _new))
