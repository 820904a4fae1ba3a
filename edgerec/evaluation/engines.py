"""Do the runtime's engines give the same lists?"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np

from edgerec import metrics
from edgerec.evaluation.runtime_model import RuntimeModel
from edgerec.examples.evaluation_requests import EvaluationRequests
from edgerec.examples.load import LearningData
from edgerec.metrics import TaskMetrics
from edgerec.progress import Silent
from edgerec.runtime import ArrayRecommender

__all__ = ["compare_engines"]

REQUESTS = 200
LENGTH = 10


def compare_engines(bundle: Path, data: LearningData, eval_requests: EvaluationRequests) -> TaskMetrics:
    """Overlap of the ten best items with numpy and with onnxruntime; for JavaScript see `tools/benchmark runtimes`."""
    lists = []
    for engine in ("onnxruntime", "numpy"):
        with ArrayRecommender.of(bundle, engine) as recommender:
            model = RuntimeModel(recommender, data, eval_requests, Silent())
            ranked = [recommender.rank(LENGTH, **request).item for request in islice(model.requests(), REQUESTS)]
            padded = [np.pad(items, (0, LENGTH - len(items)), constant_values=-1) for items in ranked]
            lists.append(np.array(padded, np.int64))
    if not len(lists[0]):
        return {}
    return {f"numpy and onnxruntime, overlap@10 of {len(lists[0])} requests": metrics.overlap(lists[0], lists[1])}
