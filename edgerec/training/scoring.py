"""Trained models before they are exported, asked all that the chain of evidence asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from edgerec.evaluation.baselines import top_k
from edgerec.evaluation.metrics import MAX_RANK
from edgerec.tasks import Task, scored_tasks
from edgerec.tasks.history import Int
from edgerec.training.examples import Requests
from edgerec.training.load import LearningData
from edgerec.training.loop import Scorer
from edgerec.training.losses import chain_log_probabilities

if TYPE_CHECKING:
    from edgerec.evaluation.chain import Cases

AT_ONCE = 256
"""Requests, rows or items that are scored together."""
RELATED_K = 10
"""Length of the lists of related items."""

Scores = npt.NDArray[np.floating[Any]]


class TorchModel:
    """Implements `edgerec.evaluation.chain.Judged`; of several models it takes the mean of their log-probabilities."""

    def __init__(self, models: Sequence[Scorer], data: LearningData, cases: Cases) -> None:
        self.models, self.data, self.cases = models, data, cases
        self.tasks = scored_tasks(data.tasks)
        statistics = torch.from_numpy(data.statistics.values[-1])
        with torch.inference_mode():
            self.items = [m.encode_items(statistics) for m in models]
        self._scored: dict[str, tuple[Int, list[Scores]]] | None = None

    def lists(self, task: Task) -> Int:
        return self._catalog()[task.name][0]

    def own_items(self, task: Task) -> list[Scores]:
        return self._catalog()[task.name][1]

    def rows(self) -> Scores:
        rows = self.data.held.rows
        assert rows is not None
        parts = []
        with torch.inference_mode():
            for chosen in np.array_split(np.arange(len(rows.item)), -(-len(rows.item) // AT_ONCE)):
                batch, item = rows.requests.batch(chosen), torch.from_numpy(rows.item[chosen])
                logits = [m.score_rows(batch, item, i) for m, i in zip(self.models, self.items, strict=True)]
                each = torch.stack([chain_log_probabilities(x, self.tasks) for x in logits]).mean(0)
                parts.append(each.numpy())
        scores = np.concatenate(parts)
        for i, task in enumerate(self.tasks):
            if task.kind == "binary":
                scores[:, i] = np.exp(np.minimum(scores[:, i], 0))
            elif task.kind == "regression":
                scale = self.data.scales[task.name]
                scores[:, i] = np.expm1(np.clip(scores[:, i] * scale.std + scale.mean, -20, 40))
        return scores

    def related(self) -> Int:
        parts = []
        with torch.inference_mode():
            for query in torch.split(torch.arange(self.data.n_items), AT_ONCE):
                scores = [m.score_related(query, i) for m, i in zip(self.models, self.items, strict=True)]
                mean = torch.stack(scores).mean(0).scatter(1, query.unsqueeze(1), -torch.inf)
                parts.append(mean.topk(min(RELATED_K, self.data.n_items - 1)).indices.numpy())
        return np.concatenate(parts)

    def _catalog(self) -> dict[str, tuple[Int, list[Scores]]]:
        if self._scored is None:
            visits = self.data.held.visits
            assert visits is not None
            retrieval = [t for t in self.tasks if t.kind == "retrieval"]
            tops: dict[str, list[Int]] = {t.name: [] for t in retrieval}
            own: dict[str, list[Scores]] = {t.name: [] for t in retrieval}
            for start in range(0, len(self.cases.rows), AT_ONCE):
                pasts = self.cases.pasts[start : start + AT_ONCE]
                scores = self._log_shares(visits.requests, self.cases.rows[start : start + AT_ONCE])
                for task in retrieval:
                    of_task = scores[:, self.tasks.index(task)]
                    own[task.name] += [of_task[r, p] for r, p in enumerate(pasts)]
                    if task.repeats == "exclude":
                        for r, p in enumerate(pasts):
                            of_task[r, p] = -np.inf
                    tops[task.name].append(top_k(of_task, MAX_RANK))
            self._scored = {t.name: (np.concatenate(tops[t.name]), own[t.name]) for t in retrieval}
        return self._scored

    def _log_shares(self, requests: Requests, rows: Int) -> Scores:
        with torch.inference_mode():
            batch = requests.batch(rows)
            logits = [m.score_catalog(batch, i) for m, i in zip(self.models, self.items, strict=True)]
            mean = torch.stack([torch.log_softmax(x, dim=2) for x in logits]).mean(0)
        scores: Scores = mean.numpy()
        return scores
