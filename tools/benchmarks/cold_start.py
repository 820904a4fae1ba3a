"""How well items that nobody had yet are ranked for each user of Online Retail, beside chance and likeness of texts.

Runs the teacher (and with --until distill, prune or quantize what follows) on Online Retail, with an items file that is
made of the log itself: text and price of a product are known when it is listed, before anybody buys it. Then ranks the
cold-start items, which the training split does not hold, for every customer who bought one of them in the evaluation
split. Prints this beside chance (which is also popularity: none of them was ever bought), the popularity of similar
prices, and the likeness of texts, and writes cold_start.json.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import torch

from edgerec.cli.output import format_table
from edgerec.compression.cold_start import described
from edgerec.compression.rows import quantize_rows
from edgerec.config import Config
from edgerec.ensemble.scoring import STAGES, AnyScorer, Scores, TorchScorer
from edgerec.evaluation.cold_start import Score, cold_start_report
from edgerec.examples.load import LearningData
from edgerec.metrics import ModelMetrics
from edgerec.progress import Silent, progress_for
from edgerec.stages import pipeline
from edgerec.stages.quantize import COLD_START
from edgerec.stages.run import Run
from edgerec.tasks.cold_start import ColdStartTable
from edgerec.tasks.history import Int
from tools.benchmarks.shared.command import Parser, add_out, add_teacher
from tools.benchmarks.shared.datasets import SAMPLES, Values

DURATION = "10 minutes to an hour"
SAMPLE = SAMPLES / "retail"
MADE_BY = {"train": "teacher", "distill": "student", "prune": "pruned", "quantize": "pruned"}
"""Stages of the pipeline, and the models that they leave."""
HASHED = "bundle, by hashed words"
"""The rows that the bundle's table of words and attributes gives to cold-start items."""


def settings(folder: Path, part: str, seed: int, teacher: Values) -> Config:
    """The settings of `edgerec demo retail`, with an items file that is written into `folder`."""
    values = tomllib.loads((SAMPLE / "edgerec.toml").read_text("utf-8"))
    data = values["data"]
    log = SAMPLE / data["interactions"]
    listed = pl.read_parquet(log).sort("InvoiceDate").group_by(data["item"], maintain_order=True)
    folder.mkdir(parents=True, exist_ok=True)
    # First values: what was known when the product was listed, and nothing that came later.
    first = [pl.col(name).drop_nulls().first() for name in ("Description", "UnitPrice")]
    # Fees and postage are not products: the log's own condition on ids holds for cold-start items too.
    products = pl.col(data["item"]).str.contains("^[0-9]{5}[A-Z]{0,2}$")
    listed.agg(first).filter(products).write_parquet(folder / "items.parquet")
    data |= {"interactions": os.path.relpath(log, folder), "items": {**data["items"], "path": "items.parquet"}}
    values |= {"evaluation": {"part": part}, "seed": seed, "teacher": {**values.get("teacher", {}), **teacher}}
    return Config.of(values, folder=folder)


def score_by(scorer: AnyScorer, task: str, data: LearningData) -> Score:
    """A trained model as `edgerec.evaluation.cold_start` asks it."""
    at = [t.name for t in scorer.tasks].index(task)
    sessions = data.evaluation.sessions
    assert sessions is not None

    def score(rows: Int) -> Scores:
        return scorer.log_probs(sessions.requests, rows)[:, at]

    return score


def hashed_scorer(config: Config, run_dir: Path, data: LearningData) -> TorchScorer:
    """The pruned student, with rows for the cold-start items that the bundle makes of their descriptions."""
    scorer = Run(config, run_dir, Silent()).scorer("pruned", data)
    assert isinstance(scorer, TorchScorer)
    table, prior = scorer.items[0]
    words = ColdStartTable.from_bytes((run_dir / "bundle" / COLD_START).read_bytes())
    n = data.evaluation.n_seen
    texts, attributes, numbers = described(data)
    rows, priors = words.rows(texts[n:], attributes[n:], numbers[n:])
    codes, scales = quantize_rows(rows)
    scorer.items[0] = (
        torch.cat([table[:n], torch.from_numpy(codes * scales[:, None])]),
        torch.cat([prior[:n], torch.from_numpy(priors)]),
    )
    return scorer


def scorers_of(until: str, config: Config, run_dir: Path, data: LearningData) -> dict[str, AnyScorer]:
    """The models that the stages up to `until` leave."""
    models = STAGES[: STAGES.index(MADE_BY[until]) + 1]
    scorers = {model: Run(config, run_dir, Silent()).scorer(model, data) for model in models}
    return scorers | ({HASHED: hashed_scorer(config, run_dir, data)} if until == "quantize" else {})


def table_of(task: str, report: ModelMetrics) -> str:
    """Each scorer's metrics, and by how much it beats chance."""
    chance = report["chance"]
    rows = []
    for name, metrics in report.items():
        margins = (metrics[m].minus(chance[m]) for m in chance)
        values = (f"{metrics[m].value:.4f}" for m in chance)
        rows.append([name, *values, *(f"{d.value:+.4f} ± {d.se:.4f}" for d in margins)])
    return format_table((f"{task}: {chance['mrr'].n} customers", *chance, *(f"{m} - chance" for m in chance)), rows)


def evaluate(config: Config, run_dir: Path, until: str) -> dict[str, Any]:
    """Print a table for each task; the same as JSON."""
    progress = progress_for()
    pipeline.run(config, run_dir, progress, until=until)
    data = Run(config, run_dir, progress).learning_data(config.evaluation.part)
    scorers = scorers_of(until, config, run_dir, data)
    record = {}
    for task in data.tasks:
        if task.kind == "retrieval":
            scores = {name: score_by(scorer, task.name, data) for name, scorer in scorers.items()}
            report = cold_start_report(data, task, scores)
            record[task.name] = {name: {m: e.to_json() for m, e in metrics.items()} for name, metrics in report.items()}
            print(table_of(task.name, report) + "\n")
    return record


def main(arguments: Sequence[str]) -> int:
    """Print a table for each task and write cold_start.json."""
    parser = Parser(__name__, __doc__)
    add_out(parser, "cold-start")
    parser.add_argument("--part", choices=("valid", "test"), default="valid", help="the evaluation split")
    parser.add_argument("--until", choices=tuple(MADE_BY), default="train", help="the last stage that runs")
    parser.add_argument("--seed", type=int, default=0)
    add_teacher(parser)
    options = parser.parse_args(arguments)
    folder = options.out.resolve()
    config = settings(folder, options.part, options.seed, options.teacher)
    record = evaluate(config, folder / options.part, options.until)
    (folder / options.part / "cold_start.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    return 0
