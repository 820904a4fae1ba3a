"""The student with and without each term of its loss on public data sets: `edgerec ablate` with the whole ensemble.

MovieLens is not shipped: --data names ml-latest-small.zip, its folder, or a folder that holds either.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgerec.experiments.ablation import ablate
from edgerec.progress import progress_for
from edgerec.stages.run import Run
from tools.benchmarks.shared import datasets
from tools.benchmarks.shared.command import Parser, add_comparison, print_titled
from tools.benchmarks.shared.comparison import Comparison

DURATION = "hours a data set"


def main(arguments: Sequence[str]) -> int:
    """Train what is missing, and print a table for each data set."""
    parser = Parser(__name__, __doc__)
    seeds = "seeds of the student; the teacher has the first one"
    add_comparison(parser, list(datasets.REQUIRED), seeds, "student-ablations")
    parser.add_argument("--only", nargs="*", default=(), metavar="CHANGE", help="these changes alone")
    options = parser.parse_args(arguments)
    progress = progress_for()
    for name in options.datasets or datasets.REQUIRED:
        comparison = Comparison.of(name, options.out, options.data, options.seeds, "valid")
        config = comparison.config(comparison.values, comparison.seeds[0])
        run_dir = comparison.folder / "run"
        columns, rows = ablate(Run(config, run_dir, progress), only=options.only, seeds=comparison.seeds).table()
        title = f"{name}, valid split: the student with its INT8 table, and what each change adds on the same requests"
        print_titled((title, columns, rows))
    return 0
