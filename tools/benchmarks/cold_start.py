"""Do new arrivals reach the right users? tools/judge_cold.py [--part valid] [--until distill] [--out FOLDER]

Runs the teacher (and with --until distill, prune or quantize what follows) on Online Retail, with an items file that is
made of the log itself: text and price of a product are known when it is listed, before anybody buys it. Then ranks the
products that the fit rows never held, for every customer who bought one of them in the held part, and prints this
beside chance (which is also popularity: none of them was ever bought), the popularity of like prices, and the likeness
of texts.
"""

from __future__ import annotations

import argparse
import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import torch

from edgerec import pipeline
from edgerec.cli.output import format_table
from edgerec.compression.newcomers import described
from edgerec.compression.quantization import NEWCOMERS
from edgerec.compression.rows import quantize_rows
from edgerec.config import Config
from edgerec.evaluation.cold import Score, cold_report
from edgerec.evaluation.metrics import Estimate
from edgerec.progress import progress_for
from edgerec.tasks.history import Int
from edgerec.tasks.newcomers import Newcomers
from edgerec.training.load import LearningData, load_learning_data
from edgerec.training.scoring import STAGES, AnyScorer, TorchScorer, load_scorer

SAMPLE = Path(__file__).resolve().parents[1] / "edgerec" / "samples" / "retail"
MADE_BY = {"train": "teacher", "distill": "student", "prune": "pruned", "quantize": "pruned"}
"""Stages of the pipeline, and the models they leave."""
HASHED = "bundle, by hashed words"
"""The rows that the bundle's table of words and attributes gives to arrivals."""


def settings(folder: Path, part: str, seed: int, teacher: Mapping[str, Any]) -> Config:
    """The settings of `edgerec demo retail`, with an items file that is written into `folder`."""
    values = tomllib.loads((SAMPLE / "edgerec.toml").read_text("utf-8"))
    data = values["data"]
    log = SAMPLE / data["interactions"]
    listed = pl.read_parquet(log).sort("InvoiceDate").group_by(data["item"], maintain_order=True)
    folder.mkdir(parents=True, exist_ok=True)
    # First values: what was known when the product was listed, and nothing that came later.
    first = [pl.col(name).drop_nulls().first() for name in ("Description", "UnitPrice")]
    # Products that cannot be sold (fees, postage) are no arrivals: the log's own condition on ids holds for them too.
    products = pl.col(data["item"]).str.contains("^[0-9]{5}[A-Z]{0,2}$")
    listed.agg(first).filter(products).write_parquet(folder / "items.parquet")
    data |= {"interactions": os.path.relpath(log, folder), "items": {**data["items"], "path": "items.parquet"}}
    values |= {"evaluation": {"part": part}, "seed": seed, "teacher": {**values.get("teacher", {}), **teacher}}
    return Config.of(values, folder=folder)


def scores_of(stage: str, task: str, config: Config, run_dir: Path, data: LearningData) -> Score:
    """A trained model as `edgerec.evaluation.cold` asks it."""
    return _asked(load_scorer(stage, config, run_dir, data), task, data)


def _asked(scorer: AnyScorer, task: str, data: LearningData) -> Score:
    at = [t.name for t in scorer.tasks].index(task)
    visits = data.held.visits
    assert visits is not None

    def score(rows: Int) -> Any:
        return scorer.log_shares(visits.requests, rows)[:, at]

    return score


def hashed_scores(task: str, config: Config, run_dir: Path, data: LearningData) -> Score:
    """The pruned student, with rows for the arrivals that newcomers.npz of the bundle makes of their descriptions."""
    scorer = load_scorer("pruned", config, run_dir, data)
    assert isinstance(scorer, TorchScorer)
    table, prior = scorer.items[0]
    words = Newcomers.from_bytes((run_dir / "bundle" / NEWCOMERS).read_bytes())
    n = data.held.n_seen
    rows, priors = words.rows(*(values[n:] for values in described(data)))
    rounded, scales = quantize_rows(rows)
    scorer.items[0] = (
        torch.cat([table[:n], torch.from_numpy(rounded * scales[:, None])]),
        torch.cat([prior[:n], torch.from_numpy(priors)]),
    )
    return _asked(scorer, task, data)


def show(task: str, report: Mapping[str, Mapping[str, Estimate]]) -> str:
    """A table: each scorer's metrics, and by how much it beats chance."""
    metrics = list(report["chance"])
    rows = []
    for name, found in report.items():
        margins = [found[m].minus(report["chance"][m]) for m in metrics]
        rows.append(
            [name, *(f"{found[m].value:.4f}" for m in metrics), *(f"{d.value:+.4f} ± {d.se:.4f}" for d in margins)]
        )
    n = report["chance"]["mrr"].n
    title = f"{task}: {n} customers"
    return format_table((title, *metrics, *(f"{m} - chance" for m in metrics)), rows)


def main() -> None:
    """Print a table a task and write cold.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/judge_cold"))
    parser.add_argument("--part", choices=("valid", "test"), default="valid")
    parser.add_argument("--until", choices=tuple(MADE_BY), default="train")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--teacher", type=json.loads, default={}, help='settings as JSON, such as {"text_tuning": "lora"}'
    )
    given = parser.parse_args()
    folder = given.out.resolve()
    config = settings(folder, given.part, given.seed, given.teacher)
    progress = progress_for()
    run_dir = folder / given.part
    pipeline.run(config, run_dir, progress, until=given.until)
    data = load_learning_data(config, run_dir, given.part, progress)
    models = STAGES[: STAGES.index(MADE_BY[given.until]) + 1]
    found = {}
    for task in data.tasks:
        if task.kind == "retrieval":
            scores = {stage: scores_of(stage, task.name, config, run_dir, data) for stage in models}
            if given.until == "quantize":
                scores[HASHED] = hashed_scores(task.name, config, run_dir, data)
            report = cold_report(data, task, scores)
            found[task.name] = {name: {m: e.to_json() for m, e in of.items()} for name, of in report.items()}
            print(show(task.name, report) + "\n")
    (run_dir / "cold.json").write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
