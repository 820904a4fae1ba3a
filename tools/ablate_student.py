"""Train the student with and without each term of its loss, several seeds, and judge it with its INT8 table on valid.

One teacher of the set's settings labels for all of them. What is finished is kept under --out and not done again, so
that a stopped command goes on when it is given again.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from edgerec import pipeline
from edgerec.cli.output import format_table
from edgerec.config import Config
from edgerec.evaluation import chain
from edgerec.progress import Progress, progress_for
from edgerec.training.batches import Examples
from edgerec.training.calibrate import calibrate
from edgerec.training.distillation import needs_teacher, new_student, soft_examples, train_student
from edgerec.training.load import LearningData, load_learning_data
from edgerec.training.scoring import TorchScorer
from edgerec.training.soft.store import key_of
from tools.judge_teacher import Work, work_of
from tools.peers import sets
from tools.peers.command import exit_code_of, judging_parser
from tools.peers.results import Found, cell, finished, keep, mean_of_seeds, metrics_of, number, slug, spread, title_of

DEFAULT = "as the settings say"
Change: TypeAlias = Mapping[str, Mapping[str, Any]]
LOG_ALONE = {"hard": 1.0, "probabilities": 0.0, "listwise": 0.0, "top_list": 0.0, "neighbours": 0.0, "alignment": 0.0}
VARIANTS: dict[str, Change] = {
    DEFAULT: {},
    "the log alone": {"distillation": LOG_ALONE},
    "the teacher alone": {"distillation": {"hard": 0.0}},
    "without teacher's probabilities": {"distillation": {"probabilities": 0.0}},
    "without teacher's softmax": {"distillation": {"listwise": 0.0}},
    "without teacher's top list": {"distillation": {"top_list": 0.0}},
    "and neighbours": {"distillation": {"neighbours": 0.5}},
    "and alignment": {"distillation": {"alignment": 0.5}},
    "weighed by confidence": {"distillation": {"confidence": True}},
    "temperature 2": {"distillation": {"temperature": 2.0}},
    "easy labels first": {"distillation": {"easy_epochs": 4}},
    "no requests after the log's end": {"distillation": {"ahead": 0.0}},
    "no unlabelled requests": {"distillation": {"unlabelled": 0.0, "ahead": 0.0}},
    "no folded factors": {"student": {"factor": 0}},
    "no followers": {"student": {"followers": 0}},
    "not rounded in training": {"distillation": {"rounded": 0.0}},
}
"""Changes of the settings, by name; those that change nothing in a set are left out there."""
LEARNED = ("seed", "data", "task", "evaluation", "teacher", "committee", "student", "distillation")
"""Sections of the settings that a result depends on."""


def config_of(work: Work, variant: str, seed: int = 0) -> Config:
    """Checked settings of a variant."""
    change = VARIANTS[variant]
    values = work.values | {s: work.values.get(s, {}) | dict(keys) for s, keys in change.items()}
    return work.config(values, seed)


def result(work: Work, variant: str, seed: int) -> Path:
    """Where the metrics of one student are kept."""
    return work.folder / "ablations" / f"{slug(variant)}-{seed}.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks; 130 after Ctrl-C, 2 after a mistake of the user."""
    asked = _parser().parse_args(arguments)
    return exit_code_of(lambda: _ablate(asked, progress_for()))


def _ablate(asked: argparse.Namespace, progress: Progress) -> None:
    for name in asked.sets or list(sets.ASKED):
        work = work_of(name, asked.out, asked.data, asked.seeds, "valid")
        if not asked.show:
            _do(work, asked.only or list(VARIANTS), progress)
        title, columns, rows = table(work)
        print(f"\n{title}\n{format_table(columns, rows)}", flush=True)


def _parser() -> argparse.ArgumentParser:
    seeds = "seeds of the student; the teacher has seed 0"
    parser = judging_parser("tools/ablate_student", __doc__, seeds, Path("runs/ablate_student"))
    parser.add_argument("--only", nargs="*", choices=[*VARIANTS], metavar="VARIANT", help="these alone")
    return parser


def _do(work: Work, variants: Sequence[str], progress: Progress) -> None:
    """All students that are not finished, one seed after the other."""
    told = [v for v in variants if v == DEFAULT or config_of(work, v) != config_of(work, DEFAULT)]
    wanted = [(v, s) for s in work.seeds for v in told if not finished(result(work, v, s), config_of(work, v, s))]
    if not wanted:
        return
    run_dir, config = work.folder / "teacher", config_of(work, DEFAULT)
    pipeline.run(config, run_dir, progress, until="train")
    data = load_learning_data(config, run_dir, "valid", progress)
    labelled: dict[str, Examples] = {}
    for variant, seed in wanted:
        progress.stage(f"{work.name}: student, {variant}, seed {seed}")
        config = config_of(work, variant)
        key = "none"
        if needs_teacher(config.distillation):
            key = f"{config.distillation.unlabelled:g}-{config.distillation.ahead:g}"
        if key not in labelled:
            folder = work.folder / f"soft-{key}"
            labelled = {key: soft_examples(config, run_dir, data, progress, folder)[0]}  # one at a time: they are large
        student = config.model_copy(update={"seed": seed})
        found = judged(student, data, labelled[key], work.folder / "training", progress)
        keep(result(work, variant, seed), variant, config_of(work, variant, seed), LEARNED, found, {})


def judged(config: Config, data: LearningData, examples: Examples, folder: Path, progress: Progress) -> Found:
    """Metrics of one student with its INT8 table on the held part; an interrupted training goes on."""
    student = new_student(config, data)
    place = folder / key_of(config.model_dump(mode="json"))[:12]
    train_student(config, data, examples, student, config.distillation.epochs, place, progress, "student")
    shutil.rmtree(place)
    expectations = calibrate(student, data)
    student.rounded = True
    return chain.judge_scorer(TorchScorer([student.eval()], data, expectations), data, config.evaluation.k)


# ------------------------------------------------------------------------------------------------ table


def table(work: Work) -> tuple[str, tuple[str, ...], list[list[str]]]:
    """What is finished: the default's figures, and each variant's difference to it on the same cases and seeds."""
    figures = list(sets.ASKED[work.name])
    of = {variant: dict(_finished(work, variant)) for variant in VARIANTS}
    base = of[DEFAULT]
    rows = []
    if base:
        each = list(base.values())
        rows.append([DEFAULT, str(len(each)), *(cell(mean_of_seeds(each, f)) for f in figures)])
        rows.append(["  spread over seeds", "", *(number(spread(each, f)) for f in figures)])
    for variant, found in of.items():
        seeds_of_both = [s for s in found if s in base]
        if variant == DEFAULT or not seeds_of_both:
            continue
        cells = []
        for figure in figures:
            ours = mean_of_seeds([found[s] for s in seeds_of_both], figure)
            theirs = mean_of_seeds([base[s] for s in seeds_of_both], figure)
            cells.append(cell(None if ours is None or theirs is None else ours.minus(theirs), signed=True))
        rows.append([variant, str(len(seeds_of_both)), *cells])
    title = f"{work.name}, valid part: the student with its INT8 table, and what each change adds on the same cases"
    return title, ("", "seeds", *map(title_of, figures)), rows


def _finished(work: Work, variant: str) -> Iterator[tuple[int, Found]]:
    for seed in work.seeds:
        path = result(work, variant, seed)
        if finished(path, config_of(work, variant, seed)):
            yield seed, metrics_of(path)


if __name__ == "__main__":
    sys.exit(main())
