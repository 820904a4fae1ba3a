"""What each stage costs on this machine: bytes, memory, multiplications and latency of one request."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np

from edgerec.bundle import Bundle
from edgerec.bundle.size import bundle_size
from edgerec.ensemble.scoring import AnyScorer
from edgerec.evaluation.memory import peak_growth
from edgerec.evaluation.runtime_model import RuntimeModel
from edgerec.examples.evaluation_requests import EvaluationRequests
from edgerec.examples.load import LearningData
from edgerec.examples.requests import Requests
from edgerec.models.text import default_model
from edgerec.progress import Silent
from edgerec.runtime import ArrayRecommender
from edgerec.tasks.history import Int

__all__ = ["StageCosts", "measure_costs", "teacher_bytes", "text_bytes"]

REQUESTS = 5
"""Asked of each stage, which keeps an item table for each time."""
ENOUGH_S = 2.0
"""Of a stage; a slow one is asked fewer requests, but two."""
REQUESTS_OF_BUNDLE, REPEATS = 15, 10
"""A bundle is fast: it answers more requests, each several times. Of five the median was twice that of many."""

StageCosts: TypeAlias = dict[str, float]
"""Of one stage: "bytes", "macs", "ms" and, where it is known, "mb"; see `measure_costs`."""


def measure_costs(
    loaders: Mapping[str, Callable[[], AnyScorer]],
    sizes: Mapping[str, int],
    bundle: Path,
    data: LearningData,
    eval_requests: EvaluationRequests,
) -> dict[str, StageCosts]:
    """Measure every stage, and the bundle through the runtime, with one thread.

    Args:
        loaders: for each stage, a function that loads its model. sizes: bytes of its files.
    Returns:
        By stage: "bytes". "macs": multiply-accumulate operations of matrix products for one request, all tasks and the
        whole catalog; boosted trees do not count, and torch computes its item table each time where a bundle stores it.
        "ms": latency of one request. "mb": by how much loading and answering raise the peak memory of a process that
        has already loaded the libraries, where the system reports it.
        Requests are evaluation requests, or else evaluation impressions; empty where there are neither.
    """
    import torch

    sessions, impressions = data.evaluation.sessions, data.evaluation.impressions
    if sessions is not None and len(eval_requests.rows):
        requests, rows = sessions.requests, eval_requests.rows
    elif impressions is not None and len(impressions.item):
        requests, rows = impressions.requests, np.arange(len(impressions.item))
    else:
        return {}
    chosen = rows[_evenly(len(rows), REQUESTS)]
    by_stage: dict[str, StageCosts] = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for stage, load in loaders.items():
            by_stage[stage] = {"bytes": sizes[stage], **_of_stage(load, requests, chosen)}
    finally:
        torch.set_num_threads(threads)
    return by_stage | {"int8": _of_bundle(bundle, data, eval_requests, _evenly(len(rows), REQUESTS_OF_BUNDLE))}


def _evenly(n: int, most: int) -> Int:
    """Up to `most` places among `n`."""
    return np.linspace(0, n - 1, min(most, n)).astype(np.int64)


def _of_stage(load: Callable[[], AnyScorer], requests: Requests, rows: Int) -> StageCosts:
    from torch.utils.flop_counter import FlopCounterMode

    with peak_growth() as memory:
        scorer = load()
        times: list[float] = []
        for row in rows.tolist():
            times.append(_ms_of(partial(_all_tasks, scorer, requests, row)))
            if len(times) > 1 and sum(times) >= 1000 * ENOUGH_S:
                break
    with FlopCounterMode(display=False) as counted:
        _all_tasks(scorer, requests, row)  # whose item table is there: each time has its own
    costs = {"macs": counted.get_total_flops() // 2, "ms": statistics.median(times)}
    return costs if memory.mb is None else costs | {"mb": memory.mb}


def _of_bundle(bundle: Path, data: LearningData, eval_requests: EvaluationRequests, places: Int) -> StageCosts:
    with peak_growth() as memory, ArrayRecommender.of(bundle) as recommender:
        model = RuntimeModel(recommender, data, eval_requests, Silent())
        asked = list(model.requests(places.tolist()))
        times = [_ms_of(partial(recommender.rank, 10, **request)) for request in asked for _ in range(REPEATS)]
    work = Bundle.open(bundle).manifest.device["work"]
    scan = work["table"] * (work["logits"] // work["items"])
    costs = {"bytes": bundle_size(bundle).model, "macs": work["macs"] + scan, "ms": statistics.median(times)}
    return costs if memory.mb is None else costs | {"mb": memory.mb}


def _all_tasks(teacher: AnyScorer, requests: Requests, row: int) -> None:
    """Compute for a request what the bundle computes: every task for every item."""
    if any(task.kind == "retrieval" for task in teacher.tasks):
        teacher.log_probs(requests, np.array([row]))
    if any(task.kind != "retrieval" for task in teacher.tasks):
        items = np.arange(teacher.n_items)
        teacher.rows(requests.take(np.full(len(items), row)), items, items)


def _ms_of(call: Callable[[], object]) -> float:
    """Wall-clock time of a call in ms."""
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start)


def teacher_bytes(folder: Path) -> int:
    """Size of the teacher's networks and ensemble, without logs and early checkpoints."""
    files = [p for p in folder.glob("*.safetensors") if not p.name.startswith("early")]
    files += [p for p in (folder / "ensemble").rglob("*") if p.is_file()]
    return sum(path.stat().st_size for path in files)


def text_bytes(text_model: str | None) -> int:
    """Size of the weights of the language model, if it is in a folder; else 0."""
    folder = Path(text_model or default_model() or "")
    return sum(path.stat().st_size for path in folder.glob("*.safetensors")) if folder.is_dir() else 0
