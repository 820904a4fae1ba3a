"""Train the teacher on public data sets with several seeds and judge it beside public baselines of the same run.

What is finished is kept under --out and not done again, so that a stopped command goes on when it is given again.
MovieLens is not shipped: --data names ml-latest-small.zip, its folder, or a folder that holds either.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import shutil
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from edgerec import pipeline
from edgerec.cli.output import format_table
from edgerec.config import Config
from edgerec.data.dataset import Dataset
from edgerec.errors import ConfigError
from edgerec.evaluation import chain
from edgerec.progress import Progress, progress_for
from edgerec.training.load import load_learning_data
from edgerec.tuning.ablation import judged_network
from tools.benchmarks.shared import datasets
from tools.benchmarks.baselines.closed_form import LIGHT
from tools.benchmarks.shared.command import add_changes, exit_code_of, judging_parser
from tools.benchmarks.baselines.evaluation import RANKERS, Parts, judge_peers, names_of
from tools.benchmarks.shared.results import (
    Figure,
    Found,
    at,
    best_baseline,
    cell,
    difference,
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
from tools.benchmarks.shared.datasets import Values

FULL = "teacher"
"""The variant that is not an ablation."""
ROWS = ("seed", "data", "task", "evaluation")
"""Sections of the settings that a baseline depends on."""
LEARNED = (*ROWS, "teacher", "committee")
"""Sections that a teacher depends on."""


@dataclass(frozen=True)
class Work:
    """One data set: its settings and where its results are kept.

    Attributes:
        values: settings as in a file, with what the command line changed; paths are relative to `home`.
        folder: of runs and results.
    """

    name: str
    values: Values
    home: Path
    folder: Path
    seeds: tuple[int, ...]
    quick: bool

    def config(self, values: Values, seed: int = 0) -> Config:
        """Checked settings of a run."""
        return Config.of(values | {"seed": seed}, self.home, self.name)

    @property
    def part(self) -> str:
        """What is judged."""
        return str(self.values["evaluation"]["part"])

    def trained(self, seed: int) -> Path:
        """Where the metrics of one teacher are kept."""
        return self.folder / "results" / f"{FULL}-{seed}.json"

    def ablated(self, variant: str) -> Path:
        """Where the metrics of one ablation are kept."""
        return self.folder / "ablations" / f"{slug(variant)}.json"

    @property
    def figures(self) -> list[Figure]:
        """What is shown."""
        asked = [*datasets.ASKED[self.name], *datasets.SHOWN.get(self.name, ())]
        tasks = {task["name"] for task in self.values["task"]}
        return [figure for figure in asked if figure[0] in tasks]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks; 130 after Ctrl-C, 2 after a mistake of the user."""
    asked = _parser().parse_args(arguments)
    return exit_code_of(lambda: _judge(asked, progress_for()))


def _judge(asked: argparse.Namespace, progress: Progress) -> None:
    for name in asked.sets or list(datasets.ASKED):
        work = work_of(name, asked.out, asked.data, asked.seeds, asked.part, asked.set, asked.quick)
        if not asked.show:
            _do(work, asked, progress)
        for title, columns, rows in tables(work):
            print(f"\n{title}\n{format_table(columns, rows)}", flush=True)


def _parser() -> argparse.ArgumentParser:
    seeds = "seeds of the teacher; the ablations take the first"
    parser = judging_parser("tools/judge_teacher", __doc__, seeds, Path("runs/judge_teacher"))
    add_changes(parser)
    parser.add_argument("--ablations", action="store_true", help="also judge, on valid, the teacher without its parts")
    parser.add_argument("--baselines", action="store_true", help="fit the baselines only")
    parser.add_argument("--quick", action="store_true", help="baselines untuned, to try the command")
    return parser


def work_of(
    name: str, out: Path, data: Path | None, seeds: str, part: str, changes: Sequence[str] = (), quick: bool = False
) -> Work:
    """What the command line asks of one data set.

    Raises:
        ConfigError: it asks for what makes no sense.
    """
    folder = out / name
    values, home = datasets.settings_of(name, data, folder)
    values.setdefault("evaluation", {})["part"] = part
    for change in changes:
        try:
            _merge(values, tomllib.loads(change))
        except tomllib.TOMLDecodeError:
            raise ConfigError(f'--set {change}: expected KEY=VALUE as in a settings file, such as name="x"') from None
    try:
        numbers = tuple(dict.fromkeys(int(seed) for seed in seeds.split(",")))
    except ValueError:
        raise ConfigError(f"--seeds {seeds}: expected whole numbers, such as 0,1,2") from None
    return Work(name, values, home, folder, numbers, quick)


def _merge(values: Values, change: Values) -> None:
    for key, value in change.items():
        if isinstance(value, dict):
            _merge(values.setdefault(key, {}), value)
        else:
            values[key] = value


# ------------------------------------------------------------------------------------------------ doing


def _do(work: Work, asked: argparse.Namespace, progress: Progress) -> None:
    """All that is not finished: the baselines first, then the teachers, then the ablations."""
    fit_baselines(work, progress)
    for seed in () if asked.baselines else work.seeds:
        _teacher(work, seed, progress)
    for variant, values in _variants(work) if asked.ablations else ():
        _ablation(work, variant, values, progress)


def _variants(work: Work) -> Iterator[tuple[str, Values]]:
    """The teacher and its ablations, as they are judged on valid."""
    values = copy.deepcopy(work.values)
    values["evaluation"]["part"] = "valid"
    yield FULL, values
    yield from datasets.variants(values)


def _ablation(work: Work, variant: str, values: Values, progress: Progress) -> None:
    """Train one network and judge it on valid, blended with the committee, unless that is done with these settings.

    One network that saw two thirds of the users stands for the mean of all folds', here and in what it is compared to:
    a quarter of the time. Members that a variant does not change are fitted once.
    """
    path, config = work.ablated(variant), work.config(values, work.seeds[0])
    if finished(path, config):
        return
    run_dir = work.folder / "runs" / f"ablation-{path.stem}"
    progress.stage(f"{work.name}: {variant}, one network on valid")
    pipeline.run(config, run_dir, progress, until="prepare")
    data = load_learning_data(config, run_dir, "valid", progress)
    basis = json.dumps(config.model_dump(mode="json", include={*ROWS, "committee"}), sort_keys=True)
    shared = work.folder / "runs" / f"ablation-members-{hashlib.sha256(basis.encode()).hexdigest()[:12]}"
    found = judged_network(config, data, run_dir / "work", shared, progress, variant)
    keep(path, variant, config, LEARNED, found, {})
    shutil.rmtree(run_dir)


def _teacher(work: Work, seed: int, progress: Progress) -> None:
    """Train and judge one teacher, unless that is done with these settings."""
    path, config = work.trained(seed), work.config(work.values, seed)
    if finished(path, config):
        return
    run_dir = work.folder / "runs" / path.stem
    progress.stage(f"{work.name}: teacher, seed {seed}")
    start = time.monotonic()
    pipeline.run(config, run_dir, progress, until="train")
    seconds = round(time.monotonic() - start)
    datasets.check_rows(work.name, Dataset.open(run_dir / "dataset").meta.rows)
    found = chain.judge_stage(config, run_dir, "teacher", progress)
    training = json.loads((run_dir / "teacher" / "metrics.json").read_text("utf-8"))
    keep(path, FULL, config, LEARNED, found, {"seconds": seconds, "training": training})


def fit_baselines(work: Work, progress: Progress) -> None:
    """Fit and judge the baselines that are not finished for these rows and tasks."""
    config, folder = baseline_config(work), work.folder / "baselines"
    rankers = LIGHT if work.name == "video" else RANKERS  # nothing is asked of the ranking of videos
    done = {read(path)["name"] for path in sorted(folder.glob("*.json")) if finished(path, config)}
    expected = names_of(work.config(work.values).tasks, rankers)
    if done >= expected:
        return
    run_dir = work.folder / "runs" / "baselines"
    progress.stage(f"{work.name}: baselines")
    pipeline.run(config, run_dir, progress, until="prepare")
    datasets.check_rows(work.name, Dataset.open(run_dir / "dataset").meta.rows)
    judged = load_learning_data(config, run_dir, config.evaluation.part, progress)
    valid = judged if work.part == "valid" else load_learning_data(config, run_dir, "valid", progress)
    by_days = config.data.split.by != "leave-last-out"
    parts = Parts(valid, judged, by_days, rankers, work.quick)
    start = time.monotonic()
    for name, found in judge_peers(parts, done, progress):
        more = {"seconds": round(time.monotonic() - start)}
        keep(folder / f"{slug(name)}.json", name, config, ROWS, found, more)
        start = time.monotonic()


def baselines_of(work: Work) -> dict[str, Found]:
    """Metrics of the finished baselines, by name."""
    config = baseline_config(work)
    paths = [path for path in sorted((work.folder / "baselines").glob("*.json")) if finished(path, config)]
    return {read(path)["name"]: metrics_of(path) for path in paths}


def baseline_config(work: Work) -> Config:
    """What baselines depend on: no texts, and nothing of the teacher; untuned ones are other ones."""
    values = {key: copy.deepcopy(work.values[key]) for key in ("name", "data", "task", "evaluation")}
    values["data"].get("items", {}).pop("text", None)
    values["data"].pop("graph", None)
    return work.config(values, seed=int(work.quick))


# ------------------------------------------------------------------------------------------------ tables

Table: TypeAlias = tuple[str, tuple[str, ...], list[list[str]]]
"""Title, columns and rows."""


def tables(work: Work) -> Iterator[Table]:
    """What is finished of a data set: teacher and baselines, what was asked, and the ablations."""
    seeds = [s for s in work.seeds if finished(work.trained(s), work.config(work.values, s))]
    teachers = [metrics_of(work.trained(seed)) for seed in seeds]
    baselines = baselines_of(work)
    yield _everyone(work, seeds, teachers, baselines)
    if teachers:
        yield _asked(work, teachers, baselines)
    (_, whole), *ablations = [*_ablations(work)] or [("", {})]
    if ablations:
        yield _against(work, whole, ablations)


def _everyone(work: Work, seeds: Sequence[int], teachers: Sequence[Found], baselines: Mapping[str, Found]) -> Table:
    figures = work.figures
    rows = []
    if teachers:
        rows.append(["teacher", *(cell(mean_of_seeds(teachers, f)) for f in figures)])
        rows.append(["  spread over seeds", *(number(spread(teachers, f)) for f in figures)])
    rows += [[name, *(cell(at(found, f)) for f in figures)] for name, found in baselines.items()]
    if teachers and baselines:
        best = [best_baseline(baselines, f) for f in figures]
        gaps = [difference(teachers, baselines[b], f) if b else None for b, f in zip(best, figures, strict=True)]
        rows.append(["teacher - best baseline", *(cell(gap, signed=True) for gap in gaps)])
    shown = f"seeds {', '.join(map(str, seeds))}" if seeds else "no teacher finished"
    return f"{work.name}, {work.part} part: value ±standard error; {shown}", ("", *map(title_of, figures)), rows


def _asked(work: Work, teachers: Sequence[Found], baselines: Mapping[str, Found]) -> Table:
    rows = []
    for figure, asked in datasets.ASKED[work.name].items():
        if figure not in work.figures:
            continue
        measured, best = mean_of_seeds(teachers, figure), best_baseline(baselines, figure)
        gap = difference(teachers, baselines[best], figure) if best else None
        met = "" if measured is None else "met" if measured.value >= asked else "below"
        rows.append([title_of(figure), f"{asked:.3f}", cell(measured), met, best or "", cell(gap, signed=True)])
    columns = ("figure", "asked", "measured", "", "best baseline", "teacher - best baseline")
    return f"{work.name}: what was asked", columns, rows


def _ablations(work: Work) -> Iterator[tuple[str, Found]]:
    """Finished ones, the whole teacher first, if it is finished; the tasks alone become one row."""
    alone: Found = {}
    for name, values in _variants(work):
        path = work.ablated(name)
        if not finished(path, work.config(values, work.seeds[0])):
            if name == FULL:
                return
        elif name.endswith(datasets.ALONE):
            alone |= metrics_of(path)
        else:
            yield name, metrics_of(path)
    if alone:
        yield "each task alone", alone


def _against(work: Work, full: Found, ablations: Sequence[tuple[str, Found]]) -> Table:
    rows = [[FULL, *(cell(at(full, f)) for f in work.figures)]]
    for name, found in ablations:
        gaps = [difference([found], full, figure) for figure in work.figures]
        rows.append([name, *(cell(gap, signed=True) for gap in gaps)])
    title = (
        f"{work.name}: ablations, one network on the valid part, seed {work.seeds[0]}; differences on the same cases"
    )
    return title, ("", *map(title_of, work.figures)), rows


if __name__ == "__main__":
    sys.exit(main())
