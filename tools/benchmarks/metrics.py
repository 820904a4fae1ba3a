"""Seconds and memory of computing metrics of lists of 100 items for made-up users: accuracy, and beyond accuracy."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from edgerec import metrics
from edgerec.metrics import ItemUsage, beyond_accuracy_metrics
from tools.benchmarks.shared.command import Parser, add_json, print_rows

DURATION = "15 seconds"
LENGTH, TRUE, PAST, EVENTS = 100, 5, 20, 20
Array: TypeAlias = npt.NDArray[Any]


def made_up(users: int, items: int) -> tuple[Array, list[Array], list[Array], Callable[[], ItemUsage]]:
    """Lists, true items and pasts of each user, and what makes the catalogue of a log of `EVENTS` rows a user."""
    rng = np.random.default_rng(0)
    popularity = (np.arange(items) + 10.0) ** -0.8
    item = rng.choice(items, users * EVENTS, p=popularity / popularity.sum())
    user = rng.integers(0, users, users * EVENTS)
    top = rng.integers(0, items - LENGTH, (users, 1)) + np.arange(LENGTH)
    truth, pasts = ([np.unique(row) for row in rng.integers(0, items, (users, n))] for n in (TRUE, PAST))
    return top, truth, pasts, lambda: ItemUsage(user, item, items)


def main(arguments: Sequence[str]) -> int:
    """Print a row for each kind of metric."""
    parser = Parser(__name__, __doc__)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=100_000)
    add_json(parser)
    options = parser.parse_args(arguments)
    top, truth, pasts, catalogue = made_up(options.users, options.items)
    kinds: dict[str, Callable[[], object]] = {
        "ranking": lambda: metrics.ranking_metrics(top, truth, options.items),
        "beyond accuracy": lambda: beyond_accuracy_metrics(top, truth, pasts, catalogue()),
    }
    rows = []
    for name, compute in kinds.items():
        start = time.perf_counter()
        compute()
        seconds = time.perf_counter() - start
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        sizes = {"metrics": name, "users": options.users, "items": options.items}
        rows.append({**sizes, "seconds": seconds, "peak MB of the process": peak_mb})
    print_rows(rows, options.json)
    return 0
