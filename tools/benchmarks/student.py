"""Distil, prune and round students of several seeds, and judge each stage beside its teacher and public baselines.

The teachers are those of tools/judge_teacher with the same --out; what of them is missing is trained. What is finished
is kept and not done again, so that a stopped command goes on when it is given again.
"""

from __future__ import annotations

import argparse
import copy
import math
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse.linalg import svds

from edgerec import pipeline
from edgerec.cli.output import format_table
from edgerec.config import Config
from edgerec.config.stages import SIZES
from edgerec.evaluation import chain
from edgerec.evaluation.baselines import top_k
from edgerec.evaluation.cases import Cases, find_cases, judge_lists
from edgerec.evaluation.metrics import MAX_RANK, Estimate
from edgerec.progress import Progress, progress_for
from edgerec.tasks import scored_tasks
from edgerec.training.load import LearningData, load_learning_data
from edgerec.training.scoring import AT_ONCE, CommitteeScorer, load_scorer
from edgerec.tuning.ablation import LOG_ALONE
from tools.benchmarks.teacher import Table, Work, baselines_of, fit_baselines, work_of
from tools.benchmarks.shared import datasets
from tools.benchmarks.shared.command import add_changes, exit_code_of, judging_parser
from tools.benchmarks.shared.results import (
    Figure,
    Found,
    at,
    best_baseline,
    cell,
    finished,
    keep,
    mean_of_seeds,
    metrics_of,
    number,
    read,
    slug,
    spread,
    title_of,
)

STAGES = {"teacher": "teacher", "student": "student, fp32", "pruned": "pruned, fp32", "int8": "INT8, by the runtime"}
"""Names of the stages in the tables."""
ALONE, SVD = "student without distillation", "SVD of the teacher"
OPEN = {"least_kept": 0.0, "most_lost": 1.0}
"""Gates that let everything pass: what falls short is told, not refused."""
DEPENDS = ("seed", "data", "task", "evaluation", "teacher", "committee", "student", "distillation", "pruning")
"""Sections of the settings that a result depends on."""
SIZE = "bytes"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks; 130 after Ctrl-C, 2 after a mistake of the user."""
    asked = _parser().parse_args(arguments)
    return exit_code_of(lambda: _judge(asked, progress_for()))


def _judge(asked: argparse.Namespace, progress: Progress) -> None:
    for name in asked.sets or list(datasets.ASKED):
        work = work_of(name, asked.out, asked.data, asked.seeds, asked.part, asked.set)
        if not asked.show:
            _do(work, asked, progress)
        for title, columns, rows in tables(work):
            print(f"\n{title}\n{format_table(columns, rows)}", flush=True)
        if picture := draw_sizes(work):
            print(f"\nquality against bytes: {picture}")


def _parser() -> argparse.ArgumentParser:
    seeds = "seeds of teacher and student"
    parser = judging_parser("tools/judge_student", __doc__, seeds, Path("runs/judge_teacher"))
    add_changes(parser)
    parser.add_argument("--sizes", action="store_true", help="also every preset size, of the first seed")
    return parser


# ------------------------------------------------------------------------------------------------ doing


def config_of(work: Work, seed: int, change: Mapping[str, Mapping[str, Any]] | None = None) -> Config:
    """The settings of a student, with open gates."""
    values = copy.deepcopy(work.values)
    for section, keys in (("distillation", OPEN), *(change or {}).items()):
        values.setdefault(section, {}).update(keys)
    return work.config(values, seed)


def result(work: Work, name: str, seed: int) -> Path:
    """Where the metrics of one model are kept."""
    return work.folder / "students" / f"{slug(name)}-{seed}.json"


def _do(work: Work, asked: argparse.Namespace, progress: Progress) -> None:
    fit_baselines(work, progress)
    for seed in work.seeds:
        config = config_of(work, seed)
        if not all(finished(result(work, name, seed), config) for name in STAGES.values()):
            _chain(work, config, seed, progress)
        alone = config_of(work, seed, {"distillation": LOG_ALONE})
        if not finished(result(work, ALONE, seed), alone):
            _alone(work, alone, seed, progress)
    for size in SIZES if asked.sizes else ():
        seed = work.seeds[0]
        config = config_of(work, seed, {"student": {"size": size}})
        if not finished(result(work, f"size {size}", seed), config):
            _size(work, config, size, seed, progress)


def _run_dir(work: Work, seed: int) -> Path:
    """The run of tools/judge_teacher with that seed."""
    return work.folder / "runs" / f"teacher-{seed}"


def _chain(work: Work, config: Config, seed: int, progress: Progress) -> None:
    """Every stage of one seed, and the SVD of its teacher."""
    progress.stage(f"{work.name}: student, seed {seed}")
    run_dir = _run_dir(work, seed)
    pipeline.run(config, run_dir, progress, until="quantize")
    data = load_learning_data(config, run_dir, config.evaluation.part, progress)
    cases = find_cases(data)
    found, _ = chain.judge_stages(config, run_dir, data, cases, progress)
    size = {SIZE: chain.sizes_of(run_dir)[chain.MODEL_BYTES]}
    teacher = load_scorer("teacher", config, run_dir, data)
    assert isinstance(teacher, CommitteeScorer)
    keep(result(work, SVD, seed), SVD, config, DEPENDS, low_rank(teacher, data, cases, config.student.widths[0]), {})
    for stage, name in STAGES.items():
        keep(result(work, name, seed), name, config, DEPENDS, found[stage], size if stage == "int8" else {})


def _alone(work: Work, config: Config, seed: int, progress: Progress) -> None:
    """The same student, taught by the log alone."""
    progress.stage(f"{work.name}: {ALONE}, seed {seed}")
    run_dir = _beside(work, seed, "alone")
    pipeline.run(config, run_dir, progress, until="distill")
    keep(result(work, ALONE, seed), ALONE, config, DEPENDS, chain.judge_stage(config, run_dir, "student", progress), {})
    shutil.rmtree(run_dir)


def _size(work: Work, config: Config, size: str, seed: int, progress: Progress) -> None:
    """A student of one preset, through the runtime."""
    progress.stage(f"{work.name}: size {size}")
    run_dir = _beside(work, seed, f"size-{size}")
    pipeline.run(config, run_dir, progress, until="quantize")
    data = load_learning_data(config, run_dir, config.evaluation.part, progress)
    found = chain.judge_bundle(config, run_dir, data, progress)
    more = {SIZE: chain.sizes_of(run_dir)[chain.MODEL_BYTES]}
    keep(result(work, f"size {size}", seed), f"size {size}", config, DEPENDS, found, more)
    shutil.rmtree(run_dir)


def _beside(work: Work, seed: int, name: str) -> Path:
    """A run with the dataset, teacher and labels of the seed's run, and its own student."""
    source, run_dir = _run_dir(work, seed).resolve(), work.folder / "runs" / f"student-{name}-{seed}"
    shutil.rmtree(run_dir, ignore_errors=True)
    (run_dir / "stages").mkdir(parents=True)
    for folder in ("dataset", "teacher", "text", "soft"):
        if (source / folder).exists():
            (run_dir / folder).symlink_to(source / folder)
    for stage in ("prepare", "train"):
        shutil.copy(source / "stages" / f"{stage}.json", run_dir / "stages")
    return run_dir


def low_rank(teacher: CommitteeScorer, data: LearningData, cases: Cases, rank: int) -> Found:
    """Rankings by the best approximation of the teacher's scores of the held requests whose rank is the student's.

    Generous: it knows the teacher's answers to the very requests that are judged. Source: Eckart and Young, 1936.
    """
    visits = data.held.visits
    found: Found = {}
    for i, task in enumerate(scored_tasks(data.tasks)):
        if task.kind != "retrieval" or visits is None or not len(cases.rows):
            continue
        parts = [cases.rows[s : s + AT_ONCE] for s in range(0, len(cases.rows), AT_ONCE)]
        scores = np.concatenate([teacher.log_shares(visits.requests, part)[:, i] for part in parts])
        scores -= scores.mean(axis=1, keepdims=True)
        u, s, v = svds(scores, k=min(rank, min(scores.shape) - 1), rng=np.random.default_rng(0))
        near = (u * s) @ v
        if task.repeats == "exclude":
            for row, past in zip(near, cases.pasts, strict=True):
                row[past] = -np.inf
        found[task.name] = judge_lists(top_k(near, MAX_RANK), task, data, cases, (10, 20))
    return found


# ------------------------------------------------------------------------------------------------ tables


def tables(work: Work) -> Iterator[Table]:
    """What is finished: every stage and baseline, what was asked, and the sizes."""
    models = {name: found for name in (*STAGES.values(), ALONE, SVD) if (found := _of_seeds(work, name))}
    baselines = baselines_of(work)
    yield _everyone(work, models, baselines)
    if STAGES["int8"] in models:
        yield _asked(work, models, baselines)
    sizes = [*_sizes(work)]
    if sizes:
        rows = [[name, f"{n:,}", *(cell(at(found, f)) for f in work.figures)] for name, n, found in sizes]
        yield f"{work.name}: INT8 by size", ("size", "bytes", *map(title_of, work.figures)), rows


def _of_seeds(work: Work, name: str) -> list[Found]:
    change = {"distillation": LOG_ALONE} if name == ALONE else None
    paths = {seed: result(work, name, seed) for seed in work.seeds}
    return [metrics_of(path) for seed, path in paths.items() if finished(path, config_of(work, seed, change))]


def _sizes(work: Work) -> Iterator[tuple[str, int, Found]]:
    for size in SIZES:
        path = result(work, f"size {size}", work.seeds[0])
        if finished(path, config_of(work, work.seeds[0], {"student": {"size": size}})):
            yield size, int(read(path)[SIZE]), metrics_of(path)


def _everyone(work: Work, models: Mapping[str, list[Found]], baselines: Mapping[str, Found]) -> Table:
    rows = []
    for name, found in models.items():
        rows.append([name, *(cell(mean_of_seeds(found, f)) for f in work.figures)])
        if name == STAGES["int8"]:
            rows.append(["  spread over seeds", *(number(spread(found, f)) for f in work.figures)])
    rows += [[name, *(cell(at(found, f)) for f in work.figures)] for name, found in baselines.items()]
    n = max((len(found) for found in models.values()), default=0)
    title = f"{work.name}, {work.part} part: value ±standard error; {n} seeds"
    return title, ("", *map(title_of, work.figures)), rows


def _asked(work: Work, models: Mapping[str, list[Found]], baselines: Mapping[str, Found]) -> Table:
    int8 = models[STAGES["int8"]]
    rows = []
    for figure in work.figures:
        ours = mean_of_seeds(int8, figure)
        if ours is None:
            continue
        ratio = figure[1] not in ("auc", "gauc", "xauc", "mae")
        compared = []
        for other in (models.get("teacher"), models.get(ALONE)):
            theirs = None if other is None else mean_of_seeds(other, figure)
            compared.append("" if theirs is None else _against(ours, theirs, ratio))
        best = best_baseline(baselines, figure)
        gap = ours.minus(baselines[best][figure[0]][figure[1]]) if best else None
        wanted = datasets.ASKED_OF_STUDENT[work.name].get(figure)
        met = "" if wanted is None else "met" if ours.value >= wanted else "below"
        asked = "" if wanted is None else f"{wanted:.3f}"
        rows.append([title_of(figure), asked, cell(ours), met, *compared, best or "", cell(gap, signed=True)])
    sizes = [int(read(result(work, STAGES["int8"], s))[SIZE]) for s in work.seeds if _has(work, s)]
    title = f"{work.name}: INT8 through the runtime; graphs and weights of {max(sizes):,} bytes"
    columns = ("figure", "asked", "INT8", "", "of or less teacher", "of or less the log alone", "best baseline", "gap")
    return title, columns, rows


def _has(work: Work, seed: int) -> bool:
    return finished(result(work, STAGES["int8"], seed), config_of(work, seed))


def _against(ours: Estimate, theirs: Estimate, ratio: bool) -> str:
    """A share of what another model has, or the difference."""
    if not ratio:
        return cell(ours.minus(theirs), signed=True)
    share = ours.over(theirs)
    return f"{share.value:.1%} ±{share.se:.1%}" if math.isfinite(share.value) else ""


def draw_sizes(work: Work) -> Path | None:
    """A picture of quality against bytes of the preset sizes, if they are judged."""
    sizes = [*_sizes(work)]
    if not sizes:
        return None
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figures: list[Figure] = [f for f in work.figures if f in datasets.ASKED_OF_STUDENT[work.name]]
    drawn, axes = pyplot.subplots(1, len(figures), figsize=(4 * len(figures), 3), squeeze=False)
    teachers = _of_seeds(work, STAGES["teacher"])
    for axis, figure in zip(axes[0], figures, strict=True):
        points = [(n / 1000, at(found, figure)) for _, n, found in sizes]
        values = [(x, e) for x, e in points if e is not None]
        axis.errorbar([x for x, _ in values], [e.value for _, e in values], [e.se for _, e in values], marker="o")
        teacher = mean_of_seeds(teachers, figure) if teachers else None
        if teacher is not None:
            axis.axhline(teacher.value, color="grey", linestyle="--")
        axis.set_xscale("log")
        axis.set_title(title_of(figure))
        axis.set_xlabel("graphs and weights, kB")
    drawn.tight_layout()
    path = work.folder / "sizes.svg"
    drawn.savefig(path)
    pyplot.close(drawn)
    return path


if __name__ == "__main__":
    sys.exit(main())
