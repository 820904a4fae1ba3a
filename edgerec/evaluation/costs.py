"""What each stage costs on this machine: bytes, memory, multiplications, and time for one request."""

from __future__ import annotations

import statistics
from functools import partial
from pathlib import Path

import numpy as np

from edgerec.compression.quantization import model_bytes
from edgerec.config import Config
from edgerec.evaluation.cases import Cases
from edgerec.evaluation.memory import added
from edgerec.evaluation.ratios import all_tasks, ms_of, teacher_bytes, text_bytes
from edgerec.evaluation.runtime_model import RuntimeModel
from edgerec.progress import Silent
from edgerec.runtime import Recommender
from edgerec.tasks.history import Int
from edgerec.training.examples import Requests
from edgerec.training.load import LearningData
from edgerec.training.scoring import STAGES, load_scorer

__all__ = ["costs"]

REQUESTS = 5
CALLS = 20
"""Of each request by the bundle, which is quick."""


def costs(config: Config, run_dir: Path, data: LearningData, cases: Cases) -> dict[str, dict[str, float]]:
    """By stage: "bytes", "macs" (multiplications of the network's matrices for one request over the whole catalogue,
    all tasks; boosted trees do not count), "ms" (one thread; of the bundle through the runtime) and "mb" (what loading
    it and answering adds to the peak memory of a process that holds the libraries; where the system tells).

    Empty where the log has no visits to ask about.
    """
    import torch

    visits = data.held.visits
    if visits is None or not len(cases.rows):
        return {}
    chosen = cases.rows[np.linspace(0, len(cases.rows) - 1, min(REQUESTS, len(cases.rows))).astype(np.int64)]
    found: dict[str, dict[str, float]] = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for stage in STAGES:
            found[stage] = _of_stage(stage, config, run_dir, data, visits.requests, chosen)
    finally:
        torch.set_num_threads(threads)
    found["int8"] = {
        "bytes": _bundle_bytes(run_dir),
        "macs": found["pruned"]["macs"],
        **_of_bundle(run_dir, data, cases),
    }
    return found


def _of_stage(
    stage: str, config: Config, run_dir: Path, data: LearningData, requests: Requests, rows: Int
) -> dict[str, float]:
    from torch.utils.flop_counter import FlopCounterMode

    with added() as memory:
        scorer = load_scorer(stage, config, run_dir, data)
        for row in rows.tolist():
            all_tasks(scorer, requests, row)
    with FlopCounterMode(display=False) as counted:
        all_tasks(scorer, requests, int(rows[0]))
    times = [ms_of(partial(all_tasks, scorer, requests, row)) for row in rows.tolist()]
    size = teacher_bytes(run_dir / "teacher") + (text_bytes(config) if data.dataset.meta.text else 0)
    size = size if stage == "teacher" else _weights(run_dir / stage)
    found = {"bytes": size, "macs": counted.get_total_flops() // 2, "ms": statistics.median(times)}
    return found if memory.mb is None else found | {"mb": memory.mb}


def _of_bundle(run_dir: Path, data: LearningData, cases: Cases) -> dict[str, float]:
    with added() as memory, Recommender.of(run_dir / "bundle") as recommender:
        asked = RuntimeModel(recommender, data, cases, Silent()).asked()
        first = [request for request, _ in zip(asked, range(REQUESTS), strict=False)]
        times = [ms_of(partial(recommender.rank, 10, **request)) for request in first for _ in range(CALLS)]
    found = {"ms": statistics.median(times)}
    return found if memory.mb is None else found | {"mb": memory.mb}


def _weights(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def _bundle_bytes(run_dir: Path) -> int:
    return model_bytes({path.name: path.stat().st_size for path in (run_dir / "bundle").iterdir()})
