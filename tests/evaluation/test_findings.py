"""The four answers of a verdict, from metrics whose errors are given."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from edgerec.config import EvaluationConfig
from edgerec.devices import load_profile
from edgerec.evaluation.findings import (
    Findings,
    against_baselines,
    baseline_failures,
    device_costs,
    keeps_teacher,
)
from edgerec.evaluation.report import Report
from edgerec.evaluation.verdict import combine
from edgerec.metrics import Estimate, mean


def compared(gain: float, noise: float, n: int, **more: float) -> Findings:
    """INT8 beside recent popularity of 0.1 on `n` requests; `more`: values of other baselines."""
    rng = np.random.default_rng(0)
    base = rng.normal(0, 0.3, n)
    base += 0.1 - base.mean()
    error = rng.normal(0, 1, n)
    error = (error - error.mean()) / error.std(ddof=1) * noise * np.sqrt(n)
    table = {
        "int8": {"next": {"ndcg@10": mean(base + gain + error)}},
        "recent_popularity": {"next": {"ndcg@10": mean(base)}},
        **{name: {"next": {"ndcg@10": mean(base - 0.1 + value)}} for name, value in more.items()},
    }
    settings = {name: {"next": "half-life 7 days"} for name in table if name != "int8"}
    found = against_baselines(table, settings, {})
    return Findings(found, failures=tuple(baseline_failures(found)))


@pytest.mark.parametrize(
    ("gain", "noise", "n", "answer", "word"),
    [
        (+0.0154, 0.0026, 600, "yes", "ship"),
        (-0.0154, 0.0026, 600, "no", "stop"),
        (+0.0010, 0.0100, 600, "cannot tell", "wait"),
        (+0.0010, 0.0010, 600, "no", "stop"),  # a gain of 5 % would have been seen
        (-0.0500, 0.0020, 60, "cannot tell", "wait"),
        (+0.0500, 0.0020, 60, "cannot tell", "wait"),
        (+0.0000, 0.0000, 2, "cannot tell", "wait"),
    ],
)
def test_the_answer_follows_the_interval_and_few_requests_have_none(gain, noise, n, answer, word):
    found = compared(gain, noise, n)
    against = found.baseline["next"]

    assert (against.answer, found.word) == (answer, word)
    assert against.difference == pytest.approx(gain, abs=1e-9)
    assert against.interval == pytest.approx((gain - 1.96 * noise, gain + 1.96 * noise), abs=1e-9)
    assert against.smallest == pytest.approx(2.8 * noise, abs=1e-9)
    assert bool(found.failures) == (word == "stop")


def test_a_failure_names_the_baseline_its_settings_and_the_interval():
    (line,) = compared(-0.0154, 0.0026, 600).failures

    assert line == (
        "next: not better than recent popularity (half-life 7 days): ndcg@10 0.0846 against 0.1000, "
        "-0.0154 (-0.0205 to -0.0103, n = 600); do not ship for this reason"
    )


def test_the_best_baseline_counts_and_boosted_trees_are_no_simple_one():
    best = compared(0.0154, 0.0026, 600, ease=0.2, boosting=0.9).baseline["next"]

    assert (best.baseline, best.of_baseline, best.answer) == ("ease", pytest.approx(0.2), "no")


def test_a_task_that_is_as_good_does_not_stop_a_bundle_that_is_better_on_another():
    better, same = (compared(gain, 0.001, 600).baseline["next"] for gain in (0.05, 0.0))

    assert baseline_failures({"next": same}) and not baseline_failures({"next": same, "new": better})
    unclear = replace(same, answer="cannot tell", difference=-0.01)
    assert Findings({"next": unclear, "new": better}).word == "wait"
    assert Findings({"next": replace(unclear, difference=0.01), "new": better}).word == "ship"


def test_rows_of_few_users_say_nothing():
    auc = {"click": {"auc": Estimate(0.8, 5000, np.full(4, 0.001))}}
    table = {"int8": auc, "item_rate": {"click": {"auc": Estimate(0.7, 5000, np.full(4, 0.001))}}}

    found = [against_baselines(table, {"item_rate": {"click": ""}}, {"click": users}) for users in (99, 100)]
    assert [of["click"].answer for of in found] == ["cannot tell", "yes"]


def test_a_teacher_is_kept_beyond_chance_or_not_or_it_cannot_be_told():
    def answer(value: float, error: float, n: int) -> str:
        retained = {"next": {"retained": Estimate(value, n, np.array([error]))}}
        return keeps_teacher(retained, EvaluationConfig(min_ndcg_retained=0.9))["next"].answer

    assert [answer(0.95, 0.01, 500), answer(0.85, 0.01, 500), answer(0.95, 0.05, 500), answer(0.95, 0.01, 50)] == [
        "yes",
        "no",
        "cannot tell",
        "cannot tell",
    ]
    assert answer(0.85, 0.01, 50) == "no"  # the gate breaks, see broken_gates


def test_a_cost_above_the_budget_here_makes_one_wait():
    device = load_profile("kiosk-x86")
    limit = device.budget.p95_ms.limit
    slow = tuple(device_costs({"bytes": 1e6, "ms": 2 * limit}, device))
    found = Findings(compared(0.05, 0.001, 600).baseline, device=device.name, costs=slow)

    assert found.word == "wait" and found.without_times().word == "ship"
    assert f"fits kiosk-x86? no: 1 of {device.budget.bundle_mb.limit:g} MB" in list(found.lines())[-2]


def test_a_task_that_popularity_ranks_is_said_in_the_verdict():
    found = replace(compared(0.05, 0.001, 600), fallback={"next": "ranked by recent popularity"})

    assert "next: ranked by recent popularity" in found.lines()
    assert "next: ranked by recent popularity" in found.without_times().to_json()["because"]


def test_a_verdict_reads_back_the_same_from_json():
    found = replace(compared(0.0, 0.0, 2), fallback={"next": "ranked by recent popularity"})
    text = json.dumps(found.to_json(), allow_nan=False)

    assert Findings.from_json(json.loads(text), ()).to_json() == found.to_json()


def test_a_report_without_a_verdict_is_no_reason_to_ship():
    assert combine(Report("r", "test", {}), None).lines() == [
        "verdict: wait",
        "  offline: no verdict in this report; run: edgerec evaluate",
    ]
