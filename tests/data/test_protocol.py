"""The splits, and the figures of rankings, equal those of the fixed evaluation protocol.

The protocol read the packaged logs, and the ratings that `ratings` makes; protocol.json holds what it made of them: of
each split the number of rows and a digest of all of them, and of a ranking its figures.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from edgerec import metrics
from edgerec.config import Config
from edgerec.data import Dataset, prepare
from edgerec.examples.evaluation_requests import EvaluationRequests, evaluate_lists, evaluation_sessions
from edgerec.examples.load import LearningData
from edgerec.metrics import Estimate
from edgerec.progress import Silent
from edgerec.stages.run import Run
from tools.benchmarks.baselines.evaluation import Ranking, consumed_of, cosine_lists

REFERENCE = json.loads(Path(__file__).with_name("protocol.json").read_text("utf-8"))
SAMPLES = Path(__file__).parents[2] / "edgerec" / "samples"
PARTS = ("train", "valid", "test")


def summary(rows: Iterable[tuple[object, ...]], ordered: bool = False) -> list[object]:
    """How many rows, and a digest of them, in any order unless `ordered`."""
    lines = ["\t".join(map(str, row)) for row in rows]
    text = "\n".join(lines if ordered else sorted(lines))
    return [len(lines), hashlib.sha256(text.encode()).hexdigest()]


def prepared(folder: Path, part: str) -> pl.DataFrame:
    """Rows of a part with ids in place of indices."""
    dataset = Dataset.open(folder / "dataset")
    users = dataset.users().select(pl.col("index").alias("user"), pl.col("id").alias("user_id"))
    items = dataset.items().select(pl.col("index").alias("item"), pl.col("id").alias("item_id"))
    frame = dataset.part(part).collect()  # type: ignore[arg-type]
    return frame.join(users, on="user", maintain_order="left").join(items, on="item", maintain_order="left")


def test_online_retail_is_split_as_the_protocol_does(tmp_path):
    prepare(Config.load(SAMPLES / "retail" / "edgerec.toml"), tmp_path)
    invoices = pl.read_parquet(SAMPLES / "retail" / "online_retail.parquet").with_row_index("row")

    for part in PARTS:
        rows = prepared(tmp_path, part).join(invoices.select("row", "InvoiceNo"), on="row")
        assert summary(rows.select("InvoiceNo", "user_id", "item_id", "time").rows()) == REFERENCE["retail"][part]


def test_kuairand_is_split_as_the_protocol_does_labels_included(tmp_path):
    report = prepare(Config.load(SAMPLES / "video" / "edgerec.toml"), tmp_path)
    labels = [f"label.{name}" for name in ("click", "long_view", "like", "ctcvr", "watch", "next")]

    assert report.meta.clips["watch"] == pytest.approx(REFERENCE["video"]["watch_clip_ms"])
    for part in PARTS:
        rows = prepared(tmp_path, part).select("user_id", "item_id", pl.col(labels).round().cast(pl.Int64))
        assert summary(rows.rows()) == REFERENCE["video"][part]


def ratings(path: Path) -> None:
    """4,000 ratings of 30 users for 293 items, by arithmetic alone; a user has several of the same second."""
    number = np.arange(6_000, dtype=np.int64)
    columns = {
        "userId": number * number % 59 + 1,
        "movieId": number * 7_919 % 293 + 1,
        "rating": number % 10 / 2 + 0.5,
        "timestamp": 10**9 + number // 97 * 3_600,
    }
    log = pl.DataFrame(columns).unique(["userId", "movieId"], keep="first", maintain_order=True).head(4_000)
    log.sort("userId", "movieId").write_csv(path)


@pytest.mark.parametrize(
    ("variant", "split"),
    [
        ("global span", {"by": "time", "valid": 0.1, "test": 0.1}),
        ("global rows", {"by": "rows", "valid": 0.1, "test": 0.1}),
        ("loo", {"by": "leave-last-out", "core": 5}),
    ],
)
def test_ratings_are_split_as_the_protocol_does_in_the_same_order(tmp_path, variant, split):
    ratings(tmp_path / "ratings.csv")
    data = {"interactions": "ratings.csv", "user": "userId", "item": "movieId", "time": "timestamp", "split": split}
    tasks = [{"name": "next", "kind": "retrieval"}, {"name": "like", "kind": "binary", "label": "rating >= 4"}]
    prepare(Config.of({"name": "ml", "data": data, "task": tasks}, folder=tmp_path), tmp_path)

    for part in PARTS:
        rows = prepared(tmp_path, part).select("user_id", "item_id", "time", pl.col("label.like").cast(pl.Int8))
        assert summary(rows.rows(), ordered=True) == REFERENCE["ratings"][variant][part]


@pytest.fixture(scope="module")
def retail_data(tmp_path_factory) -> LearningData:
    folder = tmp_path_factory.mktemp("retail")
    values = tomllib.loads((SAMPLES / "retail" / "edgerec.toml").read_text("utf-8"))
    del values["data"]["items"]["text"]  # texts change no evaluation request
    config = Config.of(values, SAMPLES / "retail")
    prepare(config, folder)
    return Run(config, folder, Silent()).learning_data("test")


def ranked(data: LearningData, name: str) -> tuple[Ranking, EvaluationRequests, np.ndarray]:
    """The ranking by own frequency and recent popularity, of the users that the protocol asks too.

    Where a user's first two baskets are of the same minute, the two take another one as the first.
    """
    task = next(t for t in data.tasks if t.name == name)
    ranking, log = Ranking(data, task), consumed_of(data, task)
    users = data.dataset.users().sort("index")["id"]
    asked = np.array([users[int(u)] not in REFERENCE["two_first_baskets"] for u in ranking.users])
    kept = np.flatnonzero(asked)
    top = ranking.lists(lambda u: log.counts[u].toarray() + log.decayed(14.0) / 1e6, 100)[kept]
    requests = ranking.requests
    kept_requests = EvaluationRequests(
        requests.rows[kept], [requests.pasts[i] for i in kept], [requests.events[i] for i in kept]
    )
    return ranking, kept_requests, top


def assert_same(ours: dict[str, Estimate], expected: dict[str, float]) -> None:
    for metric in expected.keys() - {"n"}:
        estimate = ours[metric.removesuffix("_se")]
        assert (estimate.se if metric.endswith("_se") else estimate.value) == pytest.approx(expected[metric]), metric


@pytest.mark.slow
@pytest.mark.parametrize("name", ["next", "new"])
def test_a_ranking_has_the_figures_of_the_protocol(retail_data, name):
    """Of any lists, so of the teacher's too, since evaluate_lists judges all."""
    ranking, requests, top = ranked(retail_data, name)
    ours = evaluate_lists(top, ranking.task, retail_data, requests, (10, 20))
    assert ours["ndcg@10"].n == REFERENCE[name]["n"]
    assert_same(ours, REFERENCE[name])


@pytest.mark.slow
def test_related_lists_have_the_figures_of_the_protocol(retail_data):
    ours = metrics.related_metrics(evaluation_sessions(retail_data), cosine_lists(retail_data, "session", 0.5))
    assert ours["capped_recall@10"].n == REFERENCE["related"]["n"]
    assert_same(ours, REFERENCE["related"])
