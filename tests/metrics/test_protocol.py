"""Agreement with the shared protocol, where it is there."""

import math
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from edgerec import metrics as m

SHARED = Path(__file__).parents[3] / "shared"
needs_protocol = pytest.mark.skipif(
    not (SHARED / "protocol" / "protocol.py").is_file(), reason="../shared/protocol is not there"
)


def protocol():
    sys.path.insert(0, str(SHARED / "protocol"))
    try:
        import protocol as module
    finally:
        sys.path.pop(0)
    return module


def same(value: float, expected: float) -> bool:
    return math.isclose(value, expected, rel_tol=1e-9, abs_tol=1e-9) or (math.isnan(value) and math.isnan(expected))


def assert_same_ranking(P, eval_requests, top, position):
    expected = P.score_ranking(
        eval_requests, {"case": eval_requests.case, "items": np.where(top >= 0, eval_requests.catalog[top], -1)}
    )
    truth, exclude = ([position[x] for x in part] for part in (eval_requests.truth, eval_requests.exclude))
    out = m.ranking_metrics(top, truth, len(eval_requests.catalog), exclude)
    for name in ("ndcg@10", "recall@20", "hit@10", "mrr", "coverage@10"):
        assert same(out[name].value, expected[name]), name
        if name != "coverage@10":
            assert same(out[name].se, expected[name + "_se"]), name


def assert_same_pointwise(P, y, p, kind, user):
    expected = P.score_pointwise(y, p, kind, user, boot=200)
    out = (m.binary_metrics if kind == "binary" else m.regression_metrics)(y, p, user)
    for name in {"auc", "logloss", "gauc", "mae", "xauc"} & set(expected):
        assert same(out[name].value, expected[name]), name
    main = "auc" if kind == "binary" else "mae"
    assert same(out[main].se, expected[main + "_se"])


@needs_protocol
@pytest.mark.parametrize("task", ["next", "new"])
def test_ranking_equals_the_protocol_on_online_retail(task):
    P = protocol()
    data = P.online_retail(SHARED / "data" / "online-retail")
    eval_requests = P.ranking_cases(data, "test", task)
    position = np.full(len(data.meta["items"]), -1)
    position[eval_requests.catalog] = np.arange(len(eval_requests.catalog))
    popularity = np.bincount(position[data.fit("test")["item"]], minlength=len(eval_requests.catalog)).astype(float)
    scores = np.tile(popularity, (len(eval_requests.case), 1))
    for row, history, excluded in zip(scores, eval_requests.history, eval_requests.exclude, strict=True):
        row[position[history]] += 100
        row[position[excluded]] = -np.inf
    top = np.argsort(-scores, axis=1, kind="stable")[:, :100]

    assert_same_ranking(P, eval_requests, top, position)


@needs_protocol
def test_related_equals_the_protocol_on_online_retail():
    P = protocol()
    data = P.online_retail(SHARED / "data" / "online-retail")
    baskets = P.related_baskets(data, "test")
    n_items, rng = len(data.meta["items"]), np.random.default_rng(0)
    popular = np.argsort(-np.bincount(data.fit("test")["item"], minlength=n_items))[:60]
    top = np.stack([rng.permutation(popular[popular != i])[:15] for i in range(n_items)])
    expected = P.score_related(baskets, {"case": np.arange(n_items), "items": top})
    out = m.related_metrics(baskets, top)

    for name in ("recall@10", "capped_recall@10", "hit@10"):
        assert same(out[name].value, expected[name]) and same(out[name].se, expected[name + "_se"])


@needs_protocol
def test_pointwise_equals_the_protocol_on_kuairand():
    P = protocol()
    test = P.kuairand(SHARED / "data" / "kuairand-pure-2w").test.iloc[:12_000]
    rng, user = np.random.default_rng(0), test["user_id"].to_numpy()
    noise = np.round(rng.random(len(test)), 2)
    for task in ("click", "like", "ctcvr"):
        label = test[task].to_numpy(float)
        assert_same_pointwise(P, label, 0.8 * noise + 0.2 * label, "binary", user)
    watch = test["watch_ms"].to_numpy(float)
    assert_same_pointwise(P, watch, watch * noise, "regression", user)


@needs_protocol
@pytest.mark.parametrize("kind", ["binary", "regression"])
@pytest.mark.parametrize("labels", [[0.0], [1.0], [0.0, 1.0]])
@pytest.mark.parametrize("n", [1, 2, 30])
def test_pointwise_equals_the_protocol_on_degenerate_rows(kind, labels, n):
    P, rng = protocol(), np.random.default_rng(n)
    with warnings.catch_warnings(action="ignore"):  # the protocol averages nothing here
        assert_same_pointwise(P, rng.choice(labels, n), np.round(rng.random(n), 1), kind, rng.integers(0, 4, n))
