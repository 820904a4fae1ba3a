"""The weights of the ensemble's members, chosen by their quality on valid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgerec import metrics
from edgerec.config.stages import Member
from edgerec.ensemble import blend
from edgerec.ensemble.judged import K, requests_with_a_past, sample
from edgerec.ensemble.members import Members, MemberScores
from edgerec.ensemble.popularity import HALF_LIVES
from edgerec.ensemble.shortlists import Shortlists, requests_at_once
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

MOST_REQUESTS = 2_000
"""Evaluation requests that weights are chosen on: all, or a random sample of so many."""
MOST_SESSIONS = 1_000
"""Sessions of the evaluation split that weights of related items are chosen on."""
UNREAD = ("sequence", "boosting")
"""Members whose scores no other member reads."""
AGES = 3
"""Half-lives of popularity, the best ones, that compete with the other members; as many within categories."""
MOST_FOR_AGES = 500
"""Evaluation requests that these half-lives are chosen on."""
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

    def worth_fitting(self, members: Sequence[Member]) -> tuple[Member, ...]:
        """Those of `members` that have a weight; with the re-ranker also those whose scores it reads."""
        tasks = (*self.catalog.values(), *self.related.values(), *self.rows.values())
        used = {name.partition(".")[0] for weights in tasks for name in relative_weights(weights) if weights[name]}
        return tuple(m for m in members if m in used or ("reranker" in used and m not in UNREAD))

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
        self.rng = np.random.default_rng(settings.seed)

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
        chosen = requests_with_a_past(self.data, MOST_REQUESTS, self.rng)
        wanted = {"network", *self.settings.members} | self._best_ages(sessions, chosen, tasks)
        short: dict[str, list[Shortlists]] = {task.name: [] for task in tasks}
        for part in requests_at_once(chosen, self.data.n_items, len(tasks)):
            scores = self.scores.catalog(wanted, sessions.requests, part)
            for t, (task, truth, excluded) in enumerate(self._outcomes(sessions, part, tasks)):
                of_task = Shortlists.of({n: s[:, t] for n, s in scores.items()}, truth, excluded, self.rng)
                short[task.name].append(of_task)
        return {task.name: self._retrieval_weights(task, Shortlists.joined(short[task.name])) for task in tasks}

    def _outcomes(
        self, sessions: SessionExamples, part: Int, tasks: Sequence[Task]
    ) -> Iterator[tuple[Task, Bool, Bool | None]]:
        """By task which items followed each request of `part`, (R, N), and which may not be listed; None: all may."""
        log = self.data.train_log
        own = np.zeros((len(part), self.data.n_items), bool)
        for r, user in enumerate(sessions.requests.user[part]):
            own[r, log.item[log.offsets[user] : log.offsets[user + 1]]] = True
        for task in tasks:
            truth = np.zeros_like(own)
            lists = sessions.truth[task.name].take(part)
            truth[lists.owner(), lists.values] = True
            yield task, truth, own if task.repeats == "exclude" else None

    def _best_ages(self, sessions: SessionExamples, chosen: Int, tasks: Sequence[Task]) -> set[str]:
        """The members of popularity that compete: of each task the best `AGES` alone, and as many within categories.

        They are chosen on a part of the requests, and one at a time: with many columns there are many of them.
        """
        popularity = self.scores.members.popularity
        if popularity is None:
            return set()
        names = popularity.names()
        short: dict[tuple[str, str], list[Shortlists]] = {(task.name, name): [] for task in tasks for name in names}
        for part in requests_at_once(sample(chosen, MOST_FOR_AGES, self.rng), self.data.n_items, 1):
            outcomes = list(self._outcomes(sessions, part, tasks))
            for name, scores in popularity.each(names, sessions.requests, part):
                for task, truth, excluded in outcomes:
                    short[task.name, name].append(Shortlists.of({name: scores}, truth, excluded, self.rng))
        best: set[str] = set()
        for task in tasks:
            lists = {name: Shortlists.joined(short[task.name, name]) for name in names}
            ndcg = {name: _ndcg_of(of)(of.scores[name]) if len(of.item) else 0.0 for name, of in lists.items()}
            for within in (False, True):
                of_kind = [name for name in names if (name not in HALF_LIVES) == within]
                best |= set(sorted(of_kind, key=lambda name: -ndcg[name])[:AGES])
        return best

    def _retrieval_weights(self, task: Task, lists: Shortlists) -> dict[str, float]:
        if not len(lists.item):
            return {"network": 1.0}
        return self._greedy(task, lists, _ndcg_of(lists))

    def _greedy(self, task: Task, lists: Shortlists, metric: Callable[[Float], float]) -> dict[str, float]:
        """Weights that maximise `metric`, times the temperature that fits their softmax to what followed best."""
        scores = lists.scores
        weights = blend.greedy(scores, metric)
        total = np.asarray(sum(weights[n] * s for n, s in scores.items()), np.float32)
        factor = blend.temperature(total, lists.share, lists.log_weight)
        self.quality[task.name] = {n: metric(s) for n, s in scores.items()} | {"blend": metric(total)}
        return {n: w * factor for n, w in weights.items()}

    # -------------------------------------------------------------------------------------------- related

    def _related_weights(self, task: Task) -> dict[str, float]:
        data, sessions = self.data, _sessions_of_several_items(self.data)
        if not sessions:
            return {"network": 1.0}
        sessions = [sessions[i] for i in sample(np.arange(len(sessions)), MOST_SESSIONS, self.rng)]
        query = np.unique(np.concatenate(sessions))
        parts = []
        for part in requests_at_once(query, data.n_items, 1):
            scores = self.scores.related({"network", "text", *self.settings.members}, part)
            itself = part[:, None] == np.arange(data.n_items)
            parts.append(Shortlists.of(scores, _pairs(sessions, part, data.n_items), itself, self.rng))
        short = Shortlists.joined(parts)
        lists = np.full((data.n_items, min(K, data.n_items)), -1, np.int64)

        def capped_recall(total: Float) -> float:
            # Ties with its lowest scores would list the item itself.
            best = top_k(np.where(short.excluded, -np.inf, total), lists.shape[1])
            lists[query] = np.take_along_axis(short.item, best, axis=1)
            return metrics.related_metrics(sessions, lists)["capped_recall@10"].value

        return self._greedy(task, short, capped_recall)

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


def _ndcg_of(lists: Shortlists) -> Callable[[Float], float]:
    """Mean NDCG@10 of scores (R, P) of the items of `lists`; excluded items are never listed."""
    truth, discount = lists.share > 0, 1 / np.log2(np.arange(2, K + 2))
    best = np.cumsum(discount)[np.minimum(truth.sum(axis=1), K) - 1]

    def ndcg(scores: Float) -> float:
        ranked = np.where(lists.excluded, -np.inf, scores) if lists.excluded.any() else scores
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


def _pairs(sessions: Sequence[Int], query: Int, n_items: int) -> Float:
    """How often each item was beside each item of `query` (Q,), (Q, N); a session holds an item once."""
    pairs = np.zeros((len(query), n_items), np.float32)
    for session in sessions:
        mine = session[np.isin(session, query, assume_unique=True)]
        pairs[np.ix_(np.searchsorted(query, mine), session)] += 1
    pairs[np.arange(len(query)), query] = 0
    return pairs


def _log_loss(z: Double, label: Float) -> float:
    return float((np.logaddexp(0, z) - label * z).mean())


def _squared_error(prediction: Double, label: Float) -> float:
    return float(((prediction - label) ** 2).mean())
