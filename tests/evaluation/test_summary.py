"""A report on one screen."""

from __future__ import annotations

from dataclasses import replace

from edgerec.cli.output import format_table
from edgerec.evaluation import summary
from edgerec.metrics import Estimate
from tests.evaluation.test_report import report


def test_a_task_is_a_row_with_each_stage_the_retained_share_and_the_best_baseline():
    found = report()
    figures = found.metrics["int8"]
    half = {"next": {"ndcg@10": Estimate(figures["next"]["ndcg@10"].value / 2, 2)}}
    (table,) = summary.tables(replace(found, metrics={"teacher": figures | half, **found.metrics}))

    assert table.columns == ("task", "metric", "teacher", "int8", "share", "best baseline")
    assert [row[0] for row in table.rows] == ["next", "new", "click", "watch"]
    value = figures["next"]["ndcg@10"].value
    assert table.rows[0][1] == "ndcg@10" and table.rows[0][4] == "200.0%"
    assert table.rows[0][5] == f"{value:.4f}"
    assert table.rows[1][4:] == ("100.0%", "-")
    assert format_table(table.columns, table.rows)


def test_costs_of_a_stage_are_shown_where_they_were_measured():
    costs = {"student": {"bytes": 2e6, "macs": 20, "ms": 1.5, "mb": 7.25}, "int8": {"bytes": 5e5, "macs": 9, "ms": 0.2}}
    *_, table = summary.tables(replace(report(), costs=costs))

    assert table.rows == (("student", "2.00", "7.2", "20", "1.50"), ("int8", "0.50", "-", "9", "0.20"))


def test_the_verdict_is_that_of_the_report():
    verdict = {"word": "stop", "because": ["next: too low"]}
    assert summary.lines(replace(report(), verdict=verdict)) == ["verdict: stop", "  offline: next: too low"]


def test_boosted_trees_are_no_simple_baseline():
    found = report()
    metrics = {**found.metrics, "boosting": {"click": found.metrics["int8"]["click"]}}
    (table,) = summary.tables(replace(found, metrics=metrics))

    assert table.rows[2][-1] == "-"
