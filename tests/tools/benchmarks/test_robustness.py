"""What the false logs of `tools/benchmark robustness` leave as it is, and what they change."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from tools.benchmarks import robustness

ROWS, USERS = 1_000, 50


@pytest.fixture
def log():
    rng = np.random.default_rng(0)
    columns = {"user": rng.integers(0, USERS, ROWS), "item": rng.integers(0, 400, ROWS), "session": np.arange(ROWS)}
    rows = pl.DataFrame({"row": np.arange(ROWS), **columns, "time": np.arange(ROWS)}).cast(pl.UInt32)
    users = pl.DataFrame({"index": np.arange(USERS), "cat.Country": np.arange(USERS) % 3}).cast(pl.UInt32)
    return rows, users.with_columns(id=pl.Series([f"u{i}" for i in range(USERS)]))


def attacked(name, log):
    rows, users = robustness.LOGS[name](log, np.array([1, 2]), np.random.default_rng(1))
    assert rows.schema == log[0].schema
    return rows, users


def test_label_noise_exchanges_a_fifth_of_the_items_and_keeps_their_popularity(log):
    rows, _ = attacked("label noise", log)

    assert 0.15 < (rows["item"] != log[0]["item"]).mean() <= 0.2
    assert rows["item"].sort().equals(log[0]["item"].sort())
    assert rows.drop("item").equals(log[0].drop("item"))


def test_shuffled_histories_keep_what_each_user_had(log):
    rows, _ = attacked("shuffled histories", log)

    assert rows.drop("item").equals(log[0].drop("item"))
    assert (rows["item"] != log[0]["item"]).mean() > 0.9
    assert rows.select("user", "item").sort("user", "item").equals(log[0].select("user", "item").sort("user", "item"))


def test_fake_users_come_beside_the_true_ones_and_push(log):
    rows, users = attacked("fake users", log)
    true, fake = rows.filter(pl.col("user") < USERS), rows.filter(pl.col("user") >= USERS)

    assert true.equals(log[0])
    assert users["index"].to_list() == list(range(USERS + 5))
    assert fake["user"].n_unique() == 5
    assert not set(fake["session"]) & set(true["session"])
    assert 0.35 < fake["item"].is_in([1, 2]).mean() < 0.65


@pytest.mark.slow
def test_the_table_has_a_row_for_each_log_and_figure(tmp_path, capsys):
    small = {"epochs": 1, "sessions_per_epoch": 300, "dim": 8, "hidden": 8}

    assert robustness.main(["--out", str(tmp_path), "--teacher", json.dumps(small)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2 + 4 * 4
