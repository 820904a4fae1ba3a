"""Predictions of trained networks for requests, impressions and items, in batches of one as-of time and like length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from edgerec.examples.load import LearningData
from edgerec.examples.requests import Requests
from edgerec.models.inputs import Items
from edgerec.progress import Track
from edgerec.tasks import scored_tasks
from edgerec.tasks.history import Float, Int
from edgerec.training.joint import Scorer
from edgerec.training.losses import conditional_log_probs

AT_ONCE = 256
"""Requests, rows or items that are scored together."""


def network_log_probs(models: Sequence[Scorer], data: LearningData, requests: Requests, chosen: Int) -> Float:
    """Mean log-probability of each item to be the next one, (len(chosen), retrieval tasks, N)."""
    retrieval = [i for i, t in enumerate(scored_tasks(data.tasks)) if t.kind == "retrieval"]
    log_probs = np.zeros((len(chosen), len(retrieval), data.n_items), np.float32)
    with torch.inference_mode():
        for model in models:
            for items, places in group_by_as_of(model, data, requests, chosen):
                logits = model.score_catalog(requests.batch(chosen[places]), items, retrieval)
                log_probs[places] += torch.log_softmax(logits, dim=2).numpy() / len(models)
    return log_probs


def network_rows(
    model: Scorer, data: LearningData, requests: Requests, candidate: Int, chosen: Int, done: Track | None = None
) -> Float:
    """Log-probabilities (binary) and logits (regression) of impressions `chosen`, (len(chosen), T).

    `candidate`: int64, an item for each request.
    """
    logits = network_logits(model, data, requests, candidate, chosen, done)
    return conditional_log_probs(torch.from_numpy(logits), scored_tasks(data.tasks)).numpy()


def network_logits(
    model: Scorer, data: LearningData, requests: Requests, candidate: Int, chosen: Int, done: Track | None = None
) -> Float:
    """Logits of impressions, as the model gives them: of conditional tasks given their condition."""
    logits = np.zeros((len(chosen), len(scored_tasks(data.tasks))), np.float32)
    with torch.inference_mode():
        for items, places in group_by_as_of(model, data, requests, chosen):
            rows = chosen[places]
            item = torch.from_numpy(np.asarray(candidate[rows]))
            logits[places] = model.score_rows(requests.batch(rows), item, items).numpy()
            if done is not None:
                done.advance(len(rows))
    return logits


def network_related(models: Sequence[Scorer], data: LearningData, query: Int) -> Float:
    """Mean logits of being in one session with each item of `query`, (Q, N), at the last as-of time."""
    total = np.zeros((len(query), data.n_items), np.float32)
    with torch.inference_mode():
        for model in models:
            items = model.encode_items(data.as_of(-1))
            for at in np.array_split(np.arange(len(query)), -(-len(query) // AT_ONCE)):
                total[at] += model.score_related(torch.from_numpy(query[at]), items).numpy() / len(models)
    return total


def group_by_as_of(model: Scorer, data: LearningData, requests: Requests, chosen: Int) -> Iterator[tuple[Items, Int]]:
    """Batches of requests of one as-of time and of like length: the items as they were then, and places in `chosen`."""
    as_of = requests.as_of[chosen]
    order = np.lexsort((requests.lengths(chosen), as_of))
    for group in np.split(order, np.flatnonzero(np.diff(as_of[order])) + 1):
        if len(group):
            items = model.encode_items(data.as_of(int(as_of[group[0]])))
            for start in range(0, len(group), AT_ONCE):
                yield items, group[start : start + AT_ONCE]
