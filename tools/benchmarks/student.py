"""Each stage of the student beside its teacher and public baselines on three public data sets, by seed and by size.

The teachers are those of `tools/benchmark teacher` with the same --out; those that are missing are trained. What is
finished is stored and not done again, so that a stopped command goes on when it runs again.
"""

from __future__ import annotations

import argparse
import copy
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse.linalg import svds

from edgerec.config import Config
from edgerec.config.stages import SIZES
from edgerec.ensemble.scoring import AT_ONCE, EnsembleScorer
from edgerec.evaluation.quality import evaluate_bundle
from edgerec.examples.evaluation_requests import EvaluationRequests, evaluate_lists, find_evaluation_requests
from edgerec.examples.load import LearningData
from edgerec.experiments.ablation import LOG_ALONE
from edgerec.metrics import MAX_RANK, Estimate, top_k
from edgerec.progress import Progress, progress_for
from edgerec.stages import evaluate as chain
from edgerec.stages import pipeline
from edgerec.stages.run import Run
from edgerec.stages.versions import versions_of
from edgerec.tasks import scored_tasks
from tools.benchmarks.shared import datasets, results
from tools.benchmarks.shared.command import Parser, Table, add_comparison, add_evaluation, print_titled
from tools.benchmarks.shared.comparison import Comparison, baselines_of, fit_baselines
from tools.benchmarks.shared.results import Figure, Metrics

DURATION = "hours a data set"
STAGES = {"teacher": "teacher", "student": "student, fp32", "pruned": "pruned, fp32", "int8": "INT8, by the runtime"}
"""Names of the stages in the tables."""
ALONE, SVD = "student without distillation", "SVD of the teacher"
OPEN_GATES = {"min_ndcg_retained": 0.0, "max_auc_drop": 1.0}
"""A student that falls short is reported, not refused."""
DEPENDS = ("seed", "data", "task", "evaluation", "teacher", "ensemble", "student", "distillation", "pruning")
"""Sections of the settings that a result depends on."""
SIZE = "bytes"


def main(arguments: Sequence[str]) -> int:
    """Train what is missing, and print the tables of each data set."""
    options = _parser().parse_args(arguments)
    progress = progress_for()
    for name in options.datasets or datasets.REQUIRED:
        comparison = Comparison.of(name, options.out, options.data, options.seeds, options.part, options.set)
        if not options.show:
            _train(comparison, options, progress)
        for table in tables(comparison):
            print_titled(table)
        if plot := plot_sizes(comparison):
            print(f"\nquality by bytes: {plot}")
    return 0


def _parser() -> Parser:
    parser = Parser(__name__, __doc__)
    add_comparison(parser, list(datasets.REQUIRED), "seeds of teacher and student", "teacher")
    add_evaluation(parser)
    parser.add_argument("--sizes", action="store_true", help="also every preset size, of the first seed")
    return parser


# ------------------------------------------------------------------------------------------------ training


def config_of(comparison: Comparison, seed: int, change: Mapping[str, Mapping[str, Any]] | None = None) -> Config:
    """The settings of a student, with open gates."""
    values = copy.deepcopy(comparison.values)
    for section, keys in (("distillation", OPEN_GATES), *(change or {}).items()):
        values.setdefault(section, {}).update(keys)
    return comparison.config(values, seed)


def alone_config(comparison: Comparison, seed: int) -> Config:
    """The settings of a student that learns from the log alone."""
    return config_of(comparison, seed, {"distillation": LOG_ALONE})


def size_config(comparison: Comparison, size: str) -> Config:
    """The settings of a preset size, of the first seed."""
    return config_of(comparison, comparison.seeds[0], {"student": {"size": size}})


def result(comparison: Comparison, name: str, seed: int) -> Path:
    """Where the metrics of one model are stored."""
    return comparison.folder / "students" / f"{results.slug(name)}-{seed}.json"


def _train(comparison: Comparison, options: argparse.Namespace, progress: Progress) -> None:
    """All that is not finished."""
    fit_baselines(comparison, progress)
    for seed in comparison.seeds:
        config, alone = config_of(comparison, seed), alone_config(comparison, seed)
        if not all(results.finished(result(comparison, name, seed), config) for name in STAGES.values()):
            _stages(comparison, config, seed, progress)
        if not results.finished(result(comparison, ALONE, seed), alone):
            _alone(comparison, alone, seed, progress)
    for size in SIZES if options.sizes else ():
        config = size_config(comparison, size)
        if not results.finished(result(comparison, f"size {size}", comparison.seeds[0]), config):
            _size(comparison, config, size, comparison.seeds[0], progress)


def _teacher_run(comparison: Comparison, seed: int) -> Path:
    """The run of `tools/benchmark teacher` with that seed."""
    return comparison.run_dir(f"teacher-{seed}")


def _stages(comparison: Comparison, config: Config, seed: int, progress: Progress) -> None:
    """Every stage of one seed, and the SVD of its teacher."""
    progress.headline(f"{comparison.name}: student, seed {seed}")
    run_dir = _teacher_run(comparison, seed)
    pipeline.run(config, run_dir, progress, until="quantize")
    run = Run(config, run_dir, progress)
    data = run.learning_data()
    requests = find_evaluation_requests(data)
    with versions_of(run, data, requests) as bundles:
        by_stage, _ = chain.evaluate_stages(run, data, requests, bundles)
    size = {SIZE: chain.sizes_of(run.teacher, run.bundle)[chain.MODEL_BYTES]}
    teacher = run.scorer("teacher", data)
    assert isinstance(teacher, EnsembleScorer)
    svd = low_rank(teacher, data, requests, config.student.widths[0])
    results.store(result(comparison, SVD, seed), SVD, config, DEPENDS, svd, {})
    for stage, name in STAGES.items():
        more = size if stage == "int8" else {}
        results.store(result(comparison, name, seed), name, config, DEPENDS, by_stage[stage], more)


def _alone(comparison: Comparison, config: Config, seed: int, progress: Progress) -> None:
    """The same student, learning from the log alone."""
    progress.headline(f"{comparison.name}: {ALONE}, seed {seed}")
    run_dir = _beside(comparison, seed, "alone")
    pipeline.run(config, run_dir, progress, until="distill")
    metrics = chain.evaluate_stage(Run(config, run_dir, progress), "student")
    results.store(result(comparison, ALONE, seed), ALONE, config, DEPENDS, metrics, {})
    shutil.rmtree(run_dir)


def _size(comparison: Comparison, config: Config, size: str, seed: int, progress: Progress) -> None:
    """A student of one preset, through the runtime."""
    progress.headline(f"{comparison.name}: size {size}")
    run_dir = _beside(comparison, seed, f"size-{size}")
    pipeline.run(config, run_dir, progress, until="quantize")
    run = Run(config, run_dir, progress)
    data = run.learning_data()
    metrics = evaluate_bundle(run.bundle, data, config.evaluation.k, progress)
    more = {SIZE: chain.sizes_of(run.teacher, run.bundle)[chain.MODEL_BYTES]}
    results.store(result(comparison, f"size {size}", seed), f"size {size}", config, DEPENDS, metrics, more)
    shutil.rmtree(run_dir)


def _beside(comparison: Comparison, seed: int, name: str) -> Path:
    """A run with the dataset, teacher and labels of the seed's run, and its own student."""
    source, run_dir = _teacher_run(comparison, seed).resolve(), comparison.run_dir(f"student-{name}-{seed}")
    shutil.rmtree(run_dir, ignore_errors=True)
    (run_dir / "stages").mkdir(parents=True)
    for folder in ("dataset", "teacher", "text", "soft"):
        if (source / folder).exists():
            (run_dir / folder).symlink_to(source / folder)
    for stage in ("prepare", "train"):
        shutil.copy(source / "stages" / f"{stage}.json", run_dir / "stages")
    return run_dir


def low_rank(teacher: EnsembleScorer, data: LearningData, requests: EvaluationRequests, rank: int) -> Metrics:
    """Rankings by the best approximation of the teacher's scores whose rank is the student's width.

    Generous: it knows the teacher's answers to the very requests of the evaluation. Source: Eckart and Young, 1936.
    """
    sessions = data.evaluation.sessions
    metrics: Metrics = {}
    for i, task in enumerate(scored_tasks(data.tasks)):
        if task.kind != "retrieval" or sessions is None or not len(requests.rows):
            continue
        parts = [requests.rows[s : s + AT_ONCE] for s in range(0, len(requests.rows), AT_ONCE)]
        scores = np.concatenate([teacher.log_probs(sessions.requests, part)[:, i] for part in parts])
        scores -= scores.mean(axis=1, keepdims=True)
        u, s, v = svds(scores, k=min(rank, min(scores.shape) - 1), rng=np.random.default_rng(0))
        near = (u * s) @ v
        if task.repeats == "exclude":
            for row, past in zip(near, requests.pasts, strict=True):
                row[past] = -np.inf
        metrics[task.name] = evaluate_lists(top_k(near, MAX_RANK), task, data, requests, (10, 20))
    return metrics


# ------------------------------------------------------------------------------------------------ tables


def tables(comparison: Comparison) -> Iterator[Table]:
    """What is finished: every stage and baseline, the required figures, and the sizes."""
    models = {
        name: seeds for name in (*STAGES.values(), ALONE, SVD) if (seeds := list(_finished(comparison, name).values()))
    }
    baselines = baselines_of(comparison)
    n = max(map(len, models.values()), default=0)
    yield comparison.table(models, baselines, spread_of=STAGES["int8"], note=f"{n} seeds")
    if STAGES["int8"] in models:
        yield _required(comparison, models, baselines)
    sizes = list(_sizes(comparison))
    if sizes:
        rows = [[name, f"{n:,}", *comparison.row(name, metrics)[1:]] for name, n, metrics in sizes]
        yield f"{comparison.name}: INT8 by size", ("size", "bytes", *comparison.columns[1:]), rows


def _finished(comparison: Comparison, name: str) -> dict[int, Metrics]:
    """Metrics of one model by seed."""
    config = alone_config if name == ALONE else config_of
    paths = {seed: result(comparison, name, seed) for seed in comparison.seeds}
    return {
        seed: results.metrics_of(path)
        for seed, path in paths.items()
        if results.finished(path, config(comparison, seed))
    }


def _sizes(comparison: Comparison) -> Iterator[tuple[str, int, Metrics]]:
    """Preset, bytes and metrics of the finished ones."""
    for size in SIZES:
        path = result(comparison, f"size {size}", comparison.seeds[0])
        if results.finished(path, size_config(comparison, size)):
            yield size, int(results.read(path)[SIZE]), results.metrics_of(path)


def _required(comparison: Comparison, models: Mapping[str, list[Metrics]], baselines: Mapping[str, Metrics]) -> Table:
    rows = []
    for figure in comparison.figures:
        int8 = results.mean_of_seeds(models[STAGES["int8"]], figure)
        if int8 is None:
            continue
        others = (results.mean_of_seeds(models.get(name, []), figure) for name in (STAGES["teacher"], ALONE))
        least = datasets.REQUIRED_OF_STUDENT[comparison.name].get(figure)
        met = "" if least is None else "met" if int8.value >= least else "below"
        required = "" if least is None else f"{least:.3f}"
        compared = [_compared(int8, other, figure) for other in others]
        gap = results.gap(models[STAGES["int8"]], baselines, figure)
        rows.append([results.title_of(figure), required, results.cell(int8), met, *compared, *gap])
    paths = [result(comparison, STAGES["int8"], seed) for seed in _finished(comparison, STAGES["int8"])]
    size = max(int(results.read(path)[SIZE]) for path in paths)
    title = f"{comparison.name}: INT8 through the runtime; graphs and weights of {size:,} bytes"
    columns = ("figure", "required", "INT8", "", "vs teacher", "vs log alone", "best baseline", "gap")
    return title, columns, rows


def _compared(ours: Estimate, theirs: Estimate | None, figure: Figure) -> str:
    """A share of another model's figure, or the difference of figures that are no shares."""
    if theirs is None:
        return ""
    if figure[1] in ("auc", "gauc", "xauc", "mae"):
        return results.cell(ours.minus(theirs), signed=True)
    share = ours.over(theirs)
    return f"{share.value:.1%} ±{share.se:.1%}" if math.isfinite(share.value) else ""


def plot_sizes(comparison: Comparison) -> Path | None:
    """A plot of quality by bytes of the preset sizes, if any is finished."""
    sizes = list(_sizes(comparison))
    if not sizes:
        return None
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figures = [figure for figure in comparison.figures if figure in datasets.REQUIRED_OF_STUDENT[comparison.name]]
    plot, axes = pyplot.subplots(1, len(figures), figsize=(4 * len(figures), 3), squeeze=False)
    teachers = list(_finished(comparison, STAGES["teacher"]).values())
    for axis, figure in zip(axes[0], figures, strict=True):
        points = [(n / 1000, results.at(metrics, figure)) for _, n, metrics in sizes]
        values = [(x, e) for x, e in points if e is not None]
        axis.errorbar([x for x, _ in values], [e.value for _, e in values], [e.se for _, e in values], marker="o")
        teacher = results.mean_of_seeds(teachers, figure)
        if teacher is not None:
            axis.axhline(teacher.value, color="grey", linestyle="--")
        axis.set_xscale("log")
        axis.set_title(results.title_of(figure))
        axis.set_xlabel("graphs and weights, kB")
    plot.tight_layout()
    path = comparison.folder / "sizes.svg"
    plot.savefig(path)
    pyplot.close(plot)
    return path
