"""A bundle for today's catalogue around the same student, and the delta that brings it to a device."""

from __future__ import annotations

import shutil

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from edgerec.bundle import Bundle
from edgerec.cli.main import app
from edgerec.compression.current import NewerRows, newest_statistics
from edgerec.config import Config
from edgerec.progress import Silent
from edgerec.runtime import Recommender
from tests import tiny


def edgerec(*arguments, exit_code=0):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == exit_code, result.output
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def released(tiny_chain, tmp_path_factory):
    """The tiny chain's bundle as version 1, and version 2 with newer rows and today's items."""
    home = tmp_path_factory.mktemp("released")
    shutil.copytree(tiny_chain, home / "shop")
    shop = home / "shop"
    log = pl.read_csv(shop / "log.csv")
    last = log["time"].max()
    newer = log.head(300).with_columns(
        item=pl.lit("i7"),
        time=last + 1 + pl.int_range(300) * 60_000,
        user=pl.lit("stranger"),
        session=pl.int_range(300),
    )
    pl.concat([log, newer.cast(log.schema)]).write_csv(shop / "newer.csv")
    items = log.unique("item", keep="first").select("item", "shelf", "price").filter(pl.col("item") != "i5")
    items = items.with_columns(available=pl.col("item") != "i4")
    new = pl.DataFrame({"item": ["fresh"], "shelf": ["x"], "price": [2.0], "available": [True]})
    pl.concat([items, new.cast(items.schema)]).write_csv(shop / "items.csv")
    shutil.move(shop / "run" / "bundle", home / "v1")
    settings = tiny.settings(quantization={"newer_rows": "newer.csv", "items_now": "items.csv"})
    (shop / "edgerec.toml").write_text(tiny.toml({"version": 2, **settings}))
    said = edgerec("quantize", "-c", shop / "edgerec.toml", "--run-dir", shop / "run")
    edgerec("delta", home / "v1", shop / "run" / "bundle", "-o", home / "delta")
    return home, said


def opened(home, which):
    return Recommender.of(home / "v1" if which == 1 else home / "shop" / "run" / "bundle")


def test_what_came_and_went_is_said(released):
    said = released[1]
    assert "rows after those of the dataset say what is popular now; 0 of unknown items" in said
    assert "items.csv: 1 new items, 2 that are not available" in said


def test_newer_rows_say_what_is_popular_now(tiny_data, released):
    shop = released[0] / "shop"
    config = Config.load(shop / "edgerec.toml")
    newer = NewerRows(str(shop / "newer.csv"), "newer.csv", config.data, config.task)
    now = newest_statistics(newer, tiny_data, Silent())
    before = tiny_data.statistics.values[-1]
    i7 = tiny_data.dataset.items()["id"].to_list().index("i7")
    column = tiny_data.statistics.names.index("popularity.3d")

    assert now.shape == before.shape
    assert now[:, column].argmax() == i7 != before[:, column].argmax()


def test_what_is_gone_is_not_shown(released):
    home, _ = released
    with opened(home, 1) as old, opened(home, 2) as new:
        n = old.bundle.manifest.n_items
        before = [r.item for r in old.recommend(k=n, weights={"next": 1.0})]
        found = new.recommend(k=n + 1, weights={"next": 1.0})
        after = [r.item for r in found]
        assert new.bundle.manifest.n_items == n + 1
    assert [i for i in before if i not in ("i4", "i5")] != [i for i in after if i != "fresh"]  # other priors
    assert {"i4", "i5"}.isdisjoint(after) and {"i4", "i5"} <= set(before)
    assert found.why_fewer == {"catalogue": n + 1, "unavailable": 2}


def test_a_new_item_has_a_row_by_its_attributes(released):
    home, _ = released
    with opened(home, 2) as new:
        index = new.arrays.index_of("fresh")
        vectors = new.arrays.model.engine.vectors(np.array([index]))
        assert new.score(["fresh"])[0].attributes == {"shelf": "x", "price": 2.0}
        assert 0 < new.score(["fresh"])[0].probability["click"] < 1
        assert np.abs(vectors).max() > 0
        new.observe("fresh", "click")
        assert new.recommend(k=3, explain=True)


def test_a_device_takes_the_delta_and_has_the_new_bundle(released, tmp_path):
    home, _ = released
    shutil.copytree(home / "v1", tmp_path / "device")
    with Recommender.open(tmp_path / "device") as rec:
        assert rec.update(home / "delta") == "tiny 2"
        assert rec.arrays.index_of("fresh") is not None and rec.check() > 0
    whole = sum(e.bytes for e in Bundle.open(home / "shop" / "run" / "bundle").manifest.files.values())
    assert sum(p.stat().st_size for p in (home / "delta").iterdir()) < whole


def test_the_new_bundle_can_be_judged_like_any_other(released, undrawn):
    home, _ = released
    assert "int8" in edgerec("evaluate", "-c", home / "shop" / "edgerec.toml", "--run-dir", home / "shop" / "run")


@pytest.mark.parametrize(
    ("quantization", "said"),
    [
        ({"newer_rows": "gone.csv"}, "gone.csv"),
        ({"newer_rows": "log.csv"}, "no row of a known item is newer"),
        ({"items_now": "log2.csv"}, "no column 'price'"),
    ],
)
def test_a_wrong_file_is_one_line(released, quantization, said):
    home, _ = released
    shop = home / "shop"
    pl.read_csv(shop / "log.csv").drop("price").write_csv(shop / "log2.csv")
    # The log's last rows are after the training rows: cut it there, so that nothing is newer.
    log = pl.read_csv(shop / "log.csv")
    (shop / "wrong.toml").write_text(tiny.toml(tiny.settings(quantization=quantization)))
    if quantization.get("newer_rows") == "log.csv":
        log.sort("time").head(400).write_csv(shop / "early.csv")
        (shop / "wrong.toml").write_text(tiny.toml(tiny.settings(quantization={"newer_rows": "early.csv"})))
    assert said in edgerec("quantize", "-c", shop / "wrong.toml", "--run-dir", shop / "run", exit_code=2)
