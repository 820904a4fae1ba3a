"""The weights of the ensemble's members, chosen by their quality on valid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgerec import metrics
from edgerec.ensemble import blend
from edgerec.ensemble.members import Members, MemberScores
from edgerec.ensemble.views import EnsembleSettings
from edgerec.examples.load import LearningData
from edgerec.examples.requests import Ragged, SessionExamples, session_rows
from edgerec.files import read_json, write_json
from edgerec.metrics import top_k
from edgerec.models.teacher import Teacher
from edgerec.progress import Progress
from edgerec.tasks import Task, scored_tasks
from edgerec.tasks.history import Float, Int

__all__ = ["Blend", "choose_weights", "network_alone", "relative_weights"]

MAX_SCORES = 150_000_000
"""Scores in memory while weights are chosen; of a larger evaluation split a random sample of requests is used."""
K = 10
Bool = npt.NDArray[np.bool_]
Double = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Blend:
    """Weights of the members by task, and the quality of each on valid.

    Attributes:
        catalog: of retrieval tasks, temperature included. related: of related tasks.
        rows: of binary tasks (logits) and regression tasks, with "offset".
        judged: NDCG@10, capped recall@10, log-loss or squared error of each member alone, and of the "blend".
    """

    catalog: dict[str, dict[str, float]] = field(default_factory=dict)
    related: dict[str, dict[str, float]] = field(default_factory=dict)
    rows: dict[str, dict[str, float]] = field(default_factory=dict)
    judged: dict[str, dict[str, float]] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """For the screen: the quality of each member by task, and which members have a weight."""
        lines: list[str] = []
        for task, weights in (self.catalog | self.related | self.rows).items():
            quality = self.judged.get(task, {})
            parts = [f"{n} {quality[n]:.4f}{' (in)' if weights.get(n) else ''}" for n in quality if n != "blend"]
            if quality:
                lines.append(f"ensemble on valid, {task}: {', '.join(parts)}; together {quality['blend']:.4f}")
        return lines


def choose_weights(
    settings: EnsembleSettings,
    data: LearningData,
    networks: Sequence[Teacher],
    members: Members,
    path: Path,
    progress: Progress,
) -> Blend:
    """Choose weights on the evaluation split of `data`, which must be valid, and keep them in `path`."""
    if path.exists():
        return Blend(**read_json(path))
    if settings.members:
        scores = MemberScores(settings.ensemble.candidates, data, networks, members)
        with progress.track(None, "choosing the members' weights on valid"):
            weights = _WeightSearch(scores, settings).choose()
    else:
        weights = network_alone(data)
    write_json(path, asdict(weights))
    return weights


def network_alone(data: LearningData) -> Blend:
    """The weights of an ensemble of the network only."""

    def names(*kinds: str) -> list[str]:
        return [task.name for task in data.tasks if task.kind in kinds]

    return Blend(
        {name: {"network": 1.0} for name in names("retrieval")},
        {name: {"network": 1.0} for name in names("related")},
        {name: {"network": 1.0, "offset": 0.0} for name in names("binary", "regression")},
    )


def relative_weights(weights: Mapping[str, float]) -> dict[str, float]:
    """Each member's weight divided by the sum of all."""
    total = sum(w for n, w in weights.items() if n != "offset")
    return {n: w / total for n, w in weights.items() if n != "offset" and total > 0}


class _WeightSearch:
    """Chooses weights task by task, and notes the quality of each member alone and of the blend."""

    def __init__(self, scores: MemberScores, settings: EnsembleSettings) -> None:
        self.scores, self.settings, self.data = scores, settings, scores.data
        self.tasks = scored_tasks(self.data.tasks)
        self.quality: dict[str, dict[str, float]] = {}

    def choose(self) -> Blend:
        data = self.data
        catalog, related = {}, {}
        if any(t.kind == "retrieval" for t in data.tasks):
            catalog = self._catalog_weights()
        for task in data.tasks:
            if task.kind == "related":
                related[task.name] = self._related_weights(task)
        impressions = data.evaluation.impressions
        some = impressions is not None and len(impressions.item)
        rows = self._row_weights() if some else network_alone(data).rows
        return Blend(catalog, related, rows, self.quality)

    # -------------------------------------------------------------------------------------------- retrieval

    def _catalog_weights(self) -> dict[str, dict[str, float]]:
        sessions = self.data.evaluation.sessions
        assert sessions is not None
        tasks = [t for t in self.tasks if t.kind == "retrieval"]
        chosen = self._requests_with_a_past(sessions, len(tasks))
        scores = self.scores.catalog({"network", *self.settings.members}, sessions.requests, chosen)
        own, log = np.zeros((len(chosen), self.data.n_items), bool), self.data.train_log
        for r, user in enumerate(sessions.requests.user[chosen]):
            own[r, log.item[log.offsets[user] : log.offsets[user + 1]]] = True
        weights = {}
        for t, task in enumerate(tasks):
            truth = np.zeros_like(own)
            lists = sessions.truth[task.name].take(chosen)
            truth[lists.owner(), lists.values] = True
            weights[task.name] = self._retrieval_weights(task, {n: s[:, t] for n, s in scores.items()}, truth, own)
        return weights

    def _requests_with_a_past(self, sessions: SessionExamples, n_tasks: int) -> Int:
        """The evaluation requests of users who are in the training rows, as many as `MAX_SCORES` allows."""
        log, user = self.data.train_log, sessions.requests.user
        chosen = np.flatnonzero(log.offsets[user + 1] > log.offsets[user])
        most = MAX_SCORES // (self.data.n_items * n_tasks * (1 + len(self.settings.members)))
        if len(chosen) > most:
            chosen = np.sort(np.random.default_rng(self.settings.seed).choice(chosen, most, replace=False))
        return chosen

    def _retrieval_weights(self, task: Task, scores: Mapping[str, Float], truth: Bool, own: Bool) -> dict[str, float]:
        """Weights of one task from scores (R, N), true items (R, N) and the items of each user's past (R, N)."""
        exclude = task.repeats == "exclude"
        if exclude:
            truth = truth & ~own
        some = truth.any(axis=1)
        if not some.any():
            return {"network": 1.0}
        truth, own = truth[some], own[some]
        scores = {name: values[some] for name, values in scores.items()}
        if exclude:
            scores = {n: np.where(own, s.min(axis=1, keepdims=True), s) for n, s in scores.items()}
        ndcg = _ndcg_of(truth, own if exclude else None)
        return self._greedy(task, scores, ndcg, truth / truth.sum(axis=1, keepdims=True))

    def _greedy(
        self, task: Task, scores: Mapping[str, Float], metric: Callable[[Float], float], probs: Float
    ) -> dict[str, float]:
        """Weights that maximise `metric`, times the temperature that fits the softmax of their sum to `probs` best."""
        weights = blend.greedy(scores, metric)
        total = np.asarray(sum(weights[n] * s for n, s in scores.items()), np.float32)
        factor = blend.temperature(total, probs)
        self.quality[task.name] = {n: metric(s) for n, s in scores.items()} | {"blend": metric(total)}
        return {n: w * factor for n, w in weights.items()}

    # -------------------------------------------------------------------------------------------- related

    def _related_weights(self, task: Task) -> dict[str, float]:
        data, sessions = self.data, _sessions_of_several_items(self.data)
        if not sessions:
            return {"network": 1.0}
        query = np.unique(np.concatenate(sessions))
        scores = self.scores.related({"network", "text", *self.settings.members}, query)
        lists = np.full((data.n_items, min(K, data.n_items)), -1, np.int64)

        def capped_recall(total: Float) -> float:
            others = total.copy()
            others[np.arange(len(query)), query] = -np.inf  # ties with its lowest scores would list the item itself
            lists[query] = top_k(others, K)
            return metrics.related_metrics(sessions, lists)["capped_recall@10"].value

        return self._greedy(task, scores, capped_recall, _pair_probs(sessions, query, data.n_items))

    # -------------------------------------------------------------------------------------------- rows

    def _row_weights(self) -> dict[str, dict[str, float]]:
        rows = self.data.evaluation.impressions
        assert rows is not None
        scores = self.scores.rows(rows.requests, rows.item, np.arange(len(rows.item)))
        weights = {}
        for i, task in enumerate(self.tasks):
            if task.kind == "retrieval":
                continue
            label, binary = rows.labels[task.name], task.kind == "binary"
            z = np.stack([blend.logit(s[:, i]) if binary else s[:, i] for s in scores.values()]).astype(np.float64)
            fitted, offset = (blend.logistic if binary else blend.linear)(z, label)
            weights[task.name] = dict(zip(scores, fitted.tolist(), strict=True)) | {"offset": offset}
            loss = _log_loss if binary else _squared_error
            self.quality[task.name] = {n: loss(member, label) for n, member in zip(scores, z, strict=True)}
            self.quality[task.name]["blend"] = loss(fitted @ z + offset, label)
        return weights


def _ndcg_of(truth: Bool, excluded: Bool | None) -> Callable[[Float], float]:
    """Mean NDCG@10 of scores (R, N) whose true items are `truth`; `excluded` items are never listed."""
    discount = 1 / np.log2(np.arange(2, K + 2))
    best = np.cumsum(discount)[np.minimum(truth.sum(axis=1), K) - 1]

    def ndcg(scores: Float) -> float:
        ranked = scores if excluded is None else np.where(excluded, -np.inf, scores)
        hits = np.take_along_axis(truth, top_k(ranked, K), axis=1)
        return float(((hits * discount[: hits.shape[1]]).sum(axis=1) / best).mean())

    return ndcg


def _sessions_of_several_items(data: LearningData) -> list[Int]:
    """Distinct known items of each session of the evaluation split that has two or more."""
    log = data.evaluation_log
    rows = session_rows(log, log.session_starts())
    known = rows.where(log.item[rows.values] < data.n_items)
    items = Ragged(known.offsets, log.item[known.values])
    sessions = (np.unique(items.row(s)) for s in np.flatnonzero(items.sizes() > 1).tolist())
    return [session for session in sessions if len(session) > 1]


def _pair_probs(sessions: Sequence[Int], query: Int, n_items: int) -> Float:
    """How often each item was beside each item of `query`, rows summing to 1, (Q, N); a session holds an item once."""
    pairs = np.zeros((len(query), n_items), np.float32)
    for session in sessions:
        pairs[np.ix_(np.searchsorted(query, session), session)] += 1
    pairs[np.arange(len(query)), query] = 0
    probs: Float = pairs / np.maximum(pairs.sum(axis=1, keepdims=True), 1e-9)
    return probs


def _log_loss(z: Double, label: Float) -> float:
    return float((np.logaddexp(0, z) - label * z).mean())


def _squared_error(prediction: Double, label: Float) -> float:
    return float(((prediction - label) ** 2).mean())
