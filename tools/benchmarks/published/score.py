"""The metric of the published tables: recall and NDCG of lists from the whole catalogue."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgerec.metrics import Estimate, hits, ranking_metrics
from edgerec.metrics.estimate import mean

Int = npt.NDArray[np.int64]


def score(
    lists: Int, truth: Sequence[Int], seen: Sequence[Int] | None, n_items: int, k: Sequence[int], whole_ideal: bool
) -> dict[str, Estimate]:
    """Recall and NDCG at each `k`, with standard errors over the requests.

    Args:
        lists: item numbers, (R, K), best first, -1 pads. truth: the true items of each request, at least one.
        seen: items that the list of a request may not hold; None: it may hold all.
        whole_ideal: see `edgerec.tools.benchmarks.published.sets.Protocol`.
    Raises:
        ValueError: a list holds a repeated, seen or unknown item.
    """
    truth = [np.unique(items) for items in truth]
    figures = ranking_metrics(lists, truth, n_items, seen, k)
    chosen = {name: figures[name] for cut in k for name in (f"recall@{cut}", f"ndcg@{cut}")}
    if whole_ideal:
        n_true = np.array([len(items) for items in truth])
        ideal = np.cumsum(1 / np.log2(np.arange(2, max(n_true.max(initial=0), 1) + 2)))[n_true - 1]
        hit = hits(lists, truth)
        for cut in k:
            gain = 1 / np.log2(np.arange(2, min(cut, hit.shape[1]) + 2))
            chosen[f"ndcg@{cut}"] = mean(hit[:, :cut] @ gain / ideal)
    return chosen
