"""What false logs cost, and what robust training gains: NDCG@10 and lists with a pushed product, on Online Retail.

Trains the teacher's network on Online Retail as it is and on three logs whose training split is false: items of a fifth
of the rows exchanged (label noise), each customer's items dealt anew over their own rows (shuffled histories), and a
tenth more customers, invented, who push ten products (a random attack: Lam and Riedl, WWW 2004). Trains plainly, with
adversarial steps, and with past items left out; evaluates all on what true customers really bought in the valid split.
Prints differences on the same customers. Goes on where it was stopped. Small networks without texts, so that it takes
minutes: figures compare with each other, not with a run.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from edgerec.cli.output import format_table
from edgerec.config import Config
from edgerec.data import prepare
from edgerec.ensemble.scoring import TorchModel, TorchScorer
from edgerec.examples.evaluation_requests import evaluate_lists, find_evaluation_requests
from edgerec.examples.load import LearningData
from edgerec.experiments.transfer import mean_over_seeds
from edgerec.metrics import TaskMetrics, mean
from edgerec.progress import progress_for
from edgerec.stages.run import Run
from edgerec.training.teacher import fit_on_valid
from tools.benchmarks.shared.command import Parser, add_out, add_teacher
from tools.benchmarks.shared.datasets import SAMPLES, Values

DURATION = "half an hour a seed"
SMALL: Values = {"dim": 32, "hidden": 64, "experts": 2, "epochs": 4, "sessions_per_epoch": 8_000}
TRAININGS: dict[str, Values] = {
    "plain": {},
    "adversarial": {"adversarial": 0.2},
    "item dropout": {"item_dropout": 0.2},
}
NOISE, FAKES, PUSHED = 0.2, 0.1, 10
"""Share of rows whose item is false, invented customers for each true one, and products that they push."""

Int: TypeAlias = npt.NDArray[np.int64]
Log: TypeAlias = tuple[pl.DataFrame, pl.DataFrame]
"""Rows of the training split, and users."""
Figures: TypeAlias = TaskMetrics


def noise(log: Log, pushed: Int, rng: np.random.Generator) -> Log:
    """Some rows exchange their items: products stay as popular as they are."""
    rows, users = log
    item = rows["item"].to_numpy().copy()
    chosen = rng.choice(len(item), int(NOISE * len(item)), replace=False)
    item[chosen] = item[rng.permutation(chosen)]
    return rows.with_columns(item=item), users


def shuffle(log: Log, pushed: Int, rng: np.random.Generator) -> Log:
    """Each user's items in a random order over the user's rows: what was had is true, when and with what is not."""
    rows, users = log
    user = rows["user"].to_numpy()
    place, drawn = np.lexsort((np.arange(len(user)), user)), np.lexsort((rng.random(len(user)), user))
    item = rows["item"].to_numpy().copy()
    item[place] = item[drawn]
    return rows.with_columns(item=item), users


def fakes(log: Log, pushed: Int, rng: np.random.Generator) -> Log:
    """New users: times and baskets of true ones, half of the items at random, half of them pushed."""
    rows, users = log
    models = rng.choice(rows["user"].unique(maintain_order=True).to_numpy(), int(FAKES * len(users)), replace=False)
    invented = users[models].with_columns(
        index=pl.Series(np.arange(len(users), len(users) + len(models)), dtype=users.schema["index"]),
        id=pl.Series([f"fake {i}" for i in range(len(models))]),
    )
    new = dict(zip(models.tolist(), invented["index"].to_list(), strict=True))
    copied = rows.filter(pl.col("user").is_in(models))
    n = len(copied)
    at_random = rng.integers(0, int(rows["item"].max()) + 1, n)  # type: ignore[arg-type]
    copied = copied.with_columns(
        user=copied["user"].replace_strict(new, return_dtype=rows.schema["user"]),
        item=pl.Series(np.where(rng.random(n) < 0.5, rng.choice(pushed, n), at_random), dtype=rows.schema["item"]),
        session=copied["session"] + 1_000_000_000,
        row=copied["row"] + 1_000_000_000,
    )
    return pl.concat([rows, copied]).sort("time", maintain_order=True), pl.concat([users, invented])


LOGS: dict[str, Callable[[Log, Int, np.random.Generator], Log]] = {
    "as it is": lambda log, pushed, rng: log,
    "label noise": noise,
    "shuffled histories": shuffle,
    "fake users": fakes,
}


def write_log(source: Path, folder: Path, name: str) -> Int:
    """Copy a dataset with the training split of `LOGS[name]`, without texts; the pushed products, which few buy."""
    rows, users = pl.read_parquet(source / "train.parquet"), pl.read_parquet(source / "users.parquet")
    meta = json.loads((source / "dataset.json").read_text("utf-8"))
    bought = np.bincount(rows["item"].to_numpy(), minlength=meta["catalog"]["train"])
    few = np.flatnonzero(bought <= np.quantile(bought, 0.25))
    pushed = np.random.default_rng(0).choice(few, PUSHED, replace=False).astype(np.int64)
    rows, users = LOGS[name]((rows, users), pushed, np.random.default_rng(1))
    shutil.copytree(source, folder, dirs_exist_ok=True)
    rows.write_parquet(folder / "train.parquet")
    users.write_parquet(folder / "users.parquet")
    meta["items"]["text"], meta["n_users"], meta["rows"]["train"] = False, len(users), len(rows)
    (folder / "dataset.json").write_text(json.dumps(meta), encoding="utf-8")
    return pushed


def evaluate(config: Config, data: LearningData, folder: Path, title: str, pushed: Int) -> Figures:
    """NDCG@10 of each ranking task, and the share of lists of ten with a pushed product."""
    network, _ = fit_on_valid(config.teacher, config.training, config.seed, data, folder, progress_for(), title)
    requests = find_evaluation_requests(data)
    model = TorchModel(TorchScorer([network.eval()], data), data, requests)
    figures = {}
    for task in data.tasks:
        if task.kind == "retrieval":
            top = model.lists(task)
            figures[f"{task.name}, NDCG@10"] = evaluate_lists(top, task, data, requests, (10,))["ndcg@10"]
            holds = np.isin(top[:, :10], pushed).any(axis=1)
            figures[f"{task.name}, lists with a pushed product"] = mean(np.asarray(holds, np.float64))
    return figures


def evaluate_log(config: Config, out: Path, log: str, seeds: int, teacher: Values) -> dict[str, Figures]:
    """What each training learns from one log, as means over the seeds."""
    run_dir = out / log.replace(" ", "-")
    pushed = write_log(out / "dataset", run_dir / "dataset", log)
    by_training: dict[str, list[Figures]] = {training: [] for training in TRAININGS}
    for seed in range(seeds):
        small = config.model_copy(update={"seed": seed, "teacher": config.teacher.model_copy(update=teacher)})
        data = Run(small, run_dir, progress_for()).learning_data("valid")
        for training, changes in TRAININGS.items():
            changed = small.model_copy(update={"teacher": small.teacher.model_copy(update=changes)})
            folder = run_dir / f"{training.replace(' ', '-')}-{seed}"
            figures = evaluate(changed, data, folder, f"{log}, {training}, seed {seed}", pushed)
            by_training[training].append(figures)
    return {
        training: {name: mean_over_seeds([figures[name] for figures in runs]) for name in runs[0]}
        for training, runs in by_training.items()
    }


def table_of(logs: Mapping[str, Mapping[str, Figures]]) -> str:
    """A row for each log and figure: plain training, and what each other one adds on the same customers."""
    rows = []
    for log, by_training in logs.items():
        for name, plain in by_training["plain"].items():
            others = (by_training[training][name].minus(plain) for training in TRAININGS if training != "plain")
            added = (f"{d.value:+.4f} ±{1.96 * d.se:.4f}" for d in others)
            rows.append([log, name, f"{plain.value:.4f} ±{1.96 * plain.se:.4f}", *added])
    columns = (training if training == "plain" else f"{training} - plain" for training in TRAININGS)
    return format_table(("log", "figure (±: 95 %)", *columns), rows)


def main(arguments: Sequence[str]) -> int:
    """Print the table."""
    parser = Parser(__name__, __doc__)
    add_out(parser, "robustness")
    parser.add_argument("--seeds", type=int, default=1, help="how many (default: %(default)s)")
    add_teacher(parser)
    options = parser.parse_args(arguments)
    config = Config.load(SAMPLES / "retail" / "edgerec.toml")
    if not (options.out / "dataset" / "dataset.json").exists():
        prepare(config, options.out, progress_for())
    teacher = SMALL | options.teacher
    print(table_of({log: evaluate_log(config, options.out, log, options.seeds, teacher) for log in LOGS}))
    return 0
