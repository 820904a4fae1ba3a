"""The report as one HTML page that needs nothing else: no script, no network; light, dark, and on paper."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from edgerec.evaluation.examples import Entry, Example
from edgerec.evaluation.fidelity import RETAINED
from edgerec.evaluation.report import STAGES, Report, Table, figure
from edgerec.evaluation.verdict import combine

__all__ = ["EXAMPLES", "RUNTIMES", "page", "redraw", "write_page"]

EXAMPLES = "examples.json"
"""Beside report.json, never in a bundle: it holds histories of people."""
RUNTIMES = "runtimes.json"
"""Beside report.json: what `tools/benchmark runtimes` measured."""
ABLATED = {
    "teacher": "Ablations of the teacher: change of each metric on the validation split; bars are 95 % intervals.",
    "student": "Ablations of the student: change of each metric on the validation split; bars are 95 % intervals.",
}
"""Captions by what was trained again, see `edgerec.experiments.ablation`."""
OPEN_TABLES = 3
"""The first tables are shown, the others are folded."""


def write_page(report: Report, folder: Path) -> None:
    """Write report.html, and the plots as plots/NAME.png. The page shows what other commands left in `folder`, too."""
    from edgerec.evaluation.plots import ablations, plots, svg, write_png

    (folder / "plots").mkdir(parents=True, exist_ok=True)
    drawn = []
    changed = {what: of for what, of in (_read(folder / "ablations.json") or {}).items() if what in ABLATED}
    more = (
        (f"ablations-{what}", ABLATED[what] + _earlier(of, report), ablations(of))
        for what, of in changed.items()
        if of["changes"]
    )
    for name, caption, plot in (*plots(report), *more):
        drawn.append((name, caption, svg(plot, name)))
        write_png(plot, folder / "plots" / f"{name}.png")
    others = (EXAMPLES, "transfer.json", "online.json", RUNTIMES)
    text = page(report, drawn, *(_read(folder / name) for name in others))
    (folder / "report.html").write_text(text, encoding="utf-8")


def redraw(folder: Path) -> None:
    """Write the page again, after another command has written beside report.json; nothing without a report."""
    if (folder / "report.json").is_file():
        write_page(Report.read(folder), folder)


def page(
    report: Report,
    drawn: Sequence[tuple[str, str, str]] = (),
    examples: Sequence[Example] | None = None,
    transfer: Mapping[str, Any] | None = None,
    online: Mapping[str, Any] | None = None,
    runtimes: Mapping[str, Any] | None = None,
) -> str:
    """The page. `drawn`: name, caption and SVG of each plot."""
    body = [
        _summary(report, online),
        *(
            f'<figure id="{name}" tabindex="0">{drawing}<figcaption>{escape(caption)}</figcaption></figure>'
            for name, caption, drawing in drawn
        ),
        *_costs(report),
        *_runtimes(runtimes, report),
        *_examples(examples or ()),
        *_transfer(transfer, report),
        *_tables(report),
        _notes(report),
        *_settings(report),
    ]
    style = (files("edgerec.evaluation") / "page.css").read_text(encoding="utf-8")
    title = escape(f"{report.name}: {report.part}")
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}<title>{title}</title>\n<style>\n{style}</style></head>\n'
        f"<body><main>\n<h1>{title}</h1>\n{''.join(body)}</main></body></html>\n"
    )


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _summary(report: Report, online: Mapping[str, Any] | None) -> str:
    verdict = combine(report, None)
    word, because = (online["verdict"], online["because"]) if online else (verdict.word, verdict.because)
    cards = "".join(f"<div><b>{escape(value)}</b><span>{escape(what)}</span></div>" for what, value in _cards(report))
    lines = "".join(f"<li>{escape(line)}</li>" for line in because)
    title = {"ship": "Ready to ship", "wait": "Undecided: wait", "stop": "Not ready to ship"}[word]
    return (
        f'<section class="verdict {word}"><h2>{title}</h2><ul>{lines}</ul><div class="cards">{cards}</div></section>\n'
    )


def _cards(report: Report) -> Iterator[tuple[str, str]]:
    costs = report.costs
    if "teacher" in costs and "int8" in costs:
        small, big = costs["int8"], costs["teacher"]
        yield "graphs and weights", f"{small['bytes'] / 1e6:.2f} MB"
        yield "smaller than its teacher", f"{big['bytes'] / small['bytes']:,.0f} times"
        yield "per request, one thread", f"{small['ms']:.2f} ms"
        yield "faster than its teacher", f"{big['ms'] / small['ms']:,.0f} times"
    for task, values in report.fidelity.get("int8 ~ teacher", {}).items():
        if RETAINED in values:
            yield f"of the teacher's quality retained, {task}", f"{values[RETAINED].value:.1%}"


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
        yield "<h2>Example users</h2>\n<p>Items in bold are what the user consumed next.</p>\n"
    for of in examples:
        columns = "".join(
            f"<div><h4>{escape(stage)}</h4><ol>{''.join(_entry(row) for row in rows)}</ol></div>"
            for stage, rows in sorted(of["lists"].items(), key=lambda row: STAGES.index(row[0]))
        )
        why = "".join(f"<li>{escape(', '.join(reasons) or 'popular now')}</li>" for reasons in of["reasons"])
        columns += f"<div><h4>reasons (int8)</h4><ol>{why}</ol></div>"
        past, after = escape("; ".join(of["past"])), escape("; ".join(of["next"]))
        yield (
            f"<article><h3>{of['events']} events</h3>\n<p><b>Latest events</b>: {past}</p>\n"
            f'<p><b>Consumed next</b>: {after}</p>\n<div class="lists">{columns}</div></article>\n'
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
    yield "<h2>All metrics</h2>\n<p>Value ± standard error. Higher is better, except for logloss, ece and mae.</p>\n"
    for i, table in enumerate(report.tables()):
        yield _table(table, folded=i >= OPEN_TABLES)
    if report.segments:
        rows = tuple(
            (segment, task, name, figure(of))
            for segment, tasks in report.segments.items()
            for task, values in tasks.items()
            for name, of in values.items()
        )
        columns = ("stage and segment", "task", "metric", "value")
        yield _table(Table("Quality by segment", columns, rows, 1), folded=True)


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
