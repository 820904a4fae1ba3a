import json
import math
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from edgerec.cli.output import format_table
from edgerec.errors import DataError, RenamedWarning
from edgerec.evaluation.about import command
from edgerec.evaluation.findings import AgainstBaseline, AgainstTeacher, DeviceCost, Findings
from edgerec.evaluation.page import page as page_of
from edgerec.evaluation.plots import plots
from edgerec.evaluation.report import STAGES, Report
from edgerec.metrics import Estimate, binary_metrics, ranking_metrics, regression_metrics


def report() -> Report:
    lists = ranking_metrics([[0, 1], [2, 1]], [[0], [1]], 3)
    clicks = binary_metrics([0, 1, 1, 0], [0.2, 0.7, 0.4, 0.5])
    watch = regression_metrics([1000, 20000, 30000], [900.0, 15000.0, 40000.0])
    metrics = {
        "int8": {"next": lists, "new": lists, "click": clicks, "watch": watch},
        "own_frequency": {"next": lists},
    }
    paired = {"int8 - own_frequency": {"next": {"ndcg@10": lists["ndcg@10"].minus(lists["ndcg@10"])}}}
    return Report("shop & co", "test", metrics, paired, sizes={"bundle bytes": 280_000}, notes=["EASE is skipped"])


def test_tasks_that_share_metrics_share_a_table_and_recall_is_shown_at_the_longest_list():
    first = report().tables()[0]

    assert first.title == "next, new"
    assert first.columns == (
        "task",
        "model",
        "ndcg@10",
        "capped_recall@10",
        "hit@10",
        "map@10",
        "coverage@10",
        "recall@20",
        "mrr",
    )
    assert [row[:2] for row in first.rows] == [("next", "int8"), ("next", "own_frequency"), ("new", "int8")]
    assert first.rows[0][8] == "0.7500 ±0.2500"
    assert format_table(first.columns, first.rows)


def test_large_values_have_no_decimals_and_differences_a_sign():
    tables = {table.title: table for table in report().tables()}

    assert tables["watch"].rows[0][2].startswith("5,033 ±")
    assert tables["Paired differences: next"].rows[0][2] == "+0.0000 ±0.0000"


def test_a_written_report_reads_back_the_same(tmp_path):
    report().write(tmp_path)
    values = json.loads((tmp_path / "report.json").read_text())

    assert values["metrics"]["int8"]["next"]["mrr"] == pytest.approx({"value": 0.75, "se": 0.25, "n": 2})
    assert Report.read(tmp_path).tables() == report().tables()
    assert Report.read(tmp_path).to_json() == values


def test_a_missing_report_names_the_command(tmp_path):
    with pytest.raises(DataError, match=r"report.json: not there; run: edgerec evaluate"):
        Report.read(tmp_path)


def test_the_page_is_self_contained_and_escapes_names():
    page = page_of(report())

    assert "shop &amp; co" in page and "EASE is skipped" in page
    assert not any(word in page for word in ("<script", "http", "src=", "@import"))


def test_a_metric_that_is_not_a_number_is_shown_as_a_dash():
    found = {"int8": {"click": {"auc": Estimate(math.nan, 0)}}}

    assert Report("x", "test", found).tables()[0].rows == (("click", "int8", "-"),)


def test_a_model_card_is_filled_from_the_report(tiny_chain):
    card = (tiny_chain / "run" / "report" / "model-card.md").read_text()
    assert "# Model card: tiny 1" in card and "| next | ndcg@10 | 0." in card and "Verdict: wait" in card
    assert card.count("TODO: ") == 3 and " ms per request" in card


def test_the_page_shows_what_each_stage_needs_and_what_other_runtimes_gave():
    costs = {"student": {"bytes": 10, "macs": 20, "ms": 1.5, "mb": 7.25}, "int8": {"bytes": 5, "macs": 20, "ms": 0.25}}
    found = [{"way": "chromium", "histories": 9, "same lists": 8, "ties": 1, "other lists": 0, "ms": 3.21987}]
    page = page_of(replace(report(), costs=costs), runtimes={"settings": {}, "ways": found})

    assert '<td class="n">7.2</td>' in page and '<td class="n">-</td>' in page
    assert "<td>chromium</td>" in page and '<td class="n">3.22</td>' in page
    assert "other settings" not in page and "Runtimes, compared" not in page_of(report())
    earlier = {"settings": {"student": {"size": "nano"}}, "ways": found}
    assert "Measured with other settings than those of this report." in page_of(report(), runtimes=earlier)


def test_every_field_is_a_key_of_the_file():
    assert list(report().to_json()) == ["format", *(field.name for field in fields(Report))]


def test_a_report_of_an_earlier_version_is_read_with_one_warning(tmp_path):
    now = report().to_json()
    before = {key: value for key, value in now.items() if key not in ("search", "versions")} | {"fit": {"device": "pi"}}
    before["metrics"] = {"int8": {"next_arrivals": now["metrics"]["int8"]["next"]}}
    before["fidelity"] = {"int8 ~ teacher": {"next": {"kept": {"value": 0.9, "se": None, "n": 2}}}}
    (tmp_path / "report.json").write_text(json.dumps(before))

    with pytest.warns(RenamedWarning) as warned:
        read = Report.read(tmp_path)

    assert len(warned) == 1
    assert "fit, next_arrivals, kept is now called search, next_cold_start, retained" in str(warned[0].message)
    assert read.search == {"device": "pi"} and read.versions == {}
    assert read.metrics["int8"]["next_cold_start"]["mrr"].value == 0.75
    assert read.fidelity["int8 ~ teacher"]["next"]["retained"].value == 0.9


def judged(**changes: Any) -> Report:
    against = AgainstBaseline("ndcg@10", 0.33, "ease", "ridge 200", 0.3, 0.03, (0.015, 0.045), 400, 0.02, "yes")
    costs = (DeviceCost("MB of graphs and weights", 0.5, 10.0, False), DeviceCost("ms per request", 32.0, 16.0, True))
    kept = AgainstTeacher("retained", 0.98, (0.96, 1.0), 0.95, "yes")
    findings = Findings({"next": against}, {"next": kept}, "pi", costs)
    return replace(report(), verdict=findings.to_json(), **changes)


def test_the_page_begins_with_the_verdict_and_its_four_answers_in_a_line_each():
    page = page_of(judged())
    questions = re.findall("<dt>(.*?)</dt><dd><b><i.*?</i> (.*?)</b>", page)

    assert page.index("Undecided: wait") < page.index("<dt>") < page.index("Gain over") < page.index("<table>")
    assert questions == [
        ("Better than the best simple baseline?", "yes"), ("Keeps its teacher?", "yes"), ("Fits pi?", "no"),
        ("Enough data?", "yes"),
    ]  # fmt: skip


def test_the_gain_is_drawn_in_per_cent_with_its_interval_beside_a_line_at_zero():
    page = page_of(judged())

    assert "+10.0% (+5.0% to +15.0%)" in page and page.count('class="zero"') == 1
    # From 0 to 15 % with room of 0.9 % on both sides: zero is at 0.9 / 16.8 of the width.
    assert 'x1="5.36%" x2="5.36%"' in page and 'cx="64.88%"' in page


def test_a_cost_over_the_budget_fills_its_bar_and_says_by_how_much():
    page = page_of(judged())

    assert '<div class="kept"><b>MB of graphs and weights</b>' in page and "width:5.0%" in page
    assert '<div class="over"><b>ms per request</b>' in page and "32 of 16 ms, 200%" in page and "width:100.0%" in page


def test_the_page_says_when_how_and_of_what_it_was_made_and_a_bundle_does_not_say_when():
    about = {
        "made": "2026-01-02 03:04 UTC", "command": "edgerec evaluate", "from": "2011-11-11", "until": "2011-12-09",
        "events": 5000, "requests": 400, "learned_from": 90000, "users": 30, "items": 20,
    }  # fmt: skip
    dated = judged(about=about)

    for words in (
        "2011-11-11 to 2011-12-09",
        "5,000 events, 400 requests",
        "2026-01-02",
        "<code>edgerec evaluate</code>",
    ):
        assert words in page_of(dated)
    assert dated.sealed()["about"].keys() == about.keys() - {"made", "command"}


def test_hours_are_in_order_and_weekdays_have_names():
    of = {"next": {"ndcg@10": Estimate(0.5, 9)}}
    hours = {
        f"{stage}, {part}": of for stage in ("teacher", "int8") for part in ("hour = 12", "hour = 9", "weekday = 0")
    }
    settings = {"data": {"context": {"from_time": ["hour", "weekday"]}}}
    page = page_of(replace(report(), segments=hours, settings=settings))

    assert page.index("<td>hour = 9</td>") < page.index("<td>hour = 12</td>") < page.index("weekday = 0 (Mon)")
    assert "(Mon)" not in page_of(replace(report(), segments=hours))


def test_an_example_names_what_the_bundle_missed():
    entry = {"title": "lantern", "hit": True}
    example = {
        "task": "next", "events": 12, "lists": {"int8": [entry, {"title": "mug", "hit": False}]},
        "reasons": [["tea"], []], "past": ["tea"], "next": ["lantern", "cake stand"],
    }  # fmt: skip
    page = page_of(report(), examples=[example])

    assert "1 of the bundle&#x27;s 2 were right" in page.replace("'", "&#x27;")
    assert "<b>Missed</b>: cake stand</p>" in page


def test_an_axis_that_does_not_begin_at_zero_is_marked_and_a_legend_is_beside_the_data():
    values = {stage: {"next": {"ndcg@10": Estimate(0.3 + 0.01 * i, 9)}} for i, stage in enumerate(STAGES)}
    (plot,) = plots(replace(report(), metrics=values | {"ease": {"next": {"ndcg@10": Estimate(0.29, 9)}}}))
    (ax,) = plot.panels["next"].axes

    assert [line.get_label() for line in ax.lines].count("_cut") == 2 and ax.get_legend() is None
    assert len(plot.panels["next"].legends) == 1


def test_the_command_of_a_report_names_no_place_outside(tmp_path):
    assert command(Path("runs/shop")) == "edgerec evaluate"
    assert command(Path("other/shop")) == "edgerec evaluate --run-dir other/shop"
    assert command(tmp_path) == "edgerec evaluate"
