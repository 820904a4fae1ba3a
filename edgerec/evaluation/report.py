"""The evidence: every stage beside the baselines, as JSON and as tables."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from edgerec.config import Settings
from edgerec.errors import DataError
from edgerec.files import write_json
from edgerec.metrics import Estimate

__all__ = ["STAGES", "Metrics", "Report", "Table", "figure", "main_figure", "settings_of", "to_json"]

STAGES = ("teacher", "student", "pruned", "int8")
MAIN = ("ndcg@10", "auc", "xauc", "capped_recall@10")
"""The figure by which a task is shown, the first that it has."""
Metrics: TypeAlias = Mapping[str, Mapping[str, Mapping[str, Estimate]]]
"""By stage (or baseline), task and metric."""


@dataclass(frozen=True)
class Table:
    """Cells as text, ready to be aligned; `numbers` counts the columns on the right that hold numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: int


@dataclass(frozen=True)
class Report:
    """What `evaluate` found.

    `metrics` is in the order of the rows: stages first, then baselines. `paired` holds differences on the same cases,
    keyed by what is subtracted ("int8 - student"). `fidelity` says what one stage keeps of another ("int8 ~ teacher"),
    for everyone and for parts, see `edgerec.evaluation.fidelity`. `reliability` holds, by stage and binary task, bins
    of rows: mean probability, rate, number. `sizes` are bytes or counts, keyed by what they are. `notes` say what was
    left out and why. `reasons` holds what `edgerec.evaluation.faithful` found. `failures` are the gates of
    ``[evaluation]`` that do not hold. `beyond` is by stage and task, see `edgerec.metrics.beyond_accuracy`; `segments`
    by "STAGE, PART" and `gaps` by column, see `edgerec.evaluation.segments`. `fit` tells how the bundle was found, see
    `edgerec.experiments.device_search.report`. `replay` is by stage and task, of random exposure; `runtimes` says
    whether they agree.
    `inputs` is by what is withheld and by task, see `edgerec.evaluation.inputs`.
    `costs` is by stage, see `edgerec.evaluation.costs`; `curves` by stage and name, (step, value). `settings` and
    `versions` say what it was made with.
    """

    name: str
    part: str
    metrics: Metrics
    paired: Metrics = field(default_factory=dict)
    fidelity: Metrics = field(default_factory=dict)
    reliability: Mapping[str, Mapping[str, Sequence[Sequence[float]]]] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()
    reasons: Mapping[str, Estimate] = field(default_factory=dict)
    fit: Mapping[str, Any] | None = None
    failures: tuple[str, ...] = ()
    beyond: Metrics = field(default_factory=dict)
    segments: Metrics = field(default_factory=dict)
    gaps: Metrics = field(default_factory=dict)
    replay: Metrics = field(default_factory=dict)
    inputs: Metrics = field(default_factory=dict)
    runtimes: Mapping[str, Estimate] = field(default_factory=dict)
    costs: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    curves: Mapping[str, Mapping[str, Sequence[Sequence[float]]]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def with_fit(self, fit: Mapping[str, Any]) -> Report:
        """The same, and how the bundle was found: the content of fit.json."""
        return replace(self, fit=fit)

    def to_json(self) -> dict[str, Any]:
        """The content of report.json."""
        return {
            "format": 1,
            "name": self.name,
            "part": self.part,
            "metrics": to_json(self.metrics),
            "paired": to_json(self.paired),
            "fidelity": to_json(self.fidelity),
            "reliability": {stage: dict(tasks) for stage, tasks in self.reliability.items()},
            "sizes": dict(self.sizes),
            "notes": list(self.notes),
            "reasons": {name: found.to_json() for name, found in self.reasons.items()},
            "fit": None if self.fit is None else dict(self.fit),
            "failures": list(self.failures),
            "beyond": to_json(self.beyond),
            "segments": to_json(self.segments),
            "gaps": to_json(self.gaps),
            "replay": to_json(self.replay),
            "inputs": to_json(self.inputs),
            "runtimes": {name: found.to_json() for name, found in self.runtimes.items()},
            "costs": {stage: dict(of) for stage, of in self.costs.items()},
            "curves": {stage: {name: list(c) for name, c in of.items()} for stage, of in self.curves.items()},
            "settings": dict(self.settings),
            "versions": dict(self.versions),
        }

    def sealed(self) -> dict[str, Any]:
        """What goes into the bundle: all that is the same whenever and wherever it is built; no times, no curves."""
        costs = {stage: {k: of[k] for k in ("bytes", "macs") if k in of} for stage, of in self.costs.items()}
        return self.to_json() | {"costs": costs, "curves": {}, "settings": {}, "versions": {}}

    @classmethod
    def read(cls, folder: Path) -> Report:
        """The report that `write` left in `folder`.

        Raises:
            DataError: there is none.
        """
        path = folder / "report.json"
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DataError(f"{path}: not there; run: edgerec evaluate") from None
        metrics, paired, fidelity = (_from_json(values[key]) for key in ("metrics", "paired", "fidelity"))
        return cls(
            values["name"],
            values["part"],
            metrics,
            paired,
            fidelity,
            reliability=values["reliability"],
            sizes=values["sizes"],
            notes=values["notes"],
            reasons={name: Estimate.from_json(e) for name, e in values.get("reasons", {}).items()},
            fit=values.get("fit"),
            failures=tuple(values.get("failures", ())),
            beyond=_from_json(values.get("beyond", {})),
            segments=_from_json(values.get("segments", {})),
            gaps=_from_json(values.get("gaps", {})),
            replay=_from_json(values.get("replay", {})),
            inputs=_from_json(values.get("inputs", {})),
            runtimes={name: Estimate.from_json(e) for name, e in values.get("runtimes", {}).items()},
            **{name: values.get(name, {}) for name in ("costs", "curves", "settings", "versions")},
        )

    def write(self, folder: Path) -> None:
        """Write report.json; see `edgerec.evaluation.page` for the page."""
        write_json(folder / "report.json", self.to_json(), sort_keys=False)

    def tables(self) -> list[Table]:
        """One table per group of tasks that share their metrics, then the differences, the fidelity and the sizes."""
        tables = [
            *_grouped(self.metrics, "", "model", signed=False),
            *_grouped(self.paired, "Differences on the same cases: ", "difference", signed=True),
            *_grouped(self.beyond, "Beyond accuracy, ten best: ", "model", signed=False),
            *_grouped(self.fidelity, "What one stage keeps of another: ", "stages", signed=False),
            *_grouped(self.replay, "Replay of random exposure, mean label: ", "model", signed=False),
            *_grouped(self.inputs, "What int8 gains or loses when it is not told all: ", "asked", signed=True),
            *_grouped(self.gaps, "Best group less worst, int8: ", "groups", signed=True),
        ]
        if self.reasons:
            rows = tuple((name, figure(found, signed=False)) for name, found in self.reasons.items())
            tables.append(Table("Reasons: what the best item loses without a past item", ("what", "share"), rows, 1))
        if self.runtimes:
            rows = tuple((name, figure(found)) for name, found in self.runtimes.items())
            tables.append(Table("Runtimes", ("what", "share"), rows, 1))
        if self.sizes:
            rows = tuple((name, f"{size:,}") for name, size in self.sizes.items())
            tables.append(Table("Sizes", ("what", "value"), rows, numbers=1))
        return tables if self.fit is None else [*tables, *_fit_tables(self.fit)]

    def lines(self) -> list[str]:
        """What was left out and why; the figures are in `tables`."""
        return list(self.notes)


def to_json(metrics: Metrics) -> dict[str, dict[str, dict[str, dict[str, float | int | None]]]]:
    """Metrics as plain values."""
    return {
        stage: {task: {name: e.to_json() for name, e in found.items()} for task, found in tasks.items()}
        for stage, tasks in metrics.items()
    }


def _from_json(values: Mapping[str, Any]) -> Metrics:
    return {
        stage: {task: {name: Estimate.from_json(e) for name, e in found.items()} for task, found in tasks.items()}
        for stage, tasks in values.items()
    }


def settings_of(config: Settings) -> dict[str, Any]:
    """What a report and what is shown beside it were made with: the settings that are not the defaults."""
    return config.model_dump(mode="json", exclude_defaults=True)


def main_figure(figures: Mapping[str, Estimate]) -> str | None:
    """By which of a task's figures it is shown."""
    return next((name for name in MAIN if name in figures), None)


# ------------------------------------------------------------------------------------------------ tables


def _grouped(metrics: Metrics, title: str, first: str, signed: bool) -> Iterator[Table]:
    """A table for every set of metrics that some tasks share; a row is a task and a stage."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for task in dict.fromkeys(task for tasks in metrics.values() for task in tasks):
        found_by_any = dict.fromkeys(name for tasks in metrics.values() for name in tasks.get(task, ()))
        groups.setdefault(_shown(tuple(found_by_any)), []).append(task)
    for names, group in groups.items():
        rows = tuple(
            (task, stage, *(figure(found[task].get(name), signed) for name in names))
            for task in group
            for stage, found in metrics.items()
            if task in found
        )
        yield Table(title + ", ".join(group), ("task", first, *names), rows, numbers=len(names))


def _fit_tables(fit: Mapping[str, Any]) -> Iterator[Table]:
    """The front of a search, what was chosen, and how far the cost model was off."""
    rows = [row for row in fit["trials"] if row["front"]]
    keys = list(rows[0]["settings"]) if rows else []
    yield Table(
        f"Found for {fit['device']}: nothing better in quality, size and time alike. Chosen since {fit['why']}",
        (*keys, "kept", "MB", "p95 ms", "chosen"),
        tuple(
            (
                *(str(row["settings"][key]) for key in keys),
                f"{row['quality']:.1%}", f"{row['costs']['bundle_mb']:.3f}", f"{row['costs']['p95_ms']:.2f}",
                "yes" if row["settings"] == fit["chosen"] else "",
            )
            for row in rows
        ),
        numbers=4,
    )  # fmt: skip
    checked = fit["checked"].items()
    yield Table(
        "What the cost model expected on this machine, and what was measured",
        ("figure", "expected", "measured"),
        tuple((name, f"{of['expected']:.3f}", f"{of['measured']:.3f}") for name, of in checked),
        numbers=2,
    )


def _shown(names: tuple[str, ...]) -> tuple[str, ...]:
    """What fits on a screen: recall at the longest list, other ranking metrics at the shortest, and all the rest."""
    cuts = [int(name.partition("@")[2]) for name in names if "@" in name]
    return tuple(
        name
        for name in names
        if "@" not in name or int(name.partition("@")[2]) == (max(cuts) if name.startswith("recall@") else min(cuts))
    )


def figure(estimate: Estimate | None, signed: bool = False) -> str:
    """Value ± standard error with as many decimals as its size needs."""
    if estimate is None or not math.isfinite(estimate.value):
        return "-"
    sign = "+" if signed else ""
    decimals = 4 if abs(estimate.value) < 10 else 0
    value = f"{estimate.value:{sign},.{decimals}f}"
    return f"{value} ±{estimate.se:,.{decimals}f}" if math.isfinite(estimate.se) else value
