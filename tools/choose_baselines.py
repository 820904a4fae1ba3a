"""Which baselines are the strongest on valid: tools/choose_baselines.py RUN, for a run whose `edgerec prepare` is done.

Fits every variant on the train part and scores it on the valid part; the test part is never read. The choices in
`edgerec.evaluation.baselines` are the best lines for `edgerec demo retail`: by the mean of both columns of NDCG@10, and
by capped recall@10.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgerec.cli.output import format_table
from edgerec.data.dataset import Dataset
from edgerec.evaluation import baselines, metrics

Array = np.ndarray[Any, np.dtype[Any]]
L2 = (100.0, 200.0, 400.0, 800.0, 1600.0)
SIZE_POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)
RECENCY_DAYS = (7.0, 28.0, 90.0)


class BareEase(baselines.Ease):
    """Without the user's own counts."""

    def scores(self, histories: Any) -> Array:
        counts = np.stack([np.bincount(history, minlength=len(self._weights)) for history in histories])
        return (counts > 0).astype(np.float32) @ self._weights


class OwnRecency:
    """The user's counts, ties by how lately the user had the item, or counts that halve every `half_life_days`."""

    def __init__(self, popularity: Array, times: list[Array], half_life_days: float | None, now_ms: int) -> None:
        self.popularity, self.times, self.half_life_days, self.now_ms = popularity, times, half_life_days, now_ms

    def scores(self, histories: Any) -> Array:
        found = np.tile(self.popularity / (self.popularity.max() * 1e6), (len(histories), 1))
        for row, items, times in zip(found, histories, self.times, strict=True):
            age_days = (self.now_ms - times) / baselines.DAY_MS
            if self.half_life_days is None:
                row += np.bincount(items, minlength=len(row))
                np.maximum.at(row, items, row[items] + 0.5 ** (age_days / 28) / 2)
            else:
                np.add.at(row, items, 0.5 ** (age_days / self.half_life_days))
        return found


def main() -> None:
    """Print NDCG@10 of the ranking variants and recall@10 of the related ones, on valid."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    dataset = Dataset.open(parser.parse_args().run / "dataset")
    train = dataset.part("train").sort("user", "time", maintain_order=True).collect()
    valid = dataset.part("valid").sort("user", "time", maintain_order=True).collect()
    user, item, time = (train[c].to_numpy().astype(np.int64) for c in ("user", "item", "time"))
    n = dataset.meta.catalog["train"]
    key = "session" if "session" in valid.columns else "time"

    rows = np.arange(len(user))
    past = {int(u): rows[a:b] for u, a, b in zip(*_slices(user), strict=True)}
    asked, truths = [], []
    for (u,), visit in valid.group_by("user", maintain_order=True):
        shown = visit.filter(visit[key] == visit[key][0])["item"].to_numpy().astype(np.int64)
        if u in past and (shown < n).any():
            asked.append(past[int(u)])
            truths.append(np.unique(shown[shown < n]))
    histories, pasts = [item[a] for a in asked], [np.unique(item[a]) for a in asked]
    new = [t[~np.isin(t, p)] for t, p in zip(truths, pasts, strict=True)]

    def ndcg(model: baselines.Baseline) -> list[float]:
        found = []
        for truth, exclude in ((truths, None), (new, pasts)):
            top = baselines.top_items(model, histories, 100, exclude, block=len(histories))
            some = np.array([len(t) > 0 for t in truth])
            left_out = [e for e, s in zip(exclude, some, strict=True) if s] if exclude else None
            found.append(metrics.ranking(top[some], [t for t in truth if len(t)], n, left_out)["ndcg@10"].value)
        return found

    popularity = baselines.RecentPopularity(item, time, n)
    times = [time[a] for a in asked]
    now = int(time.max())
    models: dict[str, Callable[[], baselines.Baseline]] = {
        f"recent popularity, half-life {popularity.half_life_days:g} days": lambda: popularity,
        "own frequency, ties by popularity": lambda: baselines.OwnFrequency(popularity.popularity),
        "own frequency, ties by recency": lambda: OwnRecency(popularity.popularity, times, None, now),
    }
    for days in RECENCY_DAYS:
        models[f"own frequency, half-life {days:g} days"] = lambda d=days: OwnRecency(
            popularity.popularity, times, d, now
        )  # type: ignore[misc]
    for l2 in L2:
        models[f"EASE, l2 {l2:g}"] = lambda l2=l2: baselines.Ease(user, item, n, l2)  # type: ignore[misc]
    models["EASE, l2 800, without own counts"] = lambda: BareEase(user, item, n, 800.0)
    ranked = []
    for name, make in models.items():
        allowed, excluded = ndcg(make())
        ranked.append([name, *(f"{x:.5f}" for x in (allowed, excluded, (allowed + excluded) / 2))])
    print(format_table(("NDCG@10 on valid", "repeats allowed", "excluded", "mean"), ranked))

    if key == "session":
        together = [np.unique(v["item"].to_numpy().astype(np.int64)) for _, v in valid.group_by("session")]
        known = [t[t < n] for t in together]
        sessions = [t for t in known if len(t) > 1]
        session = train["session"].to_numpy().astype(np.int64)
        judged = []
        for power in SIZE_POWERS:
            top = baselines.related_by_sessions(session, item, n, 10, power)
            found = metrics.related(sessions, top)
            judged.append([f"a session of n items counts n ** -{power:g}", *(f"{e.value:.5f}" for e in found.values())])
        print("\n" + format_table(("related on valid", *found), judged))


def _slices(user: Array) -> tuple[Array, Array, Array]:
    """Users in order, and where the rows of each start and end."""
    start = np.flatnonzero(np.append(True, user[1:] != user[:-1]))
    return user[start], start, np.append(start[1:], len(user))


if __name__ == "__main__":
    main()
