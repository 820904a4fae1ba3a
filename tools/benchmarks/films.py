"""Films that are rated as they come out: can the chain keep up with popularity of the right age?

Makes a log of films whose popularity rises and falls within days, runs the whole chain on it with a split by time and
with each user's last event left out, and prints NDCG@10 of every simple baseline, the teacher and the INT8 bundle, with
the paired difference between the bundle and the best simple baseline; then, by day of the test, what newer rows of
every day gain over the bundle as it was built. Small networks, so that it takes minutes.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from edgerec.cli.output import format_table
from edgerec.config import Config
from edgerec.errors import QualityError
from edgerec.evaluation.runtime_model import RuntimeModel
from edgerec.examples.evaluation_requests import evaluate_lists, find_evaluation_requests
from edgerec.progress import progress_for
from edgerec.stages.pipeline import run as run_chain
from edgerec.stages.run import Run
from edgerec.stages.versions import daily_versions
from tools.benchmarks.shared.command import Parser, add_out
from tools.benchmarks.shared.datasets import Values

DURATION = "ten minutes"
START_MS = 1_700_006_400_000
DAY_MS = 86_400_000
GENRES = ("drama", "comedy", "horror", "family", "action")
LIFE_DAYS = 4.0
"""A film draws 1/e as many people so many days after its best day."""
TASTE = 1.2
"""How much a user's favourite genre counts, beside a standard normal for the film itself."""

SETTINGS: Values = {
    "name": "films",
    "data": {
        "interactions": "films.csv",
        "user": "user",
        "item": "film",
        "time": "time",
        "items": {"categorical": ["genre"]},
    },
    "task": [{"name": "next", "kind": "retrieval", "repeats": "exclude"}],
    "teacher": {"dim": 16, "hidden": 32, "heads": 2, "experts": 2, "epochs": 6, "folds": 2},
    "student": {"dim": 16, "hidden": 32, "heads": 2, "max_history": 64},
    "distillation": {"epochs": 8},
    "ensemble": {"windows": 3, "window": "14d"},
}
SPLITS: dict[str, Values] = {
    "time": {"by": "time", "valid": "14d", "test": "14d"},
    "leave-last-out": {"by": "leave-last-out"},
}


def films(users: int = 800, films: int = 300, days: int = 150, rows: int = 24_000, seed: int = 0) -> pl.DataFrame:
    """A log with the columns user, film, genre and time (ms), sorted by time; nobody rates a film twice.

    A film comes out on a day of its own, gathers an audience for a day and loses it within `LIFE_DAYS`. A user has a
    favourite genre, and is drawn to what is in the cinemas that day.
    """
    rng = np.random.default_rng(seed)
    release = np.sort(rng.uniform(-10, days, films))
    genre, charm = rng.integers(0, len(GENRES), films), rng.normal(0, 1, films)
    favourite = rng.integers(0, len(GENRES), users)
    time = np.sort(rng.uniform(0, days, rows))
    user = rng.integers(0, users, rows)
    film, had = np.full(rows, -1), np.zeros((users, films), bool)
    for i in range(rows):
        age = time[i] - release
        with np.errstate(over="ignore"):
            draw = charm - age / LIFE_DAYS + np.log(np.clip(age, 1e-9, 1.0))
        draw = np.where((age > 0) & ~had[user[i]], draw + TASTE * (genre == favourite[user[i]]), -np.inf)
        film[i] = np.argmax(draw + rng.gumbel(size=films))
        had[user[i], film[i]] = True
    return pl.DataFrame(
        {
            "user": [f"u{u}" for u in user],
            "film": [f"f{f}" for f in film],
            "genre": [GENRES[g] for g in genre[film]],
            "time": START_MS + (time * DAY_MS).astype(np.int64),
        }
    )


def _config(out: Path, split: str, seed: int) -> Config:
    values = copy.deepcopy(SETTINGS)
    values["data"]["split"], values["seed"] = SPLITS[split], seed
    return Config.of(values, out)


def compare(out: Path, split: str, seed: int) -> list[list[str]]:
    """Run the chain with a split; a row for each model: its NDCG@10, and INT8 minus it."""
    folder = out / f"{split}-{seed}"
    try:
        run_chain(_config(out, split, seed), folder, progress_for())
    except QualityError as error:  # the gate is part of what is shown
        progress_for().say(str(error))
    report = json.loads((folder / "report" / "report.json").read_text("utf-8"))
    rows = []
    for model, tasks in report["metrics"].items():
        ndcg = tasks.get("next", {}).get("ndcg@10")
        difference = report["paired"].get(f"int8 - {model}", {}).get("next", {}).get("ndcg@10")
        if ndcg is not None:
            minus = "" if difference is None else f"{difference['value']:+.4f} ±{difference['se']:.4f}"
            settings = report["baselines"].get(model, {}).get("next", "")
            rows.append([split, model, f"{ndcg['value']:.4f} ±{ndcg['se']:.4f}", minus, settings])
    return rows


def day_by_day(out: Path, seed: int) -> list[list[str]]:
    """After `compare` with the split by time: by day, NDCG@10 of the bundle and with the newer rows of every day."""
    run = Run(_config(out, "time", seed), out / f"time-{seed}", progress_for())
    data = run.learning_data()
    requests = find_evaluation_requests(data)
    sessions, task = data.evaluation.sessions, data.tasks[0]
    assert sessions is not None
    with daily_versions(run, data, requests) as versions:
        shipped = RuntimeModel(versions.last, data, requests, run.progress).lists(task)
        refreshed = RuntimeModel(versions, data, requests, run.progress).lists(task)
    day = (sessions.requests.time_ms[requests.rows] - int(data.statistics.as_of_ms[-1])) // DAY_MS
    rows = []
    for name, chosen in [*((str(d + 1), day == d) for d in np.unique(day)), ("all", day >= 0)]:
        of_day = requests.where(chosen)
        before, after = (
            evaluate_lists(top[chosen], task, data, of_day, (10,))["ndcg@10"] for top in (shipped, refreshed)
        )
        if not after.n:  # nobody came for a film that the bundle knows
            continue
        gain = after.minus(before)
        figures = [f"{e.value:.4f} ±{e.se:.4f}" for e in (before, after)]
        rows.append([name, f"{after.n}", *figures, f"{gain.value:+.4f} ±{gain.se:.4f}"])
    return rows


def main(arguments: Sequence[str]) -> int:
    """Print the table."""
    parser = Parser(__name__, __doc__)
    add_out(parser, "films")
    parser.add_argument("--split", choices=list(SPLITS), action="append", help="one of them (default: both)")
    parser.add_argument("--seed", type=int, default=0, help="of the log and of the models (default: %(default)s)")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    films(seed=options.seed).write_csv(options.out / "films.csv")
    rows = [row for split in options.split or SPLITS for row in compare(options.out, split, options.seed)]
    print(format_table(("split", "model", "NDCG@10 (± standard error)", "INT8 - model", "settings"), rows))
    if "time" in (options.split or SPLITS):
        days = day_by_day(options.out, options.seed)
        print(format_table(("day of the test", "requests", "INT8", "with newer rows of every day", "gain"), days))
    return 0
