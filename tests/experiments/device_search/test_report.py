"""The front and the choice."""

from __future__ import annotations

from edgerec.experiments.device_search.cost import Costs
from edgerec.experiments.device_search.report import Check, SearchReport, SearchTrial, chosen, front


def row(number, quality, mb, ms=1.0, over=()):
    return SearchTrial(
        number, {"student.dim": number}, quality, {}, Costs(mb, 60.0, ms, 100.0), dict.fromkeys(over, (2, 1))
    )


def test_a_row_is_on_the_front_if_none_is_as_good_in_everything_and_better_in_something():
    rows = [row(0, 0.9, 1.0), row(1, 0.8, 1.0), row(2, 0.8, 0.5), row(3, 0.7, 2.0, ms=0.1), row(4, 0.9, 1.0)]

    assert [r.number for r in front(rows)] == [0, 2, 3, 4]


def test_the_smallest_of_those_as_good_as_the_best_is_chosen():
    assert chosen([row(0, 0.950, 2.0), row(1, 0.946, 1.0), row(2, 0.940, 0.5)]).number == 1


def test_what_is_over_the_budget_or_was_never_trained_is_not_chosen():
    rows = [row(0, 0.99, 2.0, over=["bundle_mb"]), row(1, None, 0.1), row(2, 0.5, 1.0)]

    assert chosen(rows).number == 2
    assert chosen(rows[:2]) is None


def test_the_choice_is_told_with_its_reason(tmp_path):
    rows = (row(0, 0.95, 2.0), row(1, 0.5, 1.0), row(2, 0.99, 3.0, over=["bundle_mb"]))
    report = SearchReport("pi", rows, rows[0], {"p50_ms": Check(1.0, 1.1)}, {}, tmp_path)

    assert "of 3 trained trials 2 are inside the budget of pi; the best of them retains 95.0%" in report.why
    assert "expected here: p50_ms 1.000, measured 1.100" in report.lines()[-1]
