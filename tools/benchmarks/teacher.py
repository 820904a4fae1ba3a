"""The teacher of several seeds beside tuned public baselines on three public data sets; with --ablations its parts too.

What is finished is stored under --out and not done again, so that a stopped command goes on when it runs again.
MovieLens is not shipped: --data names ml-latest-small.zip, its folder, or a folder that holds either.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from edgerec.config import Config
from edgerec.data.dataset import Dataset
from edgerec.experiments.ablation import judged_network
from edgerec.progress import Progress, progress_for
from edgerec.stages import evaluate as chain
from edgerec.stages import pipeline
from edgerec.stages.run import Run
from tools.benchmarks.shared import datasets, results
from tools.benchmarks.shared.command import Parser, Table, add_comparison, add_evaluation, print_titled
from tools.benchmarks.shared.comparison import ROWS, Comparison, baselines_of, fit_baselines
from tools.benchmarks.shared.datasets import Values
from tools.benchmarks.shared.results import Metrics

DURATION = "hours a data set"
FULL = "teacher"
"""The variant that is not an ablation."""
LEARNED = (*ROWS, "teacher", "ensemble")
"""Sections of the settings that a teacher depends on."""


def main(arguments: Sequence[str]) -> int:
    """Train what is missing, and print the tables of each data set."""
    options = _parser().parse_args(arguments)
    progress = progress_for()
    for name in options.datasets or datasets.REQUIRED:
        comparison = Comparison.of(
            name, options.out, options.data, options.seeds, options.part, options.set, options.quick
        )
        if not options.show:
            _train(comparison, options, progress)
        for table in tables(comparison):
            print_titled(table)
    return 0


def _parser() -> Parser:
    parser = Parser(__name__, __doc__)
    add_comparison(parser, list(datasets.REQUIRED), "seeds of the teacher; the ablations take the first", "teacher")
    add_evaluation(parser)
    parser.add_argument("--ablations", action="store_true", help="also the teacher without its parts, on valid")
    parser.add_argument("--baselines", action="store_true", help="fit the baselines only")
    parser.add_argument("--quick", action="store_true", help="baselines untuned, to try the command")
    return parser


def result(comparison: Comparison, seed: int) -> Path:
    """Where the metrics of one teacher are stored."""
    return comparison.folder / "results" / f"{FULL}-{seed}.json"


def ablation_result(comparison: Comparison, variant: str) -> Path:
    """Where the metrics of one ablation are stored."""
    return comparison.folder / "ablations" / f"{results.slug(variant)}.json"


# ------------------------------------------------------------------------------------------------ training


def _train(comparison: Comparison, options: argparse.Namespace, progress: Progress) -> None:
    """All that is not finished: the baselines first, then the teachers, then the ablations."""
    fit_baselines(comparison, progress)
    for seed in () if options.baselines else comparison.seeds:
        _teacher(comparison, seed, progress)
    for variant, values in variants(comparison) if options.ablations else ():
        _ablation(comparison, variant, values, progress)


def variants(comparison: Comparison) -> Iterator[tuple[str, Values]]:
    """The teacher and its ablations, as they are evaluated on valid."""
    values = copy.deepcopy(comparison.values)
    values["evaluation"]["part"] = "valid"
    yield FULL, values
    yield from datasets.variants(values)


def _ablation(comparison: Comparison, variant: str, values: Values, progress: Progress) -> None:
    """Train one network and evaluate its ensemble on valid, unless that is done with these settings.

    One network that saw two thirds of the users stands for the mean of all folds', here and in what it is compared
    with: a quarter of the time. Members that a variant does not change are fitted once.
    """
    path, config = ablation_result(comparison, variant), comparison.config(values, comparison.seeds[0])
    if results.finished(path, config):
        return
    run_dir = comparison.run_dir(f"ablation-{path.stem}")
    progress.headline(f"{comparison.name}: {variant}, one network on valid")
    pipeline.run(config, run_dir, progress, until="prepare")
    run = Run(config, run_dir, progress)
    data = run.learning_data("valid")
    basis = json.dumps(config.model_dump(mode="json", include={*ROWS, "ensemble"}), sort_keys=True)
    shared = comparison.run_dir(f"ablation-members-{hashlib.sha256(basis.encode()).hexdigest()[:12]}")
    metrics = judged_network(run, data, run_dir / "work", shared, variant)
    results.store(path, variant, config, LEARNED, metrics, {})
    shutil.rmtree(run_dir)


def _teacher(comparison: Comparison, seed: int, progress: Progress) -> None:
    """Train and evaluate one teacher, unless that is done with these settings."""
    path, config = result(comparison, seed), comparison.config(comparison.values, seed)
    if results.finished(path, config):
        return
    run_dir = comparison.run_dir(path.stem)
    progress.headline(f"{comparison.name}: teacher, seed {seed}")
    start = time.monotonic()
    pipeline.run(config, run_dir, progress, until="train")
    seconds = round(time.monotonic() - start)
    datasets.check_rows(comparison.name, Dataset.open(run_dir / "dataset").meta.rows)
    metrics = chain.evaluate_stage(Run(config, run_dir, progress), "teacher")
    training = json.loads((run_dir / "teacher" / "metrics.json").read_text("utf-8"))
    results.store(path, FULL, config, LEARNED, metrics, {"seconds": seconds, "training": training})


# ------------------------------------------------------------------------------------------------ tables


def tables(comparison: Comparison) -> Iterator[Table]:
    """What is finished of a data set: teacher and baselines, the required figures, and the ablations."""

    def config(seed: int) -> Config:
        return comparison.config(comparison.values, seed)

    seeds = [seed for seed in comparison.seeds if results.finished(result(comparison, seed), config(seed))]
    teachers = [results.metrics_of(result(comparison, seed)) for seed in seeds]
    baselines = baselines_of(comparison)
    yield _all_models(comparison, seeds, teachers, baselines)
    if teachers:
        yield _required(comparison, teachers, baselines)
    ablations = list(_finished_ablations(comparison))
    if len(ablations) > 1:
        yield _ablations(comparison, ablations)


def _all_models(
    comparison: Comparison, seeds: Sequence[int], teachers: Sequence[Metrics], baselines: Mapping[str, Metrics]
) -> Table:
    finished = f"seeds {', '.join(map(str, seeds))}" if seeds else "no teacher finished"
    models = {FULL: teachers} if teachers else {}
    title, columns, rows = comparison.table(models, baselines, spread_of=FULL, note=finished)
    if teachers and baselines:
        gaps = (results.gap(teachers, baselines, figure)[1] for figure in comparison.figures)
        rows.append(["teacher - best baseline", *gaps])
    return title, columns, rows


def _required(comparison: Comparison, teachers: Sequence[Metrics], baselines: Mapping[str, Metrics]) -> Table:
    rows = []
    for figure, least in datasets.REQUIRED[comparison.name].items():
        if figure not in comparison.figures:
            continue
        measured = results.mean_of_seeds(teachers, figure)
        met = "" if measured is None else "met" if measured.value >= least else "below"
        rows.append(
            [
                results.title_of(figure),
                f"{least:.3f}",
                results.cell(measured),
                met,
                *results.gap(teachers, baselines, figure),
            ]
        )
    columns = ("figure", "required", "measured", "", "best baseline", "teacher - best baseline")
    return f"{comparison.name}: required figures", columns, rows


def _finished_ablations(comparison: Comparison) -> Iterator[tuple[str, Metrics]]:
    """The full teacher first; nothing while it is not finished. The tasks alone become one row."""
    alone: Metrics = {}
    for name, values in variants(comparison):
        path = ablation_result(comparison, name)
        if not results.finished(path, comparison.config(values, comparison.seeds[0])):
            if name == FULL:
                return
        elif name.endswith(datasets.ALONE):
            alone |= results.metrics_of(path)
        else:
            yield name, results.metrics_of(path)
    if alone:
        yield "each task alone", alone


def _ablations(comparison: Comparison, ablations: Sequence[tuple[str, Metrics]]) -> Table:
    (_, full), *others = ablations
    rows = [comparison.row(FULL, full)]
    for name, metrics in others:
        gaps = [results.difference([metrics], full, figure) for figure in comparison.figures]
        rows.append([name, *(results.cell(gap, signed=True) for gap in gaps)])
    title = (
        f"{comparison.name}: ablations, one network on the valid split, seed {comparison.seeds[0]}; "
        "differences on the same requests"
    )
    return title, comparison.columns, rows
