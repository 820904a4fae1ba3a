"""A model card: what can be filled from the report is, and what only people know is asked for.

Source of the form: Mitchell et al., FAT* 2019.
"""

from __future__ import annotations

import math

from edgerec.data import Dataset
from edgerec.evaluation.report import Report, figure, main_figure
from edgerec.evaluation.verdict import combine

__all__ = ["model_card"]


def model_card(report: Report, dataset: Dataset, version: int) -> str:
    """Markdown; lines that begin with "TODO" are for whoever releases the bundle."""
    meta = dataset.meta
    verdict = combine(report, None)
    tasks = "\n".join(f"- `{task.name}`: {task.kind}" for task in meta.tasks)
    quality = [
        f"| {task} | {name} | {figure(report.metrics['teacher'].get(task, {}).get(name))} | {figure(figures[name])} |"
        for task, figures in report.metrics.get("int8", {}).items()
        if (name := main_figure(figures)) is not None
    ]
    gaps = [
        f"- {groups}, {task}: {figure(of, signed=True)} in {name}"
        for groups, tasks_ in report.gaps.items()
        for task, figures in tasks_.items()
        for name, of in figures.items()
        if math.isfinite(of.value)
    ]
    rows = ", ".join(f"{part} {n:,}" for part, n in meta.rows.items())
    costs = report.costs.get("int8", {})
    weighs = (
        f"{costs['bytes']:,.0f} bytes of graphs and weights, {costs['ms']:.2f} ms a request" if costs else "unknown"
    )
    return f"""# Model card: {report.name} {version}

## What it is

A recommender that runs on the device, made by edgerec {report.versions.get("edgerec", "")}: distilled, pruned, INT8.

{tasks}

## What it is for

TODO: in which app, for whom, and what it must not be used for.

## Data

{meta.n_users:,} users, {meta.n_items:,} items; rows: {rows}. EvaluatedModel on {report.part}.

TODO: where the log comes from, over which time, what users agreed to, and who is missing in it.

## Quality

| task | figure | teacher | bundle |
| --- | --- | --- | --- |
{chr(10).join(quality)}

Verdict: {verdict.word}; {"; ".join(verdict.because)}.

## For whom it is better and worse

{chr(10).join(gaps) or "No groups were compared: name user attributes in evaluation.segments."}

## Costs

{weighs}, on the machine that judged it.

## Risks

TODO: what a wrong recommendation costs a user; how feedback can narrow what is shown; who is told of complaints.
"""
