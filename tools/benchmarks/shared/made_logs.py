"""Made-up logs of ratings of any size, on which time and memory are measured; their figures of quality mean nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from edgerec.config import Config
from edgerec.data.guess import guess_settings

START_S, DAYS = 1_600_000_000, 1_000
TASTES = 20


def ratings(rows: int, users: int, items: int, seed: int = 0) -> pl.DataFrame:
    """Users of some taste rate popular items of it more often and higher; few users rate much, most rate little."""
    rng = np.random.default_rng(seed)
    weight = rng.pareto(1.5, users) + 0.2
    user = rng.choice(users, rows, p=weight / weight.sum())
    own = rng.random(rows) < 0.6
    place = (items * rng.random(rows) ** 2).astype(np.int64)
    item = np.where(own, place // TASTES * TASTES + user % TASTES, place) % items
    alike = item % TASTES == user % TASTES
    rating = np.clip(np.round(rng.normal(3.4 + 0.7 * alike, 1.0, rows)), 1, 5).astype(np.int64)
    time = START_S + np.sort(rng.integers(0, DAYS * 86_400, rows))
    return pl.DataFrame({"user_id": user, "item_id": item, "rating": rating, "timestamp": time})


def with_first_settings(folder: Path, rows: int, users: int, items: int) -> Config:
    """A made-up log in `folder`, and the settings that `edgerec init` writes for it."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "ratings.parquet"
    ratings(rows, users, items).write_parquet(log)
    (folder / "edgerec.toml").write_text(guess_settings(log, None, None, folder).toml, "utf-8")
    return Config.load(folder / "edgerec.toml")
