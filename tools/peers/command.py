"""What the judging tools share as commands."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from edgerec.errors import EdgerecError
from tools.peers import sets


def judging_parser(prog: str, text: str | None, seeds: str, out: Path) -> argparse.ArgumentParser:
    """The options of every judging tool; `seeds` says what they are seeds of."""
    parser = argparse.ArgumentParser(prog=prog, description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", choices=[*sets.ASKED], help="data sets; all by default")
    parser.add_argument("--data", type=Path, help="where MovieLens lies")
    parser.add_argument("--seeds", default="0,1,2", help=seeds)
    parser.add_argument("--out", type=Path, default=out, help="runs and results")
    parser.add_argument("--show", action="store_true", help="print what is finished, train nothing")
    return parser


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
