"""How much smaller and faster than its teacher a bundle is, on this machine, with one thread each."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from edgerec.bundle.size import bundle_size
from edgerec.ensemble.scoring import AnyScorer
from edgerec.evaluation.runtime_model import RuntimeModel
from edgerec.examples.evaluation_requests import find_evaluation_requests
from edgerec.examples.load import LearningData
from edgerec.examples.requests import Requests
from edgerec.models.text import default_model
from edgerec.progress import Progress
from edgerec.runtime import ArrayRecommender

__all__ = ["Ratios", "all_tasks", "measure_ratios", "ms_of", "teacher_bytes", "text_bytes"]

REQUESTS = 15
"""Different requests that are timed."""
LONGEST_S = 4.0
"""After that no other request is asked of a slow teacher, if it answered `FEWEST`."""
FEWEST = 3
REPEATS = 10
"""Times that the bundle, which is fast, answers each request."""


@dataclass(frozen=True)
class Ratios:
    """Sizes, and latencies of ranking the whole catalog for one request with all tasks, in ms.

    Attributes:
        text_bytes: size of the language model that is part of the teacher; 0 without texts.
    """

    teacher_bytes: int
    text_bytes: int
    bundle_bytes: int
    teacher_ms: float
    bundle_ms: float

    def lines(self) -> list[str]:
        """For the screen."""
        whole = self.teacher_bytes + self.text_bytes
        text = f", {self.text_bytes / 1e6:.1f} MB of them are its language model" if self.text_bytes else ""
        return [
            f"teacher: {whole / 1e6:.1f} MB{text}; {self.teacher_ms:.1f} ms a request (torch, one thread)",
            f"bundle: {self.bundle_bytes / 1e6:.3f} MB of graphs and weights; {self.bundle_ms:.2f} ms a request",
            f"{whole / self.bundle_bytes:,.0f} times smaller, {self.teacher_ms / self.bundle_ms:,.0f} times faster",
        ]


def measure_ratios(
    teacher: AnyScorer, folder: Path, text_model: str | None, bundle: Path, data: LearningData, progress: Progress
) -> Ratios:
    """Measure size and latency of a teacher, whose files are in `folder`, and of a bundle."""
    eval_requests, sessions = find_evaluation_requests(data), data.evaluation.sessions
    assert sessions is not None
    chosen = np.linspace(0, len(eval_requests.rows) - 1, min(REQUESTS, len(eval_requests.rows))).astype(np.int64)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ArrayRecommender.of(bundle) as recommender:
            model = RuntimeModel(recommender, data, eval_requests, progress)
            arguments = list(model.session_requests())
            slow: list[float] = []
            for row in eval_requests.rows[chosen]:
                slow.append(ms_of(partial(all_tasks, teacher, sessions.requests, int(row))))
                if len(slow) >= FEWEST and sum(slow) > 1000 * LONGEST_S:
                    break
            fast = [ms_of(partial(recommender.rank, 10, **arguments[r])) for r in chosen for _ in range(REPEATS)]
    finally:
        torch.set_num_threads(threads)
    return Ratios(
        teacher_bytes(folder),
        text_bytes(text_model) if data.dataset.meta.text else 0,
        bundle_size(bundle).model,
        statistics.median(slow),
        statistics.median(fast),
    )


def all_tasks(teacher: AnyScorer, requests: Requests, row: int) -> None:
    """Compute for a request what the bundle computes: every task for every item."""
    if any(task.kind == "retrieval" for task in teacher.tasks):
        teacher.log_probs(requests, np.array([row]))
    if any(task.kind != "retrieval" for task in teacher.tasks):
        items = np.arange(teacher.n_items)
        teacher.rows(requests.take(np.full(len(items), row)), items, items)


def ms_of(call: Callable[[], object]) -> float:
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
