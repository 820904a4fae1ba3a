"""What the judging tools share as commands."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from edgerec.errors import EdgerecError
from tools.benchmarks.shared import datasets


def judging_parser(prog: str, text: str | None, seeds: str, out: Path) -> argparse.ArgumentParser:
    """The options of every judging tool; `seeds` says what they are seeds of."""
    parser = argparse.ArgumentParser(prog=prog, description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_sets(parser, list(datasets.ASKED))
    parser.add_argument("--data", type=Path, help="where MovieLens lies")
    parser.add_argument("--seeds", default="0,1,2", help=seeds)
    parser.add_argument("--out", type=Path, default=out, help="runs and results")
    parser.add_argument("--show", action="store_true", help="print what is finished, train nothing")
    return parser


def add_sets(parser: argparse.ArgumentParser, names: Sequence[str]) -> None:
    """The argument for names of data sets; an empty list stands for all."""

    def known(name: str) -> str:
        if name not in names:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(names)}")
        return name

    # Not by `choices`, which would refuse the empty list.
    parser.add_argument("sets", nargs="*", type=known, metavar="SET", help=f"of {', '.join(names)}; all by default")


def add_changes(parser: argparse.ArgumentParser) -> None:
    """The options of the tools that judge on test."""
    parser.add_argument("--part", choices=("test", "valid"), default="test", help="what is judged")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting, as --set teacher.epochs=1"
    )


def exit_code_of(work: Callable[[], None]) -> int:
    """Do it; 130 after Ctrl-C, 2 after a mistake of the user, which is told in one line."""
    try:
        work()
    except EdgerecError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0
