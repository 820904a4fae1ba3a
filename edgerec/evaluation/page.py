"""The report as one HTML page that needs nothing else: no script, no network; light, dark, and on paper."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from edgerec.evaluation.examples import Entry, Example
from edgerec.evaluation.findings import Findings
from edgerec.evaluation.first_screen import answer_table, first_screen
from edgerec.evaluation.report import STAGES, Report, Table, figure, segments_in_order

__all__ = ["EXAMPLES", "RUNTIMES", "Drawn", "page", "redraw", "write_page"]

EXAMPLES = "examples.json"
"""Beside report.json, never in a bundle: it holds histories of people."""
RUNTIMES = "runtimes.json"
"""Beside report.json: what `tools/benchmark runtimes` measured."""
ABLATED = {
    "teacher": "Ablations of the teacher: change of each metric on the validation split; bars are 95 % intervals.",
    "student": "Ablations of the student: change of each metric on the validation split; bars are 95 % intervals.",
}
"""Captions by what was trained again, see `edgerec.experiments.ablation`."""
OPEN_TABLES = 1
"""The first tables are shown, the others are folded."""


@dataclass(frozen=True)
class Drawn:
    """A plot as SVG, see `edgerec.evaluation.plots.Plot`."""

    name: str
    caption: str
    panels: tuple[str, ...]
    folded: str = ""


def write_page(report: Report, folder: Path) -> None:
    """Write report.html, and the plots as plots/NAME-PANEL.png. The page shows what other commands left in `folder`."""
    from edgerec.evaluation.plots import Plot, ablations, plots, svg, write_png

    (folder / "plots").mkdir(parents=True, exist_ok=True)
    changed = {what: of for what, of in (_read(folder / "ablations.json") or {}).items() if what in ABLATED}
    more = (
        Plot(f"ablations-{what}", ABLATED[what] + _earlier(of, report), dict(ablations(of)))
        for what, of in changed.items()
        if of["changes"]
    )
    drawn = []
    for plot in (*plots(report), *more):
        panels = []
        for label, panel in plot.panels.items():
            name = f"{plot.name}-{_plain(label)}"
            panels.append(svg(panel, name))
            write_png(panel, folder / "plots" / f"{name}.png")
        drawn.append(Drawn(plot.name, plot.caption, tuple(panels), plot.folded))
    others = (EXAMPLES, "transfer.json", "online.json", RUNTIMES)
    text = page(report, drawn, *(_read(folder / name) for name in others))
    (folder / "report.html").write_text(text, encoding="utf-8")


def _plain(label: str) -> str:
    """A label as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", label)


def redraw(folder: Path) -> None:
    """Write the page again, after another command has written beside report.json; nothing without a report."""
    if (folder / "report.json").is_file():
        write_page(Report.read(folder), folder)


def page(
    report: Report,
    drawn: Sequence[Drawn] = (),
    examples: Sequence[Example] | None = None,
    transfer: Mapping[str, Any] | None = None,
    online: Mapping[str, Any] | None = None,
    runtimes: Mapping[str, Any] | None = None,
) -> str:
    """The page."""
    changed = [plot for plot in drawn if plot.name.startswith("ablations")]
    gained = [*_of(drawn, "inputs"), *map(_figure, changed), *_transfer(transfer, report)]
    sections = (
        ("quality", "Quality and costs", [*_cards(report), *_of(drawn, "chain", "pareto"), *_costs(report)]),
        ("calibration", "Calibration", _of(drawn, "reliability")),
        ("segments", "Segments", [*_of(drawn, "segments"), *_segments(report)]),
        ("ablations", "What each part gains", gained),
        ("examples", "Examples, with what was missed", [*_examples(examples or ())]),
        ("metrics", "All metrics", [*_tables(report)]),
        ("training", "Training", _of(drawn, "learning")),
        ("made", "How it was made", [*_runtimes(runtimes, report), _notes(report), *_settings(report)]),
    )
    shown = [(name, title, "".join(parts)) for name, title, parts in sections if any(parts)]
    links = "".join(f'<a href="#{name}">{title}</a>' for name, title, _ in shown)
    body = [
        first_screen(report, online),
        f'<nav aria-label="Sections">{links}</nav>\n',
        *(f'<section id="{name}"><h2>{title}</h2>\n{inner}</section>\n' for name, title, inner in shown),
    ]
    style = (files("edgerec.evaluation") / "page.css").read_text(encoding="utf-8")
    title = escape(f"{report.name}: {report.part}")
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}<title>{title}</title>\n<style>\n{style}</style></head>\n'
        f"<body><main>\n{''.join(body)}</main></body></html>\n"
    )


def _of(drawn: Sequence[Drawn], *names: str) -> list[str]:
    return [_figure(plot) for name in names for plot in drawn if plot.name == name]


def _figure(plot: Drawn) -> str:
    panels, caption = "".join(plot.panels), f"<figcaption>{escape(plot.caption)}</figcaption>"
    drawing = f'<figure id="plot-{plot.name}"><div class="panels">{panels}</div>{caption}</figure>\n'
    return f"<details><summary>{escape(plot.folded)}</summary>{drawing}</details>\n" if plot.folded else drawing


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _cards(report: Report) -> Iterator[str]:
    """What a report is quoted for."""
    costs, cards = report.costs, []
    if "teacher" in costs and "int8" in costs:
        small, big = costs["int8"], costs["teacher"]
        cards = [
            ("bundle, without the catalogue", f"{small['bytes'] / 1e6:.2f} MB"),
            ("smaller than its teacher", f"{big['bytes'] / small['bytes']:,.0f} times"),
            ("a request, one thread", f"{small['ms']:.2f} ms"),
            ("faster than its teacher", f"{big['ms'] / small['ms']:,.0f} times"),
        ]
    if cards:
        shown = "".join(f"<div><b>{value}</b><span>{what}</span></div>" for what, value in cards)
        yield f'<div class="cards">{shown}</div>\n'
    if report.verdict:
        yield _table(answer_table(Findings.from_json(report.verdict, report.failures)))


def _costs(report: Report) -> Iterator[str]:
    if report.costs:
        rows = tuple(
            (stage, f"{of['bytes']:,.0f}", _memory(of), f"{of['macs']:,.0f}", f"{of['ms']:.2f}")
            for stage, of in report.costs.items()
        )
        columns = ("stage", "bytes", "memory, MB", "multiplications", "ms per request, one thread")
        yield _table(Table("Costs of each stage on this machine", columns, rows, 4))


def _memory(of: Mapping[str, float]) -> str:
    return f"{of['mb']:.1f}" if "mb" in of else "-"


def _earlier(content: Mapping[str, Any], report: Report) -> str:
    """A remark on what another command measured with other settings than the report's."""
    same = content.get("settings") == report.settings
    return "" if same else " Measured with other settings than those of this report."


def _runtimes(content: Mapping[str, Any] | None, report: Report) -> Iterator[str]:
    """What `tools/benchmark runtimes` measured: does the bundle answer alike on other runtimes?"""
    if content:
        rows = [tuple(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()) for row in content["ways"]]
        columns = tuple(content["ways"][0])
        title = f"Runtimes, compared on real histories.{_earlier(content, report)}"
        yield _table(Table(title, columns, tuple(rows), len(columns) - 1))


def _examples(examples: Sequence[Example]) -> Iterator[str]:
    if examples:
        yield "<p>Items in bold are what the user consumed next. The latest events come first.</p>\n"
    for of in examples:
        columns = "".join(
            f"<div><h4>{escape(stage)}</h4><ol>{''.join(_entry(row) for row in rows)}</ol></div>"
            for stage, rows in sorted(of["lists"].items(), key=lambda row: STAGES.index(row[0]))
        )
        why = "".join(f"<li>{escape(', '.join(reasons) or 'popular now')}</li>" for reasons in of["reasons"])
        columns += f"<div><h4>reasons (int8)</h4><ol>{why}</ol></div>"
        listed = {row["title"] for row in of["lists"].get("int8", ())}
        found = sum(row["hit"] for row in of["lists"].get("int8", ()))
        missed = [title for title in of["next"] if title not in listed]
        yield (
            f"<article><h3>{escape(of['task'])}, a user with {of['events']} events: {found} of the bundle's "
            f"{len(listed)} were right</h3>\n"
            f"<p><b>Latest events</b>: {escape('; '.join(of['past']))}</p>\n"
            f"<p><b>Missed</b>: {escape('; '.join(missed) or 'nothing')}</p>\n"
            f'<div class="lists">{columns}</div></article>\n'
        )


def _entry(row: Entry) -> str:
    title = escape(str(row["title"]))
    return f"<li>{f'<b>{title}</b>' if row['hit'] else title}</li>"


def _transfer(content: Mapping[str, Any] | None, report: Report) -> Iterator[str]:
    """What `edgerec transfer` measured: how tasks gain or lose by being learned together."""
    rows = [
        (task, of["metric"], f"{of['alone']['value']:.4f}", strategy, f"{together['value']:.4f}", together["verdict"])
        for task, of in ((content or {}).get("tasks") or {}).items()
        for strategy, together in of["together"].items()
        if None not in (of["alone"]["value"], together["value"])
    ]
    if rows:
        columns = ("task", "metric", "learned alone", "sharing strategy", "learned together", "verdict")
        title = f"Transfer between tasks, validation split.{_earlier(content or {}, report)}"
        yield _table(Table(title, columns, tuple(rows), 0))


def _tables(report: Report) -> Iterator[str]:
    tables = report.tables()
    if tables:
        yield "<p>Value ± standard error. Higher is better, except for logloss, ece and mae.</p>\n"
    for i, table in enumerate(tables):
        yield _table(table, folded=i >= OPEN_TABLES)


def _segments(report: Report) -> Iterator[str]:
    """A row for each segment, task and metric, the stages side by side."""
    stages: dict[str, None] = {}
    found: dict[tuple[str, str, str], dict[str, str]] = {}
    for key in segments_in_order(report.segments):
        stage, _, segment = key.partition(", ")
        stages[stage] = None
        for task, values in report.segments[key].items():
            for name, of in values.items():
                found.setdefault((report.segment_title(segment), task, name), {})[stage] = figure(of)
    if found:
        rows = tuple((*which, *(of.get(stage, "-") for stage in stages)) for which, of in found.items())
        columns = ("segment", "task", "metric", *stages)
        yield _table(Table("Quality by segment", columns, rows, len(stages)), folded=True)


def _notes(report: Report) -> str:
    return "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in report.notes) + "</ul>\n" if report.notes else ""


def _settings(report: Report) -> Iterator[str]:
    if report.versions:
        rows = tuple((name, value) for name, value in report.versions.items())
        yield _table(Table("Versions", ("of", "version"), rows, 0), folded=True)
    if report.settings:
        text = escape(json.dumps(report.settings, indent=1, ensure_ascii=False))
        yield f"<details><summary>Settings</summary><pre>{text}</pre></details>\n"


def _table(table: Table, folded: bool = False) -> str:
    strings = len(table.columns) - table.numbers

    def row(tag: str, cells: Sequence[str]) -> str:
        kinds = ("" if i < strings else ' class="n"' for i in range(len(cells)))
        return "<tr>" + "".join(f"<{tag}{k}>{escape(c)}</{tag}>" for c, k in zip(cells, kinds, strict=True)) + "</tr>"

    head, rows = row("th", table.columns), "\n".join(row("td", cells) for cells in table.rows)
    body = f'<div class="wide" tabindex="0" role="region" aria-label="{escape(table.title)}"><table>\n'
    body += f"<thead>{head}</thead>\n<tbody>\n{rows}\n</tbody></table></div>"
    if folded:
        return f"<details><summary>{escape(table.title)}</summary>{body}</details>\n"
    return f"<h3>{escape(table.title)}</h3>\n{body}\n"
