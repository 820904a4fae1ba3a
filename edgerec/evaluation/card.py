"""A model card: filled in from the report; what only people know is left as a TODO.

Source of the form: Mitchell et al., FAT* 2019.
"""

from __future__ import annotations

import math

from edgerec.data import Dataset
from edgerec.evaluation.report import Report, figure
from edgerec.evaluation.verdict import combine
from edgerec.metrics import main_metric

__all__ = ["model_card"]


def model_card(report: Report, dataset: Dataset, version: int) -> str:
    """Markdown; lines that begin with "TODO" are for whoever releases the bundle."""
    meta, verdict = dataset.meta, combine(report, None)
    tasks = "\n".join(f"- `{task.name}`: {task.kind}" for task in meta.tasks)
    rows = ", ".join(f"{part} {n:,}" for part, n in meta.rows.items())
    return f"""# Model card: {report.name} {version}

## What it is

A recommender that runs on the device, made by edgerec {report.versions.get("edgerec", "")}: distilled, pruned, INT8.

{tasks}

## Intended use

TODO: in which app, for whom, and what it must not be used for.

## Data

{meta.n_users:,} users, {meta.n_items:,} items; rows: {rows}. Evaluated on {report.part}.

TODO: where the log comes from, over which time, what users agreed to, and who is missing in it.

## Quality

| task | metric | teacher | bundle |
| --- | --- | --- | --- |
{_quality(report)}

Verdict: {verdict.word}; {"; ".join(verdict.because)}.

## Quality by group

{_gaps(report)}

## Costs

{_costs(report)}, on the machine that evaluated it.

## Risks

TODO: what a wrong recommendation costs a user; how feedback can narrow what is shown; who receives complaints.
"""


def _quality(report: Report) -> str:
    teacher = report.metrics.get("teacher", {})
    return "\n".join(
        f"| {task} | {name} | {figure(teacher.get(task, {}).get(name))} | {figure(values[name])} |"
        for task, values in report.metrics.get("int8", {}).items()
        if (name := main_metric(values)) is not None
    )


def _gaps(report: Report) -> str:
    gaps = [
        f"- {groups}, {task}: {figure(gap, signed=True)} in {name}"
        for groups, tasks in report.gaps.items()
        for task, values in tasks.items()
        for name, gap in values.items()
        if math.isfinite(gap.value)
    ]
    return "\n".join(gaps) or "No groups were compared: name user attributes in evaluation.segments."


def _costs(report: Report) -> str:
    costs = report.costs.get("int8")
    if not costs:
        return "unknown"
    return f"{costs['bytes']:,.0f} bytes of graphs and weights, {costs['ms']:.2f} ms per request"
