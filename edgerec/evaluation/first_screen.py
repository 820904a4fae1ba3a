"""The first screen of the report: the verdict, its four answers, the gain over the best baseline, and the budget."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from edgerec.evaluation.fidelity import RETAINED
from edgerec.evaluation.findings import AgainstBaseline, DeviceCost, Findings
from edgerec.evaluation.report import Report, Table
from edgerec.evaluation.verdict import combine

__all__ = ["answer_table", "first_screen"]

TITLES = {"ship": "Ready to ship", "wait": "Undecided: wait", "stop": "Not ready to ship"}
SIGNS = {"yes": "✓", "no": "✕", "partly": "±", "cannot tell": "?"}
TICKS = 5
"""About so many figures below the gain plot."""


def first_screen(report: Report, online: Mapping[str, Any] | None) -> str:
    """The head of the page; `online` is the verdict on logged lists, which then decides."""
    verdict = combine(report, None)
    word, because = (online["verdict"], online["because"]) if online else (verdict.word, verdict.because)
    findings = Findings.from_json(report.verdict, report.failures) if report.verdict else None
    lines: Sequence[str] = report.failures
    if online or findings is None:
        lines = because
    broken = "".join(f"<li>{escape(line)}</li>" for line in lines)
    by = "".join(
        f"<li>{escape(f'{task}: {how}')}</li>" for task, how in (findings.fallback if findings else {}).items()
    )
    parts = [
        f"<h1>{escape(report.name)}</h1>\n{_about(report)}",
        f'<section class="verdict {word}"><h2>{TITLES[word]}</h2>',
        f'<ul class="because">{broken}{by}</ul>' if broken or by else "",
    ]
    if findings is not None:
        answers = "".join(_answer(*answer) for answer in _answers(findings))
        parts += [f'<dl class="answers">{answers}</dl>', "</section>\n<div class=pair>", *_gains(findings.baseline)]
        parts += [_budget(findings), "</div>\n"]
    else:
        parts.append("</section>\n")
    return "".join(parts)


def _about(report: Report) -> str:
    """When, of what, how many, and the command."""
    of = report.about
    words = [f"{report.part} part"]
    if "from" in of:
        words.append(f"{of['from']} to {of['until']}")
    if "events" in of:
        words.append(f"{of['events']:,} events" + (f", {of['requests']:,} requests" if of["requests"] else ""))
        words.append(f"learned from {of['learned_from']:,} events; {of['users']:,} users, {of['items']:,} items")
    if "made" in of:
        words.append(f"made {of['made']}")
    shown = [*map(escape, words), *(f"<code>{escape(of[key])}</code>" for key in ("command",) if key in of)]
    return f'<p class="about">{" · ".join(shown)}</p>\n'


# ------------------------------------------------------------------------------------------------ four answers


def _answer(question: str, answer: str, because: str) -> str:
    kind = answer.replace(" ", "-")
    return (
        f'<div class="{kind}"><dt>{escape(question)}</dt>'
        f'<dd><b><i aria-hidden="true">{SIGNS[answer]}</i> {answer}</b> <span>{escape(because)}</span></dd></div>'
    )


def _answers(findings: Findings) -> Iterator[tuple[str, str, str]]:
    """Question, answer over all tasks, and what it rests on."""
    against, kept, costs = findings.baseline, findings.teacher, findings.costs
    gains = "; ".join(f"{task} {_gain(a)}" for task, a in against.items())
    yield "Better than the best simple baseline?", _together(a.answer for a in against.values()), gains
    if kept:
        shares = [of.value for of in kept.values() if of.measure == RETAINED]
        losses = [of.value for of in kept.values() if of.measure != RETAINED]
        words = [_range(shares, "{:.1%}") + " of its NDCG"] if shares else []
        words += [_range(losses, "{:+.4f}") + " of AUC"] if losses else []
        yield "Keeps its teacher?", _together(of.answer for of in kept.values()), " and ".join(words)
    if costs:
        answer = "yes" if all(cost.kept for cost in costs) else "no"
        yield f"Fits {findings.device}?", answer, "; ".join(f"{c.value:.3g} of {c.limit:g} {_unit(c)}" for c in costs)
    if against:
        counts = _range([float(a.n) for a in against.values()], "{:,.0f}")
        short = [task for task, a in against.items() if a.answer == "cannot tell"]
        because = f"{counts} requests, sessions or users a task"
        because += f"; not enough for {', '.join(short)}" if short else ""
        yield "Enough data?", "yes" if not short else "partly" if len(short) < len(against) else "cannot tell", because


def _together(answers: Iterator[str]) -> str:
    kinds = set(answers)
    if len(kinds) == 1:
        return kinds.pop()
    return "no" if "no" in kinds else "partly" if "yes" in kinds else "cannot tell"


def _range(values: Sequence[float], form: str) -> str:
    low, high = form.format(min(values)), form.format(max(values))
    return low if low == high else f"{low} to {high}"


def _relative(of: AgainstBaseline) -> tuple[float, float, float] | None:
    """Gain and its interval as parts of the baseline's metric."""
    if not of.of_baseline or not math.isfinite(of.difference):
        return None
    low, high = of.interval
    return of.difference / of.of_baseline, low / of.of_baseline, high / of.of_baseline


def _gain(of: AgainstBaseline) -> str:
    gain = _relative(of)
    words = f"{of.difference:+.4f}" if gain is None else f"{gain[0]:+.1%}"
    return words if of.shown else f"{words}, within chance"


def _unit(of: DeviceCost) -> str:
    return (
        of.what.replace("graphs and weights", "files").replace("MB of memory", "MB memory").replace(" per request", "")
    )


def answer_table(findings: Findings) -> Table:
    """Every task's figures behind the answers."""
    columns = (
        "task", "metric", "best simple baseline", "of baseline", "bundle", "difference", "95 % interval", "n",
        "smallest difference seen", "of teacher", "gate",
    )  # fmt: skip
    rows = []
    for task, of in findings.baseline.items():
        kept = findings.teacher.get(task)
        low, high = of.interval
        form = "{:.1%}" if kept and kept.measure == RETAINED else "{:+.4f}"
        rows.append(
            (
                task, of.metric, of.named, f"{of.of_baseline:.4f}", f"{of.value:.4f}", f"{of.difference:+.4f}",
                f"{low:+.4f} to {high:+.4f}" if math.isfinite(low) else "-", f"{of.n:,}",
                f"{of.smallest:.4f}" if math.isfinite(of.smallest) else "-",
                form.format(kept.value) if kept else "-", form.format(kept.gate) if kept else "-",
            )
        )  # fmt: skip
    return Table("Figures behind the answers", columns, tuple(rows), 8)


# ------------------------------------------------------------------------------------------------ gain and budget


def _gains(against: Mapping[str, AgainstBaseline]) -> Iterator[str]:
    """The gain of each task with its interval beside a line at zero; drawn in per cent, so that it fits every width."""
    found = {task: (of, gain) for task, of in against.items() if (gain := _relative(of)) is not None}
    if not found:
        return
    ends = [0.0, *(end for _, gain in found.values() for end in gain if math.isfinite(end))]
    low, high = min(ends), max(ends)
    room = 0.06 * (high - low or 0.01)
    low, high = low - room, high + room

    def at(value: float) -> str:
        return f"{100 * (value - low) / (high - low):.2f}%"

    yield '<section id="gain"><h2>Gain over the best simple baseline</h2><div class="gain">'
    for task, (of, (mean, worst, best)) in found.items():
        kind = "good" if worst > 0 else "bad" if best < 0 else "open"
        bar = f'<line class="zero" x1="{at(0)}" x2="{at(0)}" y1="0" y2="100%"/>'
        words = f"{mean:+.1%}"
        if math.isfinite(worst):
            bar += f'<line class="{kind}" x1="{at(worst)}" x2="{at(best)}" y1="50%" y2="50%"/>'
            words += f" ({worst:+.1%} to {best:+.1%})"
        bar += f'<circle class="{kind}" cx="{at(mean)}" cy="50%" r="5"/>'
        figures = f"{of.metric}: {of.of_baseline:.4f} of {of.named}, {of.value:.4f} of the bundle"
        yield (
            f'<div><b>{escape(task)}</b><svg role="img" aria-label="{escape(f"{task}: {words}")}">{bar}</svg>'
            f"<span>{escape(words)}</span><small>{escape(figures)}</small></div>"
        )
    shown = ((at(tick), f"{tick:+.0%}" if tick else "0") for tick in _ticks(low, high))
    ticks = "".join(f'<text x="{x}" y="75%">{words}</text>' for x, words in shown)
    yield f'<div class="axis"><b></b><svg aria-hidden="true">{ticks}</svg><span></span></div>'
    yield "</div><p>Bars are 95 % intervals on the same requests; right of the line the bundle is better.</p></section>"


def _ticks(low: float, high: float) -> list[float]:
    """Round figures of the range, zero among them."""
    step = 10 ** math.floor(math.log10((high - low) / TICKS))
    step = next(step * by for by in (1, 2, 5, 10) if (high - low) / (step * by) <= TICKS)
    step = max(step, 0.01)  # whole per cents
    inside = range(math.ceil((low + 0.03 * (high - low)) / step), math.floor((high - 0.03 * (high - low)) / step) + 1)
    return [step * i for i in inside]


def _budget(findings: Findings) -> str:
    if not findings.costs:
        return ""
    rows = []
    for cost in findings.costs:
        kind = "kept" if cost.kept else "over"
        share = cost.value / cost.limit if cost.limit else math.inf
        words = f"{cost.value:.3g} of {cost.limit:g} {_unit(cost)}"
        rows.append(
            f'<div class="{kind}"><b>{escape(cost.what)}</b>'
            f'<i aria-hidden="true"><u style="width:{min(max(share, 0.005), 1):.1%}"></u></i>'
            f"<span>{escape(words)}, {share:.0%}</span></div>"
        )
    measured = " Memory and time are of the machine that evaluated, with one thread." if _any_here(findings) else ""
    title = f"Budget of {escape(findings.device)}"
    return f'<section id="budget"><h2>{title}</h2><div class="budget">{"".join(rows)}</div><p>{measured}</p></section>'


def _any_here(findings: Findings) -> bool:
    return any(cost.here for cost in findings.costs)
