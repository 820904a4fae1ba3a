"""Seconds and memory of judging lists of 100 items of made-up users: accuracy, and what lies beyond it."""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np

from edgerec.cli.output import print_table
from edgerec.evaluation import metrics
from edgerec.evaluation.beyond import Catalogue, beyond

LENGTH, TRUE, PAST, EVENTS = 100, 5, 20, 20


def made_up(users: int, items: int) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray], Callable[[], Catalogue]]:
    """Lists, true items and pasts of each user, and what makes the catalogue of a log of `EVENTS` rows a user."""
    rng = np.random.default_rng(0)
    popularity = (np.arange(items) + 10.0) ** -0.8
    item = rng.choice(items, users * EVENTS, p=popularity / popularity.sum())
    user = rng.integers(0, users, users * EVENTS)
    top = rng.integers(0, items - LENGTH, (users, 1)) + np.arange(LENGTH)
    truth, pasts = (list(map(np.unique, rng.integers(0, items, (users, n)))) for n in (TRUE, PAST))
    return top, truth, pasts, lambda: Catalogue(user, item, items)


def main() -> None:
    parser = argparse.ArgumentParser("tools/judging", description=__doc__)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=100_000)
    given = parser.parse_args()
    top, truth, pasts, catalogue = made_up(given.users, given.items)
    jobs = {
        "ranking": lambda: metrics.ranking(top, truth, given.items),
        "beyond accuracy": lambda: beyond(top, truth, pasts, catalogue()),
    }
    rows = []
    for name, job in jobs.items():
        start = time.perf_counter()
        job()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        rows.append([name, given.users, given.items, time.perf_counter() - start, peak])
    print_table(["metrics", "users", "items", "seconds", "peak MB of the process"], rows)


if __name__ == "__main__":
    main()
