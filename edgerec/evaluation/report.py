"""The report of a run: metrics of every stage and of the baselines, as JSON and as tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from edgerec.config import Settings
from edgerec.errors import DataError, deprecated
from edgerec.evaluation.findings import Findings
from edgerec.files import read_json, write_json
from edgerec.metrics import Estimate, MetricTable, TaskMetrics, metrics_from_json, metrics_to_json

__all__ = ["STAGES", "Report", "Table", "figure", "segments_in_order", "settings_of"]

STAGES = ("teacher", "student", "pruned", "int8")
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
FORMAT = 1


@dataclass(frozen=True)
class Table:
    """Cells as strings, ready to be aligned; the last `numbers` columns hold numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: int


@dataclass(frozen=True)
class Report:
    """What `edgerec evaluate` measured; the fields are the keys of report.json.

    Attributes:
        part: the evaluation split, "valid" or "test".
        metrics: by stage, then by baseline.
        paired: differences on the same requests and impressions, by what is subtracted ("int8 - student").
        fidelity: what one stage retains of another ("int8 ~ teacher"), for everyone and by segment ("int8 ~ teacher,
            SEGMENT"), see `edgerec.evaluation.fidelity`.
        reliability: by stage and binary task, bins of impressions: mean probability, rate, number.
        sizes: bytes, by what they are of.
        notes: what was left out, and why.
        reasons: how faithful the bundle's reasons are, see `edgerec.evaluation.faithful`.
        search: how the device search chose the bundle, see `edgerec.experiments.device_search.report`.
        failures: the quality gates of ``[evaluation]`` that are broken.
        verdict: the word, the reasons, and the figures behind them, see `edgerec.evaluation.findings`.
        baselines: settings of each baseline by task, in words; valid chose them.
        beyond: beyond accuracy, by stage.
        segments: by "STAGE, SEGMENT", see `edgerec.evaluation.segment_metrics`.
        gaps: the best value of a column minus its worst, see `edgerec.evaluation.segment_metrics`.
        replay: mean label of the best of some random impressions, by stage.
        off_policy: what the bundle would have earned, by policy, see `edgerec.evaluation.logged_policy`.
        inputs: by what is withheld from the bundle, see `edgerec.evaluation.inputs`.
        runtimes: how far the engines of the runtime agree.
        costs: by stage, see `edgerec.evaluation.costs`.
        curves: by stage and name, (step, value).
        settings, versions: what the report was made with.
        about: when, how and of what it was made, see `edgerec.evaluation.about`.
    """

    name: str
    part: str
    metrics: MetricTable
    paired: MetricTable = field(default_factory=dict)
    fidelity: MetricTable = field(default_factory=dict)
    reliability: Mapping[str, Mapping[str, Sequence[Sequence[float]]]] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()
    reasons: TaskMetrics = field(default_factory=dict)
    search: Mapping[str, Any] | None = None
    failures: Sequence[str] = ()
    verdict: Mapping[str, Any] = field(default_factory=dict)
    baselines: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    beyond: MetricTable = field(default_factory=dict)
    segments: MetricTable = field(default_factory=dict)
    gaps: MetricTable = field(default_factory=dict)
    replay: MetricTable = field(default_factory=dict)
    off_policy: MetricTable = field(default_factory=dict)
    inputs: MetricTable = field(default_factory=dict)
    runtimes: TaskMetrics = field(default_factory=dict)
    costs: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    curves: Mapping[str, Mapping[str, Sequence[Sequence[float]]]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    def with_search(self, search: Mapping[str, Any]) -> Report:
        """The same report with how the device search chose the bundle."""
        return replace(self, search=search)

    def to_json(self) -> dict[str, Any]:
        """The content of report.json."""
        kinds = get_type_hints(Report)
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {"format": FORMAT} | {name: _to_json(value, kinds[name]) for name, value in values.items()}

    def sealed(self) -> dict[str, Any]:
        """What goes into the bundle: all that is the same whenever and wherever it is built; no times, no curves."""
        costs = {stage: {k: of[k] for k in ("bytes", "macs") if k in of} for stage, of in self.costs.items()}
        verdict = Findings.from_json(self.verdict, self.failures).without_times().to_json() if self.verdict else {}
        about = {key: of for key, of in self.about.items() if key not in ("made", "command")}
        kept = {"costs": costs, "curves": {}, "settings": {}, "versions": {}, "verdict": verdict, "about": about}
        return self.to_json() | kept

    @classmethod
    def read(cls, folder: Path) -> Report:
        """The report that `write` left in `folder`; names of earlier versions are read with a warning.

        Raises:
            DataError: there is none.
        """
        path = folder / "report.json"
        if not path.is_file():
            raise DataError(f"{path}: not there; run: edgerec evaluate")
        return cls.from_json(read_json(path), path)

    @classmethod
    def from_json(cls, values: Mapping[str, Any], where: Path) -> Report:
        """What `to_json` gave, in this version or an earlier one; `where` is named in warnings."""
        kinds, current = get_type_hints(Report), _with_current_names(values, where)
        return cls(**{f.name: _from_json(current[f.name], kinds[f.name]) for f in fields(cls) if f.name in current})

    def write(self, folder: Path) -> None:
        """Write report.json; see `edgerec.evaluation.page` for the page."""
        write_json(folder / "report.json", self.to_json(), sort_keys=False)

    def tables(self) -> list[Table]:
        """Metrics, differences, fidelity and sizes; tasks that have the same metrics share a table."""
        tables = [
            *_grouped(self.metrics, "", "model", signed=False),
            *_grouped(self.paired, "Paired differences: ", "difference", signed=True),
            *_grouped(self.beyond, "Beyond accuracy, top 10: ", "model", signed=False),
            *_grouped(self.fidelity, "Fidelity of one stage to another: ", "stages", signed=False),
            *_grouped(self.replay, "Replay of random exposure, mean label: ", "model", signed=False),
            *_grouped(
                self.off_policy, "Off-policy value by the log's propensities, mean label: ", "policy", signed=False
            ),
            *_grouped(self.inputs, "Change of int8 without a part of the request: ", "request", signed=True),
            *_grouped(self.gaps, "Gap between the best and the worst group, int8: ", "groups", signed=True),
        ]
        for title, values in (
            ("Faithfulness of the reasons: utility of the best item without a past item", self.reasons),
            ("Agreement of the runtime's engines", self.runtimes),
        ):
            if values:
                rows = tuple((name, figure(estimate)) for name, estimate in values.items())
                tables.append(Table(title, ("measure", "share"), rows, 1))
        if self.baselines:
            chosen = tuple((name, task, how) for name, of in self.baselines.items() for task, how in of.items())
            title = "Settings of the baselines, chosen on valid"
            tables.append(Table(title, ("baseline", "task", "settings"), chosen, 0))
        if self.sizes:
            rows = tuple((name, f"{size:,}") for name, size in self.sizes.items())
            tables.append(Table("Sizes", ("of", "value"), rows, numbers=1))
        return tables if self.search is None else [*tables, *_search_tables(self.search)]

    def segment_title(self, segment: str) -> str:
        """The name of a segment; that of a weekday which the log's times gave with the day."""
        timed = self.settings.get("data", {}).get("context", {}).get("from_time", ())
        _, equals, value = segment.partition("weekday = ")
        return f"{segment} ({DAYS[int(value)]})" if equals and "weekday" in timed else segment

    def lines(self) -> list[str]:
        """What was left out, and why; the metrics are in `tables`."""
        return list(self.notes)


def settings_of(config: Settings) -> dict[str, Any]:
    """The settings that a report was made with, without defaults."""
    return config.model_dump(mode="json", exclude_defaults=True)


def segments_in_order(names: Iterable[str]) -> list[str]:
    """Names such as "hour = 9" with the numbers of a column ascending; all else stays where it is.

    >>> segments_in_order(["int8, all", "int8, hour = 12", "int8, hour = 9", "int8, tab = 1"])
    ['int8, all', 'int8, hour = 9', 'int8, hour = 12', 'int8, tab = 1']
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        column, equals, _ = name.partition(" = ")
        groups.setdefault(column if equals else name, []).append(name)
    for group in groups.values():
        values = [name.partition(" = ")[2] for name in group]
        if all(value.lstrip("-").isdecimal() for value in values):
            group.sort(key=lambda name: int(name.partition(" = ")[2]))
    return [name for group in groups.values() for name in group]


# ------------------------------------------------------------------------------------------------ JSON

OLD_KEYS = {"fit": "search"}
OLD_METRICS = {"kept": "retained"}
OLD_BASELINES = {"text_likeness": "text_similarity"}
OLD_SUFFIX, SUFFIX = "_arrivals", "_cold_start"


def _to_json(value: Any, kind: Any) -> Any:
    if kind == MetricTable:
        return metrics_to_json(value)
    if kind == TaskMetrics:
        return {name: estimate.to_json() for name, estimate in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _from_json(value: Any, kind: Any) -> Any:
    if kind == MetricTable:
        return metrics_from_json(value)
    if kind == TaskMetrics:
        return {name: Estimate.from_json(estimate) for name, estimate in value.items()}
    return value


def _with_current_names(values: Mapping[str, Any], where: Path) -> dict[str, Any]:
    """The content of a report.json with the keys, tasks, baselines and metrics of earlier versions renamed."""
    kinds = get_type_hints(Report)
    renamed: dict[str, str] = {}

    def new(old: str, names: Mapping[str, str]) -> str:
        name = names.get(old, old)
        if names is not OLD_KEYS and old.endswith(OLD_SUFFIX):
            name = old.removesuffix(OLD_SUFFIX) + SUFFIX
        if name != old:
            renamed[old] = name
        return name

    current = {new(key, OLD_KEYS): value for key, value in values.items()}
    for key, table in current.items():
        if kinds.get(key) == MetricTable:
            current[key] = {
                new(model, OLD_BASELINES): {
                    new(task, {}): {new(metric, OLD_METRICS): estimate for metric, estimate in of.items()}
                    for task, of in tasks.items()
                }
                for model, tasks in table.items()
            }
    if renamed:
        deprecated(", ".join(renamed), ", ".join(renamed.values()), where)
    return current


# ------------------------------------------------------------------------------------------------ tables


def _grouped(table: MetricTable, title: str, first: str, signed: bool) -> Iterator[Table]:
    """A table for every set of metrics that some tasks share; a row is a task and a stage."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for task in dict.fromkeys(task for tasks in table.values() for task in tasks):
        names = dict.fromkeys(name for tasks in table.values() for name in tasks.get(task, ()))
        groups.setdefault(_without_other_lengths(tuple(names)), []).append(task)
    for shown, group in groups.items():
        rows = tuple(
            (task, stage, *(figure(tasks[task].get(name), signed) for name in shown))
            for task in group
            for stage, tasks in table.items()
            if task in tasks
        )
        yield Table(title + ", ".join(group), ("task", first, *shown), rows, numbers=len(shown))


def _search_tables(search: Mapping[str, Any]) -> Iterator[Table]:
    """The Pareto front of a device search, the choice, and how accurate the cost model was."""
    rows = [row for row in search["trials"] if row["front"]]
    keys = list(rows[0]["settings"]) if rows else []
    yield Table(
        f"Pareto front of quality, size and latency for {search['device']}. Chosen since {search['why']}",
        (*keys, "retained", "MB", "p95 ms", "chosen"),
        tuple(
            (
                *(str(row["settings"][key]) for key in keys),
                f"{row['quality']:.1%}", f"{row['costs']['bundle_mb']:.3f}", f"{row['costs']['p95_ms']:.2f}",
                "yes" if row["settings"] == search["chosen"] else "",
            )
            for row in rows
        ),
        numbers=4,
    )  # fmt: skip
    yield Table(
        "Costs on this machine, as the cost model expected and as measured",
        ("cost", "expected", "measured"),
        tuple((name, f"{of['expected']:.3f}", f"{of['measured']:.3f}") for name, of in search["checked"].items()),
        numbers=2,
    )


def _without_other_lengths(names: tuple[str, ...]) -> tuple[str, ...]:
    """What fits on a screen: recall of the longest list, other ranking metrics of the shortest, and all the rest."""
    cuts = [int(name.partition("@")[2]) for name in names if "@" in name]
    return tuple(
        name
        for name in names
        if "@" not in name or int(name.partition("@")[2]) == (max(cuts) if name.startswith("recall@") else min(cuts))
    )


def figure(estimate: Estimate | None, signed: bool = False) -> str:
    """Value ± standard error, with as many decimals as its size needs."""
    if estimate is None or not math.isfinite(estimate.value):
        return "-"
    sign = "+" if signed else ""
    decimals = 4 if abs(estimate.value) < 10 else 0
    value = f"{estimate.value:{sign},.{decimals}f}"
    return f"{value} ±{estimate.se:,.{decimals}f}" if math.isfinite(estimate.se) else value
