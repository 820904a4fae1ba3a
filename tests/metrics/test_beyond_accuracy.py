"""Beyond accuracy: figures by hand, and what always holds."""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerec import metrics
from edgerec.metrics import ItemUsage, beyond_accuracy_metrics, most_frequent_items

# Users 0 and 1 had item 0, user 0 had item 1, user 2 item 2; nobody item 3.
CATALOGUE = ItemUsage(np.array([0, 1, 0, 2, 0]), np.array([0, 0, 1, 2, 1]), 4)


def test_figures_of_one_list_by_hand():
    found = beyond_accuracy_metrics(np.array([[0, 3]]), [np.array([0, 2])], [np.array([1, 2])], CATALOGUE, 2)
    surprise = -np.log2(np.array([3, 1]) / 9)
    assert found["novelty"].value == pytest.approx(surprise.mean())
    assert found["diversity"].value == 1  # nobody had item 3
    assert found["popularity_lift"].value == pytest.approx(1 / 1.5 - 1)
    assert found["tail_recall"].value == 0  # items 0 and 1 are half of the log: the tail's true item is 2
    assert found["debiased_recall"].value == pytest.approx(2**-0.5 / (2**-0.5 + 1))
    assert found["gini"].value == pytest.approx(0.5)  # two of four items listed equally often


def test_likeness_is_the_cosine_of_users():
    found = CATALOGUE.similarity(np.array([0, 0, 0, 3]), np.array([1, 0, 2, 3]))
    assert found == pytest.approx([1 / math.sqrt(2), 1, 0, 0])


def test_the_head_is_half_of_the_rows():
    assert most_frequent_items(np.array([1, 5, 3, 1])).tolist() == [False, True, False, False]
    assert most_frequent_items(np.array([1, 1, 1, 1])).tolist() == [True, True, False, False]


def test_an_empty_list_counts_as_found_nothing_and_is_no_novelty():
    found = beyond_accuracy_metrics(
        np.full((2, 3), -1), [np.array([2]), np.array([3])], [np.array([0])] * 2, CATALOGUE, 3
    )
    assert found["tail_recall"].value == 0 and found["novelty"].n == 0 and math.isnan(found["gini"].value)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 12), st.integers(2, 15))
def test_shares_stay_shares_and_a_perfect_list_finds_all(seed, eval_requests, items):
    rng = np.random.default_rng(seed)
    catalogue = ItemUsage(rng.integers(0, 5, 40), rng.integers(0, items, 40), items)
    truth = [rng.choice(items, rng.integers(1, items + 1), replace=False) for _ in range(eval_requests)]
    pasts = [rng.choice(items, 2, replace=False) for _ in range(eval_requests)]
    top = np.stack([rng.permutation(items) for _ in range(eval_requests)])
    found = beyond_accuracy_metrics(top, truth, pasts, catalogue, items)
    assert found["debiased_recall"].value == pytest.approx(1)
    assert math.isnan(found["tail_recall"].value) or found["tail_recall"].value == pytest.approx(1)
    assert found["gini"].value == pytest.approx(0, abs=1e-9)
    short = beyond_accuracy_metrics(top, truth, pasts, catalogue, 2)
    for name in ("diversity", "tail_recall", "debiased_recall", "gini"):
        assert math.isnan(short[name].value) or -1e-6 <= short[name].value <= 1 + 1e-6


RANX = """
import json, sys
from ranx import Qrels, Run, evaluate
names = [f"{m}@{k}" for m in ("ndcg", "recall", "hit_rate", "map") for k in (1, 5, 10)] + ["mrr"]
found = {}
for kind, cases in json.load(sys.stdin).items():
    qrels = Qrels({f"q{i}": {f"d{j}": 1 for j in c["truth"]} for i, c in enumerate(cases)})
    run = Run({f"q{i}": {f"d{j}": float(-n) for n, j in enumerate(c["top"])} for i, c in enumerate(cases)})
    found[kind] = {name: float(v) for name, v in evaluate(qrels, run, names).items()}
print(json.dumps(found))
"""
KINDS = ("random", "one true item", "all true", "nothing found")


def lists_of(kind):
    """Lists, and what was true, of thirty requests."""
    rng = np.random.default_rng(0)
    eval_requests = []
    for _ in range(30):
        top = rng.permutation(40)[:20]
        few = rng.choice(40, rng.integers(1, 8), replace=False)
        truth = {"random": few, "one true item": few[:1], "all true": top, "nothing found": np.array([40])}[kind]
        eval_requests.append({"top": top.tolist(), "truth": truth.tolist()})
    return eval_requests


@pytest.fixture(scope="module")
def by_ranx():
    """What ranx says of each kind of lists."""
    pytest.importorskip("ranx", reason="ranx is not installed: pip install edgerec[dev]")
    asked = json.dumps({kind: lists_of(kind) for kind in KINDS})
    # Interpreted: compiling takes longer than all of it.
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, "-c", RANX], input=asked, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", KINDS)
def test_ranking_metrics_equal_those_of_ranx(kind, by_ranx):
    eval_requests = lists_of(kind)
    tops, truths = (np.array([c["top"] for c in eval_requests]), [np.array(c["truth"]) for c in eval_requests])
    found = metrics.ranking_metrics(tops, truths, 41, k=(1, 5, 10))
    for name, value in by_ranx[kind].items():
        assert found[name.replace("hit_rate", "hit")].value == pytest.approx(value, abs=1e-9), name
