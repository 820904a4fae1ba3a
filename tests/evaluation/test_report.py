import json
import math
from dataclasses import fields, replace

import pytest

from edgerec.cli.output import format_table
from edgerec.errors import DataError, RenamedWarning
from edgerec.evaluation.page import page as page_of
from edgerec.evaluation.report import Report
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
