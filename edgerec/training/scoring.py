"""Trained models before they are exported, asked what the bundle is asked: by the chain of evidence and `--stage`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgerec.config import Config
from edgerec.evaluation.baselines import top_k
from edgerec.evaluation.metrics import MAX_RANK
from edgerec.models.inputs import RequestBatch
from edgerec.tasks import Task, scored_tasks
from edgerec.tasks.history import Int
from edgerec.training.checkpoint import load_student, read_json
from edgerec.training.joint import Scorer
from edgerec.training.load import LearningData
from edgerec.training.losses import chain_log_probabilities
from edgerec.training.teacher import load_teachers

if TYPE_CHECKING:
    from edgerec.evaluation.chain import Cases

AT_ONCE = 256
"""Requests, rows or items that are scored together."""
RELATED_K = 10
"""Length of the lists of related items."""
STAGES = ("teacher", "student", "pruned")
"""Stages that are torch models; the one after them, INT8, is the bundle."""

Scores = npt.NDArray[np.floating[Any]]


class TorchScorer:
    """One model, or the mean of several models' log-probabilities, over the catalogue as it is after the fit rows."""

    def __init__(
        self,
        models: Sequence[Scorer],
        data: LearningData,
        expectations: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        """`expectations`: of regression tasks, as in a student's model.json; None takes the median instead."""
        self.models, self.scales, self.n_items = models, data.scales, data.n_items
        self.expectations = expectations or {}
        self.tasks = scored_tasks(data.tasks)
        moment = data.moment(-1)
        with torch.inference_mode():
            self.items = [m.encode_items(moment) for m in models]

    @classmethod
    def load(cls, stage: str, config: Config, run_dir: Path, data: LearningData) -> TorchScorer:
        """The models of "teacher", "student" or "pruned" of a run.

        Raises:
            DataError: the stage has not been run for these settings.
        """
        if stage == "teacher":
            return cls(load_teachers(config, run_dir, data), data)
        student = load_student(run_dir / stage, data.shape, data.features).eval()
        return cls([student], data, read_json(run_dir / stage / "model.json")["expectations"])

    def log_shares(self, batch: RequestBatch) -> Scores:
        """Log-probability of every item to be the next one, (B, T, N); of retrieval tasks, others mean nothing."""
        with torch.inference_mode():
            logits = [m.score_catalog(batch, i) for m, i in zip(self.models, self.items, strict=True)]
            scores: Scores = torch.stack([torch.log_softmax(x, dim=2) for x in logits]).mean(0).numpy()
        return scores

    def rows(self, batch: RequestBatch, candidate: Tensor) -> Scores:
        """Probabilities and, in their unit, amounts of one candidate a request, (B, T); not of retrieval tasks."""
        with torch.inference_mode():
            logits = [m.score_rows(batch, candidate, i) for m, i in zip(self.models, self.items, strict=True)]
            scores = torch.stack([chain_log_probabilities(x, self.tasks) for x in logits]).mean(0).numpy()
        for i, task in enumerate(self.tasks):
            if task.kind == "binary":
                scores[:, i] = np.exp(np.minimum(scores[:, i], 0))
            elif task.name in self.expectations:
                e = self.expectations[task.name]
                scores[:, i] = np.minimum(np.exp(scores[:, i] * e["slope"] + e["offset"]), e["cap"])
            elif task.kind == "regression":
                scale = self.scales[task.name]
                scores[:, i] = np.expm1(np.clip(scores[:, i] * scale.std + scale.mean, -20, 40))
        found: Scores = scores
        return found

    def related(self, query: Tensor) -> Scores:
        """Logits of being in one session with each item of `query`, (Q, N); -inf for the item itself."""
        with torch.inference_mode():
            scores = [m.score_related(query, i) for m, i in zip(self.models, self.items, strict=True)]
            mean: Scores = torch.stack(scores).mean(0).scatter(1, query.unsqueeze(1), -torch.inf).numpy()
        return mean


class TorchModel:
    """Implements `edgerec.evaluation.chain.Judged`."""

    def __init__(self, scorer: TorchScorer, data: LearningData, cases: Cases) -> None:
        self.scorer, self.data, self.cases = scorer, data, cases
        self._scored: dict[str, tuple[Int, list[Scores]]] | None = None

    def lists(self, task: Task) -> Int:
        return self._catalog()[task.name][0]

    def own_items(self, task: Task) -> list[Scores]:
        return self._catalog()[task.name][1]

    def rows(self) -> Scores:
        rows = self.data.held.rows
        assert rows is not None
        chunks = np.array_split(np.arange(len(rows.item)), -(-len(rows.item) // AT_ONCE))
        parts = (self.scorer.rows(rows.requests.batch(c), torch.from_numpy(rows.item[c])) for c in chunks)
        return np.concatenate(list(parts))

    def related(self) -> Int:
        queries = torch.split(torch.arange(self.data.n_items), AT_ONCE)
        return np.concatenate([top_k(self.scorer.related(query), RELATED_K) for query in queries])

    def _catalog(self) -> dict[str, tuple[Int, list[Scores]]]:
        if self._scored is None:
            visits = self.data.held.visits
            assert visits is not None
            tasks = self.scorer.tasks
            retrieval = [t for t in tasks if t.kind == "retrieval"]
            tops: dict[str, list[Int]] = {t.name: [] for t in retrieval}
            own: dict[str, list[Scores]] = {t.name: [] for t in retrieval}
            for start in range(0, len(self.cases.rows), AT_ONCE):
                pasts = self.cases.pasts[start : start + AT_ONCE]
                scores = self.scorer.log_shares(visits.requests.batch(self.cases.rows[start : start + AT_ONCE]))
                for task in retrieval:
                    of_task = scores[:, tasks.index(task)]
                    own[task.name] += [of_task[r, p] for r, p in enumerate(pasts)]
                    if task.repeats == "exclude":
                        for r, p in enumerate(pasts):
                            of_task[r, p] = -np.inf
                    tops[task.name].append(top_k(of_task, MAX_RANK))
            self._scored = {t.name: (np.concatenate(tops[t.name]), own[t.name]) for t in retrieval}
        return self._scored
