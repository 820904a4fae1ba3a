"""The splits equal those of the fixed evaluation protocol, row for row."""

from __future__ import annotations

import importlib.util
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest

from edgerec import metrics
from edgerec.config import Config
from edgerec.data import Dataset, prepare
from edgerec.examples.evaluation_requests import EvaluationRequests, evaluate_lists, evaluation_sessions
from edgerec.examples.load import LearningData
from edgerec.progress import Silent
from edgerec.stages.run import Run
from tools.benchmarks.baselines.evaluation import Ranking, cosine_lists
from tools.benchmarks.baselines.interactions import Interactions

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
SAMPLES = ROOT / "edgerec" / "samples"
PARTS = ("train", "valid", "test")

pytestmark = pytest.mark.skipif(
    not (SHARED / "protocol" / "protocol.py").exists(), reason="../shared/protocol is not on this machine"
)


@pytest.fixture(scope="module")
def protocol() -> ModuleType:
    spec = importlib.util.spec_from_file_location("protocol", SHARED / "protocol" / "protocol.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["protocol"] = module
    spec.loader.exec_module(module)
    return module


def prepared(config: Config, folder: Path, part: str) -> pl.DataFrame:
    """Rows of a part with ids in place of indices."""
    dataset = Dataset.open(folder / "dataset")
    users = dataset.users().select(pl.col("index").alias("user"), pl.col("id").alias("user_id"))
    items = dataset.items().select(pl.col("index").alias("item"), pl.col("id").alias("item_id"))
    frame = dataset.part(part).collect()  # type: ignore[arg-type]
    return frame.join(users, on="user", maintain_order="left").join(items, on="item", maintain_order="left")


def assert_same_rows(ours: pl.DataFrame, theirs: dict[str, Any]) -> None:
    """Equal as bags of rows."""
    expected = pl.DataFrame({name: np.asarray(column) for name, column in theirs.items()})
    ours = ours.select(pl.col(name).cast(expected.schema[name]) for name in theirs)
    assert ours.height == expected.height
    assert ours.sort(ours.columns).equals(expected.sort(expected.columns))


def test_online_retail_is_split_as_the_protocol_does(protocol, tmp_path):
    config = Config.load(SAMPLES / "retail" / "edgerec.toml")
    prepare(config, tmp_path)
    data = protocol.online_retail(SHARED / "data" / "online-retail")
    codes = data.meta["items"]["code"].to_numpy()
    invoices = pl.read_parquet(SAMPLES / "retail" / "online_retail.parquet").with_row_index("row")

    for part in PARTS:
        ours = prepared(config, tmp_path, part).join(invoices.select("row", "InvoiceNo"), on="row")
        theirs = data.part(part)
        assert_same_rows(
            ours.with_columns(pl.col("time") * 1000),
            {
                "InvoiceNo": theirs["basket"].to_numpy(str),
                "user_id": theirs["user"].to_numpy(),
                "item_id": codes[theirs["item"]].astype(str),
                "time": theirs["ts"].to_numpy().astype("datetime64[us]").astype(np.int64),
            },
        )


def test_kuairand_is_split_as_the_protocol_does_labels_included(protocol, tmp_path):
    config = Config.load(SAMPLES / "video" / "edgerec.toml")
    report = prepare(config, tmp_path)
    data = protocol.kuairand(SHARED / "data" / "kuairand-pure-2w")

    assert report.meta.clips["watch"] == pytest.approx(data.meta["watch_clip_ms"])
    for part in PARTS:
        theirs = data.part(part)
        labels = {
            f"label.{name}": theirs[name].to_numpy(np.float32) for name in ("click", "long_view", "like", "ctcvr")
        }
        ours = prepared(config, tmp_path, part)
        assert_same_rows(
            ours,
            {
                "user_id": theirs["user_id"].to_numpy(),
                "item_id": theirs["video_id"].to_numpy(),
                **labels,
                "label.watch": theirs["watch_ms"].to_numpy(np.float32),
                "label.next": theirs["click"].to_numpy(np.float32),
            },
        )


@pytest.mark.parametrize(
    ("variant", "by", "split"),
    [
        ("global", "span", {"by": "time", "valid": 0.1, "test": 0.1}),
        ("global", "rows", {"by": "rows", "valid": 0.1, "test": 0.1}),
        ("loo", "span", {"by": "leave-last-out", "core": 5}),
    ],
)
def test_movielens_is_split_as_the_protocol_does_in_the_same_order(protocol, tmp_path, variant, by, split):
    folder = SHARED / "data" / "movielens-latest-small"
    with zipfile.ZipFile(folder / "ml-latest-small.zip") as archive:
        archive.extractall(tmp_path)
    config = Config.of(
        {
            "name": "ml",
            "data": {
                "interactions": "ml-latest-small/ratings.csv",
                "user": "userId",
                "item": "movieId",
                "time": "timestamp",
                "split": split,
            },
            "task": [{"name": "next", "kind": "retrieval"}, {"name": "like", "kind": "binary", "label": "rating >= 4"}],
        },
        folder=tmp_path,
    )
    prepare(config, tmp_path)
    data = protocol.movielens(folder, variant, by)

    for part in PARTS:
        ours, theirs = prepared(config, tmp_path, part), data.part(part)
        assert ours["user_id"].cast(pl.Int64).to_list() == theirs["user"].to_list()
        assert ours["item_id"].cast(pl.Int64).to_list() == theirs["item"].to_list()
        assert ours["time"].to_list() == (theirs["ts"] * 1000).to_list()
        assert ours["label.like"].cast(pl.Int8).to_list() == theirs["like"].to_list()


@pytest.fixture(scope="module")
def retail_data(tmp_path_factory) -> LearningData:
    folder = tmp_path_factory.mktemp("retail")
    values = tomllib.loads((SAMPLES / "retail" / "edgerec.toml").read_text("utf-8"))
    del values["data"]["items"]["text"]  # texts change no case
    config = Config.of(values, SAMPLES / "retail")
    prepare(config, folder)
    return Run(config, folder, Silent()).learning_data("test")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["next", "new"])
def test_a_ranking_has_the_figures_of_the_protocol(protocol, retail_data, name):
    """Of any lists, so of the teacher's too, since evaluate_lists judges all.

    Where a user's first two baskets are of the same minute, the two take another one as the first.
    """
    theirs = protocol.online_retail(SHARED / "data" / "online-retail")
    eval_requests = protocol.ranking_cases(theirs, "test", name)
    first = theirs.test[theirs.test["ts"] == theirs.test.groupby("user")["ts"].transform("min")]
    twice = first.groupby("user")["basket"].nunique().loc[lambda n: n > 1].index.to_numpy()
    some = np.flatnonzero(~np.isin(eval_requests.case, twice))
    eval_requests = protocol.EvaluationRequests(
        eval_requests.case[some],
        [eval_requests.history[i] for i in some],
        [eval_requests.truth[i] for i in some],
        eval_requests.catalog,
        [eval_requests.exclude[i] for i in some],
        eval_requests.dropped,
    )
    items, users = (t.sort("index")["id"] for t in (retail_data.dataset.items(), retail_data.dataset.users()))
    number = {str(code): i for i, code in enumerate(theirs.meta["items"]["code"])}
    ids = np.array([number[code] for code in items.to_list()])
    task = next(t for t in retail_data.tasks if t.name == name)
    ranking, log = Ranking(retail_data, task), Interactions.of(retail_data, task)
    asked = np.array([int(users[int(u)]) for u in ranking.users])
    kept = np.flatnonzero(np.isin(asked, eval_requests.case))
    top = ranking.lists(lambda u: log.counts[u].toarray() + log.decayed(14.0) / 1e6, 100)[kept]
    ours_on = EvaluationRequests(
        ranking.requests.rows[kept],
        [ranking.requests.pasts[i] for i in kept],
        [ranking.requests.events[i] for i in kept],
    )

    ours = evaluate_lists(top, task, retail_data, ours_on, (10, 20))
    expected = protocol.score_ranking(eval_requests, {"case": asked[kept], "items": np.where(top < 0, -1, ids[top])})
    assert len(kept) == expected["n"] == ours["ndcg@10"].n
    assert len(twice) < 10
    for metric in ("ndcg@10", "recall@20", "hit@10", "mrr"):
        assert (ours[metric].value, ours[metric].se) == pytest.approx((expected[metric], expected[f"{metric}_se"]))
    assert ours["coverage@10"].value == pytest.approx(expected["coverage@10"])


@pytest.mark.slow
def test_related_lists_have_the_figures_of_the_protocol(protocol, retail_data):
    theirs = protocol.online_retail(SHARED / "data" / "online-retail")
    number = {str(code): i for i, code in enumerate(theirs.meta["items"]["code"])}
    ids = np.array([number[code] for code in retail_data.dataset.items().sort("index")["id"].to_list()])
    top = cosine_lists(retail_data, "session", 0.5)

    ours = metrics.related_metrics(evaluation_sessions(retail_data), top)
    asked = {"case": ids[: len(top)], "items": np.where(top < 0, -1, ids[top])}
    expected = protocol.score_related(protocol.related_baskets(theirs, "test"), asked)
    assert ours["capped_recall@10"].n == expected["n"]
    for metric in ("recall@10", "capped_recall@10", "hit@10"):
        assert (ours[metric].value, ours[metric].se) == pytest.approx((expected[metric], expected[f"{metric}_se"]))
