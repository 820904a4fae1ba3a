"""The report as one HTML page that needs nothing else: no script, no network; light, dark, and on paper."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from edgerec.evaluation.report import STAGES, Report, Table, figure
from edgerec.evaluation.verdict import combine

__all__ = ["EXAMPLES", "RUNTIMES", "page", "redraw", "write_page"]

EXAMPLES = "examples.json"
"""Beside report.json, never in a bundle: people's histories."""
RUNTIMES = "runtimes.json"
"""Beside report.json: what `tools/benchmark runtimes` found."""
ABLATED = {
    "teacher": "Ablations of the teacher: what each change adds on valid; bars are intervals of 95 %.",
    "student": "Ablations of the student: what each change adds on valid; bars are intervals of 95 %.",
}
"""Caption by what was trained anew, see `edgerec.experiments.ablation`."""
_OPEN = 3
"""Tables that are not folded."""


def write_page(report: Report, folder: Path) -> None:
    """Write report.html, and the plots as plots/NAME.png; what other commands left in `folder` is shown too."""
    from edgerec.evaluation.plots import ablations, plots, svg, write_png

    (folder / "plots").mkdir(parents=True, exist_ok=True)
    drawn = []
    changed = {what: of for what, of in (_read(folder / "ablations.json") or {}).items() if what in ABLATED}
    more = (
        (f"ablations-{what}", ABLATED[what] + _earlier(of, report), ablations(of))
        for what, of in changed.items()
        if of["changes"]
    )
    for name, caption, of in (*plots(report), *more):
        drawn.append((name, caption, svg(of, name)))
        write_png(of, folder / "plots" / f"{name}.png")
    others = (EXAMPLES, "transfer.json", "online.json", RUNTIMES)
    text = page(report, drawn, *(_read(folder / name) for name in others))
    (folder / "report.html").write_text(text, encoding="utf-8")


def redraw(folder: Path) -> None:
    """Write the page anew, with what another command has left beside report.json; nothing where there is no report."""
    if (folder / "report.json").is_file():
        write_page(Report.read(folder), folder)


def page(
    report: Report,
    drawn: Sequence[tuple[str, str, str]] = (),
    examples: Sequence[Mapping[str, Any]] | None = None,
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
    word = online["verdict"] if online else verdict.word
    because = online["because"] if online else verdict.because
    cards = "".join(f"<div><b>{escape(value)}</b><span>{escape(what)}</span></div>" for what, value in _cards(report))
    lines = "".join(f"<li>{escape(line)}</li>" for line in because)
    said = {"ship": "Fit to ship", "wait": "Not decided", "stop": "Not fit to ship"}[word]
    return (
        f'<section class="verdict {word}"><h2>{said}</h2><ul>{lines}</ul><div class="cards">{cards}</div></section>\n'
    )


def _cards(report: Report) -> Iterator[tuple[str, str]]:
    costs = report.costs
    if "teacher" in costs and "int8" in costs:
        small, big = costs["int8"], costs["teacher"]
        yield "graphs and weights", f"{small['bytes'] / 1e6:.2f} MB"
        yield "smaller than its teacher", f"{big['bytes'] / small['bytes']:,.0f} times"
        yield "a request, one thread", f"{small['ms']:.2f} ms"
        yield "faster than its teacher", f"{big['ms'] / small['ms']:,.0f} times"
    for task, figures in report.fidelity.get("int8 ~ teacher", {}).items():
        if "kept" in figures:
            yield f"of the teacher's {task} kept", f"{figures['kept'].value:.1%}"


def _costs(report: Report) -> Iterator[str]:
    if report.costs:
        rows = tuple(
            (stage, f"{of['bytes']:,.0f}", _memory(of), f"{of['macs']:,.0f}", f"{of['ms']:.2f}")
            for stage, of in report.costs.items()
        )
        columns = ("stage", "bytes", "memory, MB", "multiplications of matrices", "ms a request, one thread")
        yield _table(Table("What each stage costs here", columns, rows, 4))


def _memory(of: Mapping[str, float]) -> str:
    return f"{of['mb']:.1f}" if "mb" in of else "-"


def _earlier(found: Mapping[str, Any], report: Report) -> str:
    """Said of what another command found with other settings than the report's."""
    return "" if found.get("settings") == report.settings else " Found with other settings than the report's."


def _runtimes(found: Mapping[str, Any] | None, report: Report) -> Iterator[str]:
    """What `tools/benchmark runtimes` measured of the other ways to ask the bundle."""
    if found:
        rows = [tuple(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()) for row in found["ways"]]
        columns = tuple(found["ways"][0])
        title = f"Ways to ask the bundle, real histories.{_earlier(found, report)}"
        yield _table(Table(title, columns, tuple(rows), len(columns) - 1))


def _examples(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if found:
        yield "<h2>Some users</h2>\n<p>Bold: what the user then had.</p>\n"
    for of in found:
        columns = "".join(
            f"<div><h4>{escape(stage)}</h4><ol>{''.join(_entry(row) for row in rows)}</ol></div>"
            for stage, rows in sorted(of["lists"].items(), key=lambda row: STAGES.index(row[0]))
        )
        why = "".join(f"<li>{escape(', '.join(reasons) or 'popular now')}</li>" for reasons in of["reasons"])
        columns += f"<div><h4>why (int8)</h4><ol>{why}</ol></div>"
        yield (
            f"<article><h3>{of['events']} events</h3>\n<p><b>Before</b>: {escape('; '.join(of['past']))}</p>\n"
            f'<p><b>Then</b>: {escape("; ".join(of["next"]))}</p>\n<div class="lists">{columns}</div></article>\n'
        )


def _entry(row: Mapping[str, Any]) -> str:
    title = escape(str(row["title"]))
    return f"<li>{f'<b>{title}</b>' if row['hit'] else title}</li>"


def _transfer(found: Mapping[str, Any] | None, report: Report) -> Iterator[str]:
    """What `edgerec transfer` measured of the tasks on each other."""
    rows = [
        (task, of["metric"], f"{of['alone']['value']:.4f}", way, f"{together['value']:.4f}", together["verdict"])
        for task, of in ((found or {}).get("tasks") or {}).items()
        for way, together in of["together"].items()
        if None not in (of["alone"]["value"], together["value"])
    ]
    if rows:
        columns = ("task", "figure", "alone", "learned together by", "together", "verdict")
        title = f"What tasks do to each other, valid.{_earlier(found or {}, report)}"
        yield _table(Table(title, columns, tuple(rows), 0))


def _tables(report: Report) -> Iterator[str]:
    yield "<h2>All figures</h2>\n<p>Value ± standard error. Higher is better, except for logloss, ece and mae.</p>\n"
    for i, table in enumerate(report.tables()):
        yield _table(table, folded=i >= _OPEN)
    if report.segments:
        rows = tuple(
            (part, task, name, figure(of))
            for part, tasks in report.segments.items()
            for task, figures in tasks.items()
            for name, of in figures.items()
        )
        yield _table(Table("Quality by part", ("stage and part", "task", "figure", "value"), rows, 1), folded=True)


def _notes(report: Report) -> str:
    return "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in report.notes) + "</ul>\n" if report.notes else ""


def _settings(report: Report) -> Iterator[str]:
    if report.versions:
        rows = tuple((name, value) for name, value in report.versions.items())
        yield _table(Table("Made with", ("what", "version"), rows, 0), folded=True)
    if report.settings:
        text = escape(json.dumps(report.settings, indent=1, ensure_ascii=False))
        yield f"<details><summary>Settings</summary><pre>{text}</pre></details>\n"


def _table(table: Table, folded: bool = False) -> str:
    texts = len(table.columns) - table.numbers

    def row(tag: str, cells: Sequence[str]) -> str:
        kinds = ("" if i < texts else ' class="n"' for i in range(len(cells)))
        return "<tr>" + "".join(f"<{tag}{k}>{escape(c)}</{tag}>" for c, k in zip(cells, kinds, strict=True)) + "</tr>"

    head, rows = row("th", table.columns), "\n".join(row("td", cells) for cells in table.rows)
    body = f'<div class="wide" tabindex="0" role="region" aria-label="{escape(table.title)}"><table>\n'
    body += f"<thead>{head}</thead>\n<tbody>\n{rows}\n</tbody></table></div>"
    if folded:
        return f"<details><summary>{escape(table.title)}</summary>{body}</details>\n"
    return f"<h3>{escape(table.title)}</h3>\n{body}\n"
