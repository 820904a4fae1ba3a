"""The log of films that are rated as they come out, and what the chain makes of a small one."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tools.benchmarks import films


def test_a_film_is_rated_within_days_of_its_release_and_by_nobody_twice():
    log = films.films(users=100, films=60, days=60, rows=1_500)
    first = log.group_by("film").agg(
        (pl.col("time").quantile(0.9) - pl.col("time").min()).alias("span"), pl.len().alias("n")
    )

    assert log["time"].is_sorted() and log.select("user", "film").is_unique().all()
    assert (first.filter(pl.col("n") >= 10)["span"].median() or 0) < 14 * films.DAY_MS
    assert films.films(rows=50).equals(films.films(rows=50))


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A folder with a log of minutes, and settings that fit it."""
    films.films(users=150, films=80, days=60, rows=3_000).write_csv(tmp_path / "films.csv")
    monkeypatch.setitem(films.SETTINGS, "evaluation", {"beat_baselines": False, "min_ndcg_retained": 0.0})
    monkeypatch.setitem(films.SETTINGS, "distillation", {"epochs": 4, "min_ndcg_retained": 0.0})
    return tmp_path


@pytest.mark.slow
def test_what_newer_rows_gain_is_told_day_by_day_and_on_the_first_day_there_are_none(small):
    films.compare(small, "time", 0)
    *days, whole = films.day_by_day(small, 0)

    assert days[0][0] == "1" and whole[0] == "all"
    assert sum(int(n) for _, n, *_ in days) == int(whole[1]) > 50
    assert days[0][-1] == "+0.0000 ±0.0000"


@pytest.mark.slow
def test_the_bundle_keeps_up_with_popularity_also_where_each_user_has_a_time_of_their_own(small):
    rows = films.compare(small, "leave-last-out", 0)
    ndcg = {model: float(value.partition(" ")[0]) for _, model, value, *_ in rows}
    notes = (small / "leave-last-out-0" / "report" / "report.json").read_text("utf-8")

    assert "int8 is asked as of each request" in notes
    assert np.isfinite(list(ndcg.values())).all() and ndcg["recent_popularity"] > 0.1
    assert ndcg["int8"] == pytest.approx(ndcg["pruned"], abs=0.05)
