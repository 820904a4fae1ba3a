"""Tables of our figures beside the published ones, for the screen and for the page of the documentation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgerec.files import read_json, write_json
from edgerec.metrics import Estimate
from tools.benchmarks.published.figures import PUBLISHED
from tools.benchmarks.published.sets import SETS, Part
from tools.benchmarks.shared.command import Table

KEPT = Path(__file__).parent / "results.json"
"""What the page of the documentation holds: by set, our rows of its table."""
PAGE = Path(__file__).parents[2] / "site" / "pages" / "public.md"
STAGES = {
    "teacher": "our teacher",
    "student": "our student, fp32",
    "pruned": "our student, pruned",
    "int8": "our bundle, INT8 by the native engine",
}
COLUMNS = ("model", "learned from", "recall", "NDCG", "bytes", "ms", "source")
Record = Mapping[str, Any]
"""What `tools/benchmark public` stores of one line and seed."""


def table(name: str, part: Part, records: Sequence[Record]) -> Table:
    """The published figures and ours."""
    k = SETS[name].k[-1]
    title = f"{name}, {part}: recall@{k} and NDCG@{k} over the whole catalogue"
    if part == "valid":  # the published figures are of test
        return title, COLUMNS, ours(name, records)
    return title, COLUMNS, [*theirs(name), *ours(name, records)]


def theirs(name: str) -> list[list[str]]:
    """The rows of others."""
    rows = []
    for model, recall, ndcg, source in PUBLISHED[name]:
        rows.append([model, "train", _number(recall), _number(ndcg), "", "", source])
    return rows


def ours(name: str, records: Sequence[Record]) -> list[list[str]]:
    """A row for each line and stage: the mean of the seeds, and the standard error over the requests."""
    k, rows = SETS[name].k[-1], []
    for line in dict.fromkeys(record["line"] for record in records):
        seeds = [record for record in records if record["line"] == line]
        for stage, title in STAGES.items():
            of_stage = [record["metrics"][stage] for record in seeds if stage in record["metrics"]]
            if not of_stage:
                continue
            cells = [_cell([Estimate.from_json(m[f"{metric}@{k}"]) for m in of_stage]) for metric in ("recall", "ndcg")]
            size, ms = "", ""
            if stage == "int8":
                size = f"{max(record['bytes']['student.bin'] for record in seeds):,}"
                ms = f"{np.median([record['ms'] for record in seeds]):.2f}"
            of = "seed" if len(seeds) == 1 else "seeds"
            rows.append([title, line, *cells, size, ms, f"{len(seeds)} {of}"])
    return rows


def _cell(seeds: Sequence[Estimate]) -> str:
    """Mean of the seeds; all have the same requests, so that the error over the requests does not shrink with them."""
    mean = float(np.mean([e.value for e in seeds]))
    return f"{mean:.4f} ±{float(np.mean([e.se for e in seeds])):.4f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def record(name: str, records: Sequence[Record]) -> None:
    """Keep our rows of a set for the page, and write the page's tables."""
    kept = read_json(KEPT) if KEPT.exists() else {}
    kept[name] = ours(name, records)
    write_json(KEPT, kept, ensure_ascii=False)
    write_page()


def write_page() -> None:
    """Write the tables into the page."""
    PAGE.write_text(with_tables(PAGE.read_text("utf-8")), "utf-8")


def with_tables(page: str) -> str:
    """A page whose places for tables, such as ``<!-- table: beauty -->`` up to ``<!-- end -->``, are filled."""
    kept = read_json(KEPT) if KEPT.exists() else {}

    def filled(found: re.Match[str]) -> str:
        name = found[1]
        k = SETS[name].k[-1]
        columns = [c if c not in ("recall", "NDCG") else f"{c}@{k}" for c in COLUMNS]
        lines = [columns, ["---"] * len(columns), *theirs(name), *kept.get(name, [])]
        text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"<!-- table: {name} -->\n\n{text}\n\n<!-- end -->"

    return re.sub(r"<!-- table: (\w+) -->.*?<!-- end -->", filled, page, flags=re.S)
