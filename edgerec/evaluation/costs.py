"""What each stage costs on this machine: bytes, memory, multiplications, and time for one request."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from edgerec.bundle import Bundle
from edgerec.bundle.size import bundle_size
from edgerec.ensemble.scoring import AnyScorer
from edgerec.evaluation.memory import added
from edgerec.evaluation.ratios import all_tasks, ms_of
from edgerec.evaluation.runtime_model import RuntimeModel
from edgerec.examples.evaluation_requests import EvaluationRequests
from edgerec.examples.load import LearningData
from edgerec.examples.requests import Requests
from edgerec.progress import Silent
from edgerec.runtime import ArrayRecommender
from edgerec.tasks.history import Int

__all__ = ["costs"]

REQUESTS = 5
CALLS = 20
"""Of each request by the bundle, which is quick."""


def costs(
    loaders: Mapping[str, Callable[[], AnyScorer]],
    sizes: Mapping[str, int],
    bundle: Path,
    data: LearningData,
    eval_requests: EvaluationRequests,
) -> dict[str, dict[str, float]]:
    """By stage: "bytes"; "macs", multiplications of matrices for one request, all tasks, the whole catalogue (boosted
    trees do not count; torch computes its item table anew, a bundle holds it); "ms", one thread, of the bundle through
    the runtime; "mb", what loading it and answering adds to the peak memory of a process that holds the libraries,
    where the system tells.

    `loaders` and `sizes` are by stage: the model, and the bytes of its files. Asked about evaluation sessions, or
    where no task needs them about evaluation impressions; empty where there are neither.
    """
    import torch

    sessions, shown = data.evaluation.sessions, data.evaluation.impressions
    if sessions is not None and len(eval_requests.rows):
        requests, rows = sessions.requests, eval_requests.rows
    elif shown is not None and len(shown.item):
        requests, rows = shown.requests, np.arange(len(shown.item))
    else:
        return {}
    chosen = rows[np.linspace(0, len(rows) - 1, min(REQUESTS, len(rows))).astype(np.int64)]
    found: dict[str, dict[str, float]] = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for stage, load in loaders.items():
            found[stage] = {"bytes": sizes[stage], **_of_stage(load, requests, chosen)}
    finally:
        torch.set_num_threads(threads)
    return found | {"int8": _of_bundle(bundle, data, eval_requests)}


def _of_stage(load: Callable[[], AnyScorer], requests: Requests, rows: Int) -> dict[str, float]:
    from torch.utils.flop_counter import FlopCounterMode

    with added() as memory:
        scorer = load()
        times = [ms_of(partial(all_tasks, scorer, requests, row)) for row in rows.tolist()]
    with FlopCounterMode(display=False) as counted:
        all_tasks(scorer, requests, int(rows[0]))
    found = {"macs": counted.get_total_flops() // 2, "ms": statistics.median(times)}
    return found if memory.mb is None else found | {"mb": memory.mb}


def _of_bundle(bundle: Path, data: LearningData, eval_requests: EvaluationRequests) -> dict[str, float]:
    with added() as memory, ArrayRecommender.of(bundle) as recommender:
        model = RuntimeModel(recommender, data, eval_requests, Silent())
        asked = model.asked() if len(eval_requests.rows) else model.asked_of_rows()
        first = [request for request, _ in zip(asked, range(REQUESTS), strict=False)]
        times = [ms_of(partial(recommender.rank, 10, **request)) for request in first for _ in range(CALLS)]
    work = Bundle.open(bundle).manifest.device["work"]
    scan = work["table"] * (work["logits"] // work["items"])
    found = {"bytes": bundle_size(bundle).model, "macs": work["macs"] + scan, "ms": statistics.median(times)}
    return found if memory.mb is None else found | {"mb": memory.mb}
