"""The student with and without each term of its loss on public data sets: `edgerec ablate` with the whole committee.

MovieLens is not shipped: --data names ml-latest-small.zip, its folder, or a folder that holds either.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from edgerec.cli.output import format_table
from edgerec.progress import Progress, progress_for
from edgerec.tuning.ablation import ablate
from tools.benchmarks.teacher import work_of
from tools.benchmarks.shared import datasets
from tools.benchmarks.shared.command import add_sets, exit_code_of


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks; 130 after Ctrl-C, 2 after a mistake of the user."""
    asked = _parser().parse_args(arguments)
    return exit_code_of(lambda: _ablate(asked, progress_for()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tools/ablate_student", description=__doc__)
    add_sets(parser, list(datasets.ASKED))
    parser.add_argument("--data", type=Path, help="where MovieLens lies")
    parser.add_argument("--seeds", default="0,1,2", help="of the student; the teacher has the first one")
    parser.add_argument("--out", type=Path, default=Path("runs/ablate_student"), help="runs and results")
    parser.add_argument("--only", nargs="*", default=(), metavar="CHANGE", help="these alone")
    return parser


def _ablate(asked: argparse.Namespace, progress: Progress) -> None:
    for name in asked.sets or list(datasets.ASKED):
        work = work_of(name, asked.out, asked.data, asked.seeds, "valid")
        config = work.config(work.values, work.seeds[0])
        columns, rows = ablate(config, work.folder / "run", progress, only=asked.only, seeds=work.seeds).table()
        print(f"\n{name}, valid part: the student with its INT8 table, and what each change adds on the same cases")
        print(format_table(columns, rows), flush=True)


if __name__ == "__main__":
    sys.exit(main())
