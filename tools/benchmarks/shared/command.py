"""The command line of the benchmarks: options that several have, and how they print."""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeAlias

from edgerec.cli.output import format_table, print_json
from edgerec.config import Config
from edgerec.errors import ConfigError
from edgerec.examples.load import LearningData
from edgerec.progress import Progress
from edgerec.stages.run import Run
from tools.benchmarks.shared.datasets import Values

RESULTS = Path("runs/benchmarks")
"""Where benchmarks keep their runs and results by default."""
Row: TypeAlias = Mapping[str, object]
"""Figures by name, which become columns or keys."""
Table: TypeAlias = tuple[str, Sequence[str], Sequence[Sequence[object]]]
"""Title, columns and rows."""


class Parser(argparse.ArgumentParser):
    """Of one benchmark: a mistake of the user is one line.

    Args:
        module: `__name__` of the benchmark, which gives the command its name; about: its docstring.
    """

    def __init__(self, module: str, about: str | None) -> None:
        name = module.rpartition(".")[2].replace("_", "-")
        super().__init__(
            f"tools/benchmark {name}", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
        )

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{self.prog}: {message}")


def add_run(parser: Parser) -> None:
    """The folder of a finished run."""
    parser.add_argument("run", type=Path, help="a finished run with its edgerec.toml, such as runs/retail")


def add_json(parser: Parser) -> None:
    """The choice between a table and JSON."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def add_out(parser: Parser, name: str) -> None:
    """The folder of runs and results."""
    parser.add_argument("--out", type=Path, default=RESULTS / name, help="runs and results (default: %(default)s)")


def add_datasets(parser: Parser, names: Sequence[str]) -> None:
    """Names of data sets; an empty list stands for all."""

    def known(name: str) -> str:
        if name not in names:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(names)}")
        return name

    # Not by `choices`, which would refuse the empty list.
    parser.add_argument(
        "datasets", nargs="*", type=known, metavar="DATASET", help=f"of {', '.join(names)}; all by default"
    )


def add_teacher(parser: Parser) -> None:
    """Changes of the teacher's settings."""
    example = '{"text_tuning": "lora"}'
    parser.add_argument("--teacher", type=json.loads, default={}, help=f"settings as JSON, such as {example}")


def add_comparison(parser: Parser, names: Sequence[str], seeds: str, out: str) -> None:
    """The options of a comparison on public data sets; `seeds` says what they are seeds of."""
    add_datasets(parser, names)
    parser.add_argument("--data", type=Path, help="where MovieLens lies")
    parser.add_argument("--seeds", type=whole_numbers("0,1,2"), default=(0, 1, 2), help=seeds)
    add_out(parser, out)


def add_evaluation(parser: Parser) -> None:
    """The options of a comparison with a choice of split and settings."""
    parser.add_argument("--show", action="store_true", help="print what is finished, train nothing")
    parser.add_argument("--part", choices=("test", "valid"), default="test", help="the evaluation split")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=setting,
        metavar="KEY=VALUE",
        help="a setting, as --set teacher.epochs=1",
    )


def whole_numbers(example: str, least: int = 0) -> Callable[[str], tuple[int, ...]]:
    """What reads a list such as `example`, each number once, none below `least`."""

    def numbers(given: str) -> tuple[int, ...]:
        try:
            parsed = tuple(dict.fromkeys(map(int, given.split(","))))
        except ValueError:
            parsed = ()
        if not parsed or min(parsed) < least:
            expected = f"whole numbers of at least {least}" if least else "whole numbers"
            raise argparse.ArgumentTypeError(f"expected {expected}, such as {example}, got {given!r}")
        return parsed

    return numbers


def setting(given: str) -> Values:
    """A change of the settings, as a file would hold it."""
    try:
        return tomllib.loads(given)
    except tomllib.TOMLDecodeError:
        raise argparse.ArgumentTypeError(
            f'{given}: expected KEY=VALUE as in a settings file, such as name="x"'
        ) from None


@dataclass(frozen=True)
class FinishedRun:
    """A finished run with its settings and data."""

    folder: Path
    config: Config
    data: LearningData

    @classmethod
    def load(cls, folder: Path, progress: Progress) -> FinishedRun:
        """The data for the run's own evaluation split."""
        config = Config.load(folder / "edgerec.toml")
        return cls(folder, config, Run(config, folder, progress).learning_data(config.evaluation.part))


def print_rows(rows: Sequence[Row], as_json: bool = False, as_columns: bool = False) -> None:
    """A table or JSON; `as_columns`: a table with a column for each of the rows."""
    if as_json:
        print_json(rows)
        return
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[row.get(name, "") for name in names] for row in rows]
    if as_columns:
        print(format_table(("figure", *map(str, range(1, len(rows) + 1))), list(zip(names, *cells, strict=True))))
    else:
        print(format_table(names, cells), flush=True)


def print_titled(table: Table) -> None:
    """A table under its title."""
    title, columns, rows = table
    print(f"\n{title}\n{format_table(columns, rows)}", flush=True)
