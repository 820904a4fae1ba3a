"""Trained models before export, scored as a bundle is: for the evaluation chain and for `--stage`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from edgerec.ensemble.ensemble import Ensemble
from edgerec.examples.load import LearningData, TargetScale
from edgerec.examples.requests import Requests
from edgerec.files import replacing
from edgerec.metrics import MAX_RANK, top_k
from edgerec.models.inputs import Items
from edgerec.tasks import Task, scored_tasks
from edgerec.tasks.history import Int
from edgerec.training.joint import Scorer
from edgerec.training.losses import conditional_log_probs

if TYPE_CHECKING:
    from edgerec.examples.evaluation_requests import EvaluationRequests

AT_ONCE = 256
"""Requests, rows or items that are scored together."""
RELATED_K = 10
"""Length of the lists of related items."""
STAGES = ("teacher", "student", "pruned")
"""Stages that are torch models; the one after them, INT8, is the bundle."""

Scores = npt.NDArray[np.floating]


class TorchScorer:
    """One model, or the mean of several models' log-probabilities, as of the end of the training rows.

    Where each user's last event is the evaluation split, requests are answered as of their own time.
    """

    rows_at_once = AT_ONCE
    """Rows of a call of `rows`, whose histories are in memory together."""

    def __init__(
        self,
        models: Sequence[Scorer],
        data: LearningData,
        expectations: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        """`expectations`: of regression tasks, as in a student's model.json; None takes the median instead."""
        self.models, self.data, self.n_items = models, data, data.n_items
        self.expectations = expectations or {}
        self.tasks = scored_tasks(data.tasks)
        self.items = self._items(-1)
        self._at = -1, self.items

    def log_probs(self, requests: Requests, chosen: Int) -> Scores:
        """Log-probability of every item to be the next one, (B, T, N); only those of retrieval tasks mean anything."""

        def of(rows: Int, items: Sequence[Items]) -> Scores:
            batch = requests.batch(chosen[rows])
            logits = [m.score_catalog(batch, i) for m, i in zip(self.models, items, strict=True)]
            scores: Scores = torch.stack([torch.log_softmax(x, dim=2) for x in logits]).mean(0).numpy()
            return scores

        return self._scored(requests, chosen, of)

    def rows(self, requests: Requests, candidate: Int, chosen: Int) -> Scores:
        """Probabilities and expected targets of one candidate a request, (B, T); those of retrieval mean nothing."""

        def of(rows: Int, items: Sequence[Items]) -> Scores:
            batch, item = requests.batch(chosen[rows]), torch.from_numpy(candidate[rows])
            logits = [m.score_rows(batch, item, i) for m, i in zip(self.models, items, strict=True)]
            scores: Scores = torch.stack([conditional_log_probs(x, self.tasks) for x in logits]).mean(0).numpy()
            return scores

        return in_units(self._scored(requests, chosen, of), self.tasks, self.data.scales, self.expectations)

    def related(self, query: Int) -> Scores:
        """Logits of being in one session with each item of `query`, (Q, N); -inf for the item itself."""
        items = torch.from_numpy(query)
        with torch.inference_mode():
            scores = [m.score_related(items, i) for m, i in zip(self.models, self.items, strict=True)]
            mean: Scores = torch.stack(scores).mean(0).scatter(1, items.unsqueeze(1), -torch.inf).numpy()
        return mean

    def _items(self, as_of: int) -> list[Items]:
        with torch.inference_mode():
            known = self.data.as_of(as_of)
            return [m.encode_items(known) for m in self.models]

    def _scored(self, requests: Requests, chosen: Int, score: Callable[[Int, Sequence[Items]], Scores]) -> Scores:
        """The scores of the requests `chosen`, whose places `score` is given in groups that share their items."""
        with torch.inference_mode():
            if not self.data.by_user:
                return score(np.arange(len(chosen)), self.items)
            as_of = self.data.statistics.as_of_before(requests.time_ms[chosen])
            order = np.argsort(as_of, kind="stable")
            parts = []
            for rows in np.split(order, np.flatnonzero(np.diff(as_of[order])) + 1):
                if len(rows):
                    if self._at[0] != as_of[rows[0]]:
                        self._at = int(as_of[rows[0]]), self._items(int(as_of[rows[0]]))
                    parts.append(score(rows, self._at[1]))
            return np.concatenate(parts)[np.argsort(order)]


class EnsembleScorer:
    """The teacher as a whole, networks and other members; methods as of `TorchScorer`."""

    rows_at_once = 65_536
    """Boosting sorts the whole log for each call."""

    def __init__(self, ensemble: Ensemble) -> None:
        self.ensemble = ensemble
        self.tasks, self.n_items = ensemble.tasks, ensemble.data.n_items
        self._last = len(ensemble.data.statistics.as_of_ms) - 1

    def log_probs(self, requests: Requests, chosen: Int) -> Scores:
        scores = np.zeros((len(chosen), len(self.tasks), self.n_items), np.float32)
        retrieval = [i for i, t in enumerate(self.tasks) if t.kind == "retrieval"]
        scores[:, retrieval] = self.ensemble.log_probs(self._now(requests), chosen)
        return scores

    def rows(self, requests: Requests, candidate: Int, chosen: Int) -> Scores:
        candidates = np.zeros(len(requests), np.int64)
        candidates[chosen] = candidate
        scores = self.ensemble.rows(self._now(requests), candidates, chosen)
        return in_units(scores, self.tasks, self.ensemble.data.scales, {})

    def related(self, query: Int) -> Scores:
        scores = self.ensemble.related(query)
        scores[np.arange(len(query)), query] = -np.inf
        return scores

    def _now(self, requests: Requests) -> Requests:
        """The requests as of the end of the training rows, or of their own time where the log is not split by time."""
        data = self.ensemble.data
        if data.by_user:
            return replace(requests, as_of=data.statistics.as_of_before(requests.time_ms))
        return replace(requests, as_of=np.full(len(requests), self._last, np.int64))


AnyScorer = TorchScorer | EnsembleScorer


def in_units(
    scores: Scores,
    tasks: Sequence[Task],
    scales: Mapping[str, TargetScale],
    expectations: Mapping[str, Mapping[str, float]],
) -> Scores:
    """Log-probabilities -> probabilities; standardised logs -> regression targets in their unit."""
    for i, task in enumerate(tasks):
        if task.kind == "binary":
            scores[:, i] = np.exp(np.minimum(scores[:, i], 0))
        elif task.name in expectations:
            e = expectations[task.name]
            scores[:, i] = np.minimum(np.exp(scores[:, i] * e["slope"] + e["offset"]), e["cap"])
        elif task.kind == "regression":
            scale = scales[task.name]
            scores[:, i] = np.expm1(np.clip(scores[:, i] * scale.std + scale.mean, -20, 40))
    return scores


class TorchModel:
    """Implements `edgerec.examples.evaluation_requests.EvaluatedModel`."""

    def __init__(
        self, scorer: AnyScorer, data: LearningData, eval_requests: EvaluationRequests, kept: Path | None = None
    ) -> None:
        """`kept`: file (.npz) of the lists that were made before for the same model and requests, or that will be.

        The answers for impressions lie beside it (.npy).
        """
        self.scorer, self.data, self.eval_requests, self.kept = scorer, data, eval_requests, kept
        self._scored: dict[str, tuple[Int, list[Scores]]] | None = None

    def lists(self, task: Task) -> Int:
        return self._catalog()[task.name][0]

    def own_items(self, task: Task) -> list[Scores]:
        return self._catalog()[task.name][1]

    def rows(self) -> Scores:
        rows = self.data.evaluation.impressions
        assert rows is not None
        kept = None if self.kept is None else self.kept.with_suffix(".npy")
        if kept is not None and kept.exists():
            return np.asarray(np.load(kept, allow_pickle=False))
        chunks = np.array_split(np.arange(len(rows.item)), -(-len(rows.item) // self.scorer.rows_at_once))
        parts = (self.scorer.rows(rows.requests, rows.item[c], c) for c in chunks)
        scores = np.concatenate(list(parts))
        if kept is not None:
            with replacing(kept) as part, part.open("wb") as file:
                np.save(file, scores, allow_pickle=False)
        return scores

    def related(self) -> Int:
        queries = np.array_split(np.arange(self.data.n_items), -(-self.data.n_items // AT_ONCE))
        return np.concatenate([top_k(self.scorer.related(query), RELATED_K) for query in queries])

    def _catalog(self) -> dict[str, tuple[Int, list[Scores]]]:
        """By retrieval task the best items of each evaluation request, and the scores of its past items."""
        if self._scored is None and self.kept is not None and self.kept.exists():
            self._scored = self._read(self.kept)
        if self._scored is None:
            sessions = self.data.evaluation.sessions
            assert sessions is not None
            tasks = self.scorer.tasks
            retrieval = [t for t in tasks if t.kind == "retrieval"]
            best: dict[str, list[Int]] = {t.name: [] for t in retrieval}
            own: dict[str, list[Scores]] = {t.name: [] for t in retrieval}
            for start in range(0, len(self.eval_requests.rows), AT_ONCE):
                pasts = self.eval_requests.pasts[start : start + AT_ONCE]
                scores = self.scorer.log_probs(sessions.requests, self.eval_requests.rows[start : start + AT_ONCE])
                for task in retrieval:
                    of_task = scores[:, tasks.index(task)]
                    own[task.name] += [of_task[r, p] for r, p in enumerate(pasts)]
                    if task.repeats == "exclude":
                        for r, p in enumerate(pasts):
                            of_task[r, p] = -np.inf
                    best[task.name].append(top_k(of_task, MAX_RANK))
            self._scored = {t.name: (np.concatenate(best[t.name]), own[t.name]) for t in retrieval}
            if self.kept is not None:
                self._write(self.kept)
        return self._scored

    def _write(self, path: Path) -> None:
        scored = self._catalog()
        arrays = {f"best.{name}": best for name, (best, _) in scored.items()}
        arrays |= {f"own.{name}": np.concatenate([*own, np.zeros(0)]) for name, (_, own) in scored.items()}
        with replacing(path) as part, part.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    def _read(self, path: Path) -> dict[str, tuple[Int, list[Scores]]]:
        ends = np.cumsum([len(past) for past in self.eval_requests.pasts])[:-1]
        with np.load(path, allow_pickle=False) as arrays:
            names = [name.removeprefix("best.") for name in arrays.files if name.startswith("best.")]
            return {name: (arrays[f"best.{name}"], np.split(arrays[f"own.{name}"], ends)) for name in names}
