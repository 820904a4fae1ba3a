"""The metrics have the figures of the fixed evaluation protocol.

protocol.json holds what the protocol's own score_ranking, score_related and score_pointwise (200 bootstraps) gave for
these very arrays: made-up lists, and rows of the packaged video log. The arrays come from arithmetic alone, so they are
the same under every version of numpy.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from edgerec import metrics

REFERENCE = json.loads(Path(__file__).with_name("protocol.json").read_text("utf-8"))
VIDEO = Path(__file__).parents[2] / "edgerec" / "samples" / "video" / "log.parquet"
N_ITEMS = 60
DEGENERATE = [(kind, labels, n) for kind in ("binary", "regression") for labels in ("0", "1", "01") for n in (1, 2, 30)]


def scrambled(n: int, seed: int) -> npt.NDArray[np.float64]:
    """Numbers in [0, 1) that look random: the first step of splitmix64 of each position."""
    z = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (z >> np.uint64(40)).astype(np.float64) / 2**24


def shuffled(n: int, seed: int) -> npt.NDArray[np.int64]:
    return np.argsort(scrambled(n, seed), kind="stable")


def ranking_requests(excluded: bool):
    """Lists, true items and excluded items of 150 requests; a list may be short, and is empty for the first request."""
    tops, truths, excludes = [], [], []
    for request in range(150):
        items = shuffled(N_ITEMS, request)
        true, out = items[: 1 + request % 13], items[13 : 13 + request % 7 if excluded else 13]
        listed = shuffled(N_ITEMS, 1000 + request)
        listed = listed[~np.isin(listed, out)][: 0 if request == 0 else 3 + request % 40]
        tops.append(np.pad(listed, (0, 45 - len(listed)), constant_values=-1))
        truths.append(np.sort(true))
        excludes.append(out)
    return np.stack(tops), truths, excludes


def baskets_and_lists():
    """120 sessions of 2 to 14 items, and a list of 15 other items for each item."""
    baskets = [shuffled(N_ITEMS, session)[: 2 + session % 13] for session in range(120)]
    orders = [shuffled(N_ITEMS, 5000 + item) for item in range(N_ITEMS)]
    return baskets, np.stack([order[order != item][:15] for item, order in enumerate(orders)])


def video_rows(task: str):
    """Labels, scores and users of the first 12,000 rows of the log."""
    rows = pl.read_parquet(VIDEO).head(12_000).with_columns(both=pl.col("is_click") * pl.col("is_like"))
    label = rows[task].to_numpy().astype(float)
    noise = np.round(scrambled(len(label), 0), 2)
    score = label * noise if task == "play_time_ms" else 0.8 * noise + 0.2 * label
    return label, score, rows["user_id"].to_numpy().astype(np.int64)


def degenerate_rows(labels: str, n: int):
    label = np.array([float(labels[int(x * len(labels))]) for x in scrambled(n, 1)])
    return label, np.round(scrambled(n, 2), 1), (scrambled(n, 3) * 4).astype(np.int64)


def assert_same(estimates: Mapping[str, metrics.Estimate], expected: Mapping[str, float | None]) -> None:
    """Every figure of the protocol; null is not a number, and counts are not metrics."""
    for name in expected.keys() - {"n", "positives", "gauc_groups"}:
        estimate = estimates[name.removesuffix("_se")]
        ours = estimate.se if name.endswith("_se") else estimate.value
        value = math.nan if expected[name] is None else expected[name]
        assert ours == pytest.approx(value, rel=1e-9, abs=1e-9, nan_ok=True), name


@pytest.mark.parametrize("excluded", [False, True])
def test_ranking_equals_the_protocol(excluded):
    top, truth, exclude = ranking_requests(excluded)
    assert_same(metrics.ranking_metrics(top, truth, N_ITEMS, exclude), REFERENCE["ranking"][str(excluded)])


def test_related_equals_the_protocol():
    assert_same(metrics.related_metrics(*baskets_and_lists()), REFERENCE["related"])


@pytest.mark.parametrize("task", ["is_click", "is_like", "both", "play_time_ms"])
def test_pointwise_equals_the_protocol_on_the_video_log(task):
    evaluate = metrics.regression_metrics if task == "play_time_ms" else metrics.binary_metrics
    assert_same(evaluate(*video_rows(task)), REFERENCE["video"][task])


@pytest.mark.parametrize(("kind", "labels", "n"), DEGENERATE)
def test_pointwise_equals_the_protocol_on_degenerate_rows(kind, labels, n):
    evaluate = metrics.binary_metrics if kind == "binary" else metrics.regression_metrics
    with warnings.catch_warnings(action="ignore"):  # a mean of nothing
        assert_same(evaluate(*degenerate_rows(labels, n)), REFERENCE["degenerate"][f"{kind} {labels} {n}"])
