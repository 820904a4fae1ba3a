"""What one model retains of another."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from edgerec.evaluation import fidelity as fidelity_module
from edgerec.evaluation.answers import Answers
from edgerec.evaluation.fidelity import ALL, ORDER, OVERLAP, RETAINED, fidelity, rank_correlation
from edgerec.evaluation.gates import teacher_failures
from edgerec.examples.evaluation_requests import find_evaluation_requests
from edgerec.metrics import Estimate, mean


def answers(data, seed: int) -> Answers:
    """Made up, but of the right shapes."""
    rng, eval_requests = np.random.default_rng(seed), find_evaluation_requests(data)
    lists = {}
    for task in data.tasks:
        if task.kind == "retrieval":
            barred = (
                eval_requests.pasts if task.repeats == "exclude" else [np.zeros(0, np.int64)] * len(eval_requests.rows)
            )
            lists[task.name] = np.stack([_shuffled(rng, past) for past in barred])
    related = np.stack([_shuffled(rng, np.array([item]))[:10] for item in range(40)])
    return Answers(lists, rng.random((len(data.evaluation.impressions.item), 5)), related)


def _shuffled(rng: np.random.Generator, barred: np.ndarray) -> np.ndarray:
    """All items but the barred ones, padded to 40."""
    items = rng.permutation(np.setdiff1d(np.arange(40), barred))
    return np.concatenate([items, np.full(40 - len(items), -1)])


def test_a_model_retains_all_of_itself(tiny_data):
    one = answers(tiny_data, 0)
    metrics = fidelity(one, one, tiny_data, find_evaluation_requests(tiny_data))[ALL]

    assert metrics["next"][RETAINED].value == 1 and metrics["next"][RETAINED].se == 0
    assert metrics["new"][OVERLAP].value == metrics["related"][OVERLAP].value == 1
    assert metrics["next"][ORDER].value == pytest.approx(1)
    assert metrics["click"]["auc"].value == metrics["watch"]["xauc"].value == 0
    assert not teacher_failures(metrics, 1.0, 0.0)


def test_segments_of_users_items_and_contexts_are_compared_where_they_are_large_enough(tiny_data):
    eval_requests = find_evaluation_requests(tiny_data)
    table = fidelity(answers(tiny_data, 0), answers(tiny_data, 1), tiny_data, eval_requests, min_size=10)

    names = " ".join(table)
    assert "most frequent items" in names and "all other items" in names and "users with" in names
    assert any(" = " in name for name in table)
    for figures in table.values():
        assert figures


def test_rank_correlation_is_of_the_positions_in_the_other_list():
    theirs = np.array([[0, 1, 2, 3]])

    assert rank_correlation(np.array([[0, 1, 2, 3]]), theirs).value == pytest.approx(1)
    assert rank_correlation(np.array([[3, 2, 1, 0]]), theirs).value == pytest.approx(-1)
    assert rank_correlation(np.array([[7, 8, 9, 4]]), theirs).value == 0  # none of them is there
    # Places 0, 1 and behind all, twice: ranks 0, 1, 2.5, 2.5 against 0, 1, 2, 3.
    assert rank_correlation(np.array([[0, 1, 8, 9]]), theirs).value == pytest.approx(
        np.corrcoef([0, 1, 2.5, 2.5], range(4))[0, 1]
    )


def test_rank_correlation_of_lists_with_gaps_is_spearmans():
    rng = np.random.default_rng(0)
    lists = np.argsort(rng.random((2, 200, 30)), axis=2)[..., :12]
    lists[np.arange(12) >= rng.integers(0, 13, (2, 200, 1))] = -1
    ours, theirs = lists

    each = []
    for mine, other in zip(ours, theirs, strict=True):
        listed = [item for item in other if item >= 0]
        if len(listed) > 1:
            places = [mine.tolist().index(item) if item in mine else 99 for item in listed]
            each.append(0.0 if len(set(places)) < 2 else spearmanr(places, range(len(listed))).statistic)

    assert rank_correlation(ours, theirs).value == pytest.approx(np.mean(each))
    assert rank_correlation(ours, theirs).n == len(each)


def test_a_gate_fails_only_by_more_than_chance():
    sure, unsure = mean(np.full(50, 0.7) + np.arange(50) * 1e-4), Estimate(0.7, 2, np.array([0.5]))

    assert len(teacher_failures({"next": {RETAINED: sure}}, 0.9, 0.1)) == 1
    assert not teacher_failures({"next": {RETAINED: unsure}}, 0.9, 0.1)
    assert not teacher_failures({"next": {RETAINED: sure}}, 0.7, 0.1)
    assert "click" in teacher_failures({"click": {"auc": Estimate(-0.05, 9, np.array([0.001]))}}, 0.9, 0.01)[0]


@pytest.mark.parametrize("yes, known", [(2, False), (10, True)])
def test_an_auc_of_a_handful_of_clicks_is_unknown_and_breaks_no_gate(tiny_data, yes, known):
    click = next(t for t in tiny_data.tasks if t.name == "click")
    label, user = np.zeros(500), np.arange(500)
    label[:yes] = 1
    of = fidelity_module._difference(click, label, 0.5 - label / 4, 0.5 + label / 4, user)

    assert np.isfinite(of.value) == known
    assert bool(teacher_failures({"click": {"auc": of}}, 0.9, 0.01)) == known
