"""The ensemble: a network, closed-form members and trees, one score a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax

from edgerec import metrics
from edgerec.ensemble import blend
from edgerec.ensemble.boosting import Boosting
from edgerec.ensemble.reranker import OBJECTIVES, Reranker
from edgerec.ensemble.signals import Flat, Snapshot
from edgerec.ensemble.snapshots import Snapshots
from edgerec.ensemble.views import EnsembleSettings, Views
from edgerec.examples.load import LearningData
from edgerec.examples.requests import Ragged, Requests, session_rows
from edgerec.files import read_json, write_json
from edgerec.metrics import top_k
from edgerec.models.teacher import Teacher
from edgerec.progress import Progress
from edgerec.tasks import Task, scored_tasks
from edgerec.tasks.history import Float, Int
from edgerec.training.predictions import network_log_probs, network_related, network_rows

CLOSED_FORM = ("ease", "als", "transitions", "popularity", "own")
ROWS = ("binary", "regression")
POPULARITY = "popularity.10d"
MOST_SCORES = 150_000_000
"""Numbers in memory while weights are chosen: of larger held parts a random part of the requests is looked at."""
K = 10


@dataclass(frozen=True)
class Blend:
    """Weights of the members by task, and what each was worth on valid.

    Attributes:
        catalog: of retrieval tasks, temperature included. related: of related tasks.
        rows: of binary tasks (logits) and regression tasks, with "offset".
        judged: NDCG@10, capped recall@10, log-loss or squared error of each member alone, and of the "blend".
    """

    catalog: dict[str, dict[str, float]]
    related: dict[str, dict[str, float]]
    rows: dict[str, dict[str, float]]
    judged: dict[str, dict[str, float]]

    def lines(self) -> list[str]:
        """For the screen: the share of each member, by task."""
        found: list[str] = []
        for task, weights in (self.catalog | self.related | self.rows).items():
            judged = self.judged.get(task, {})
            parts = [f"{n} {judged[n]:.4f}{' (in)' if weights.get(n) else ''}" for n in judged if n != "blend"]
            if judged:
                found.append(f"ensemble on valid, {task}: {', '.join(parts)}; together {judged['blend']:.4f}")
        return found


@dataclass(frozen=True)
class Members:
    """Who judges beside the network, fitted on one part; None: left out by the settings or for want of tasks."""

    snapshots: Snapshots | None
    reranker: Reranker | None
    boosting: Boosting | None

    @classmethod
    def fit(
        cls,
        settings: EnsembleSettings,
        data: LearningData,
        folder: Path,
        folds: Sequence[int],
        trees: dict[str, int] | None,
        progress: Progress,
    ) -> Members:
        """Fit on the training rows of `data`; goes on where an earlier call with this folder was stopped."""
        wanted = set(settings.members)
        kinds = {t.kind for t in data.tasks}
        folder.mkdir(parents=True, exist_ok=True)
        snapshots = reranker = boosting = None
        if wanted & {*CLOSED_FORM, "reranker"} and kinds & {"retrieval", "related"}:
            views = Views.of(settings, data)
            snapshots = Snapshots.fit(views, data, folder, settings.seed, progress)
            if "reranker" in wanted and "retrieval" in kinds:
                reranker = Reranker.fit(settings, data, snapshots, folds, folder, progress)
        if "boosting" in wanted and kinds & {"binary", "regression"}:
            boosting = Boosting.fit(settings, data, folder, progress, trees)
        return cls(snapshots, reranker, boosting)

    @classmethod
    def load(cls, settings: EnsembleSettings, data: LearningData, folder: Path) -> Members:
        """What `fit` left in `folder`."""
        views = Views.of(settings, data)
        snapshots = Snapshots(views, folder) if any(folder.glob("snapshot-*")) else None
        folds = range(settings.folds)
        reranker = Reranker.load(data, folds, folder) if any(folder.glob("reranker-*")) else None
        boosting = Boosting.load(settings, data, folder) if (folder / "boosting.json").exists() else None
        return cls(snapshots, reranker, boosting)


class Ensemble:
    """Members and networks with their weights."""

    def __init__(
        self, candidates: int, data: LearningData, networks: Sequence[Teacher], members: Members, weights: Blend
    ) -> None:
        """`candidates`: items beside the history that the re-ranker looks at."""
        self.candidates, self.data, self.networks = candidates, data, networks
        self.members, self.weights = members, weights
        self.tasks = scored_tasks(data.tasks)
        self.retrieval = [t for t in self.tasks if t.kind == "retrieval"]

    @property
    def views(self) -> Views | None:
        """Which requests of the training rows can be labelled; None: all."""
        return None if self.members.snapshots is None else self.members.snapshots.views

    def log_probs(self, requests: Requests, chosen: Int, view: int = -1, fold: int | None = None) -> Float:
        """Log-probability of every item to be the next one, (B, retrieval tasks, N).

        Args:
            view: that may serve the requests; -1: all training rows. fold: whose models speak; None: the mean of all.
        """
        wanted = {name for task in self.retrieval for name, w in self.weights.catalog[task.name].items() if w > 0}
        scores = catalog_scores(
            self.candidates, self.data, self.networks, self.members, wanted, requests, chosen, view, fold
        )
        found = np.zeros((len(chosen), len(self.retrieval), self.data.n_items), np.float32)
        for t, task in enumerate(self.retrieval):
            for name, weight in self.weights.catalog[task.name].items():
                if weight > 0:
                    found[:, t] += weight * scores[name][:, t]
        return np.asarray(log_softmax(found, axis=2), np.float32)

    def blend_rows(self, network: Float | None, boosting: Float | None) -> Float:
        """Log-probabilities and standardised logs (R, T) of the members as one."""
        members = {n: m for n, m in (("network", network), ("boosting", boosting)) if m is not None}
        found = np.zeros_like(next(iter(members.values())))
        for i, task in enumerate(self.tasks):
            if task.kind == "retrieval":
                continue
            weights = self.weights.rows[task.name]
            binary = task.kind == "binary"
            z = np.full(len(found), weights["offset"])
            for name, scores in members.items():
                z += weights[name] * (_logit(scores[:, i]) if binary else scores[:, i])
            found[:, i] = -np.logaddexp(0, -z) if task.kind == "binary" else z
        return self._along_chains(found)

    def _along_chains(self, scores: Float) -> Float:
        """What comes `after` another task is at most as probable: the tasks' weights do not know of each other."""
        place = {t.name: i for i, t in enumerate(self.tasks)}
        for i, task in enumerate(self.tasks):
            if task.after is not None:
                scores[:, i] = np.minimum(scores[:, i], scores[:, place[task.after]])
        return scores

    def rows(self, requests: Requests, candidate: Int, chosen: Int) -> Float:
        """Log-probabilities and standardised logs of one candidate a request, (B, T), by all models."""
        network = None
        if self.networks:
            each = [network_rows(n, self.data, requests, candidate, chosen) for n in self.networks]
            network = np.mean(each, axis=0)
        trees = self.members.boosting
        return self.blend_rows(network, None if trees is None else trees.rows(requests, candidate, chosen))

    def related(self, query: Int) -> Float:
        """Scores of being in one session with each item of `query`, (Q, N)."""
        name = next(t.name for t in self.data.tasks if t.kind == "related")
        wanted = {m for m, w in self.weights.related[name].items() if w > 0}
        scores = related_scores(self.data, self.networks, self.members, wanted, query)
        total = sum(w * scores[m] for m, w in self.weights.related[name].items() if w > 0)
        return np.asarray(log_softmax(np.asarray(total, np.float32), axis=1), np.float32)


def catalog_scores(
    candidates: int,
    data: LearningData,
    networks: Sequence[Teacher],
    members: Members,
    wanted: set[str],
    requests: Requests,
    chosen: Int,
    view: int,
    fold: int | None,
) -> dict[str, Float]:
    """What each wanted member says of every item, (B, retrieval tasks, N)."""
    tasks = [t for t in scored_tasks(data.tasks) if t.kind == "retrieval"]
    found: dict[str, Float] = {}
    if "network" in wanted and networks:
        speaking = networks if fold is None else [networks[fold]]
        found["network"] = network_log_probs(speaking, data, requests, chosen)
    if members.snapshots is not None:
        snapshot = members.snapshots.of(view)
        requests = members.snapshots.views.known(requests, view, len(data.statistics.as_of_ms) - 1)
        if wanted & set(CLOSED_FORM):
            for name, scores in closed_form_scores(snapshot, data, requests, chosen).items():
                if name in wanted:
                    found[name] = np.repeat(scores[:, None], len(tasks), axis=1)
        if wanted & set(OBJECTIVES) and members.reranker is not None:
            found |= members.reranker.scores(wanted, snapshot, requests, chosen, candidates, fold)
    return found


def closed_form_scores(snapshot: Snapshot, data: LearningData, requests: Requests, chosen: Int) -> dict[str, Float]:
    """What the closed-form members say of every item, (B, N) each."""
    found = {n: s for n, s in snapshot.signals(requests, chosen).items() if n in CLOSED_FORM}
    flat = Flat.of(requests, chosen)
    own = np.zeros((len(chosen), data.n_items), np.float32)
    known = flat.item < data.n_items
    own[flat.row[known], flat.item[known]] = np.log1p(flat.count[known])
    found["own"] = own
    column = data.statistics.names.index(POPULARITY)
    found["popularity"] = data.statistics.values[requests.as_of[chosen], :, column]
    return found


def related_scores(
    data: LearningData, networks: Sequence[Teacher], members: Members, wanted: set[str], query: Int
) -> dict[str, Float]:
    """What each wanted member says of every item beside each item of `query`, (Q, N).

    Of co-occurrence ("transitions") it is the cosine of sessions that counts here, which has no direction.
    """
    found = {}
    if "network" in wanted and networks:
        found["network"] = network_related(networks, data, query)
    if members.snapshots is not None:
        last = members.snapshots.last
        if "transitions" in wanted:
            found["transitions"] = np.sqrt(last.cosine[query].toarray())
        if "ease" in wanted and last.ease is not None:
            found["ease"] = np.sqrt(np.maximum(last.ease[query].astype(np.float32), 0))
        if "text" in wanted and last.text.shape[1]:
            found["text"] = last.text[query] @ last.text.T
    for scores in found.values():
        scores[np.arange(len(query)), query] = scores.min()
    return found


# ------------------------------------------------------------------------------------------------ weights


def choose_weights(
    settings: EnsembleSettings,
    data: LearningData,
    networks: Sequence[Teacher],
    members: Members,
    path: Path,
    progress: Progress,
) -> Blend:
    """Weights by the evaluation split of `data`, which must be valid; kept in `path`."""
    if path.exists():
        return Blend(**read_json(path))
    found = _weigh(settings, data, networks, members, progress) if settings.members else network_alone(data)
    write_json(path, asdict(found))
    return found


def _weigh(
    settings: EnsembleSettings, data: LearningData, networks: Sequence[Teacher], members: Members, progress: Progress
) -> Blend:
    catalog: dict[str, dict[str, float]] = {}
    related: dict[str, dict[str, float]] = {}
    rows: dict[str, dict[str, float]] = {}
    judged: dict[str, dict[str, float]] = {}
    progress.say("ensemble: choosing weights on valid")
    if any(t.kind == "retrieval" for t in data.tasks):
        catalog = _catalog_weights(settings, data, networks, members, judged)
    for task in data.tasks:
        if task.kind == "related":
            related[task.name] = _related_weights(settings, data, networks, members, judged, task)
    if data.evaluation.impressions is not None and len(data.evaluation.impressions.item):
        rows = _row_weights(data, networks, members, judged)
    else:
        rows = network_alone(data).rows
    return Blend(catalog, related, rows, judged)


def network_alone(data: LearningData) -> Blend:
    """The weights of a ensemble of one."""
    kinds = {kind: [t.name for t in data.tasks if t.kind in kind] for kind in (("retrieval",), ("related",), ROWS)}
    one = {kind: {name: {"network": 1.0} for name in names} for kind, names in kinds.items()}
    rows = {name: {"network": 1.0, "offset": 0.0} for name in kinds[ROWS]}
    return Blend(one[("retrieval",)], one[("related",)], rows, {})


def _catalog_weights(
    settings: EnsembleSettings,
    data: LearningData,
    networks: Sequence[Teacher],
    members: Members,
    judged: dict[str, dict[str, float]],
) -> dict[str, dict[str, float]]:
    sessions, tasks = data.evaluation.sessions, [t for t in scored_tasks(data.tasks) if t.kind == "retrieval"]
    assert sessions is not None
    requests = sessions.requests
    log = data.train_log
    past = np.flatnonzero(log.offsets[requests.user + 1] > log.offsets[requests.user])
    most = MOST_SCORES // (data.n_items * len(tasks) * (1 + len(settings.members) + len(OBJECTIVES)))
    if len(past) > most:
        past = np.sort(np.random.default_rng(settings.seed).choice(past, most, replace=False))
    wanted = {"network", *settings.members}
    wanted |= set(OBJECTIVES) if "reranker" in wanted else set()
    scores = catalog_scores(settings.ensemble.candidates, data, networks, members, wanted, requests, past, -1, None)
    own = np.zeros((len(past), data.n_items), bool)
    for r, user in enumerate(requests.user[past]):
        own[r, log.item[log.offsets[user] : log.offsets[user + 1]]] = True
    weights = {}
    for t, task in enumerate(tasks):
        truth = np.zeros_like(own)
        lists = sessions.truth[task.name].take(past)
        truth[lists.owner(), lists.values] = True
        if task.repeats == "exclude":
            truth &= ~own
        some = truth.any(axis=1)
        if not some.any():
            weights[task.name] = {"network": 1.0}
            continue
        of_task = {name: s[some, t] for name, s in scores.items()}
        if task.repeats == "exclude":
            of_task = {name: np.where(own[some], s.min(axis=1, keepdims=True), s) for name, s in of_task.items()}
        right, barred = truth[some], own[some] if task.repeats == "exclude" else None
        judge = _ndcg_of(right, barred)
        chosen = blend.greedy(of_task, judge)
        total = np.asarray(sum(chosen[n] * s for n, s in of_task.items()), np.float32)
        share = right / right.sum(axis=1, keepdims=True)
        factor = blend.temperature(total, share)
        weights[task.name] = {n: w * factor for n, w in chosen.items()}
        judged[task.name] = {n: judge(s) for n, s in of_task.items()} | {"blend": judge(total)}
    return weights


def _ndcg_of(truth: npt.NDArray[np.bool_], barred: npt.NDArray[np.bool_] | None) -> Callable[[Float], float]:
    """Mean NDCG@10 of scores (R, N) whose right items are `truth`; `barred` ones are never listed."""
    discount = 1 / np.log2(np.arange(2, K + 2))
    best = np.cumsum(discount)[np.minimum(truth.sum(axis=1), K) - 1]

    def judge(scores: Float) -> float:
        ranked = scores if barred is None else np.where(barred, -np.inf, scores)
        hits = np.take_along_axis(truth, top_k(ranked, K), axis=1)
        return float(((hits * discount[: hits.shape[1]]).sum(axis=1) / best).mean())

    return judge


def _related_weights(
    settings: EnsembleSettings,
    data: LearningData,
    networks: Sequence[Teacher],
    members: Members,
    judged: dict[str, dict[str, float]],
    task: Task,
) -> dict[str, float]:
    log = data.evaluation_log
    held = session_rows(log, log.session_starts())
    known = held.where(log.item[held.values] < data.n_items)
    items = Ragged(known.offsets, log.item[known.values])
    baskets = (np.unique(items.row(s)) for s in np.flatnonzero(items.sizes() > 1).tolist())
    sessions = [basket for basket in baskets if len(basket) > 1]
    if not sessions:
        return {"network": 1.0}
    query = np.unique(np.concatenate(sessions))
    wanted = {"network", "text", *settings.members}
    scores = related_scores(data, networks, members, wanted, query)
    lists = np.full((data.n_items, min(K, data.n_items)), -1, np.int64)

    def judge(total: Float) -> float:
        others = total.copy()
        others[np.arange(len(query)), query] = -np.inf  # ties with its lowest scores would list the item itself
        lists[query] = top_k(others, K)
        return metrics.related_metrics(sessions, lists)["capped_recall@10"].value

    chosen = blend.greedy(scores, judge)
    total = np.asarray(sum(chosen[n] * s for n, s in scores.items()), np.float32)
    judged[task.name] = {n: judge(s) for n, s in scores.items()} | {"blend": judge(total)}
    factor = blend.temperature(total, _pair_shares(sessions, query, data.n_items))
    return {n: w * factor for n, w in chosen.items()}


def _pair_shares(sessions: Sequence[Int], query: Int, n_items: int) -> Float:
    """How often each item was beside each of `query`, as shares, (Q, N); a session holds an item once."""
    found = np.zeros((len(query), n_items), np.float32)
    for session in sessions:
        found[np.ix_(np.searchsorted(query, session), session)] += 1
    found[np.arange(len(query)), query] = 0
    shares: Float = found / np.maximum(found.sum(axis=1, keepdims=True), 1e-9)
    return shares


def _row_weights(
    data: LearningData, networks: Sequence[Teacher], members: Members, judged: dict[str, dict[str, float]]
) -> dict[str, dict[str, float]]:
    rows = data.evaluation.impressions
    assert rows is not None
    everything = np.arange(len(rows.item))
    found: dict[str, Float] = {}
    if networks:
        each = [network_rows(n, data, rows.requests, rows.item, everything) for n in networks]
        found["network"] = np.mean(each, axis=0)
    if members.boosting is not None:
        found["boosting"] = members.boosting.held_rows()
    weights = {}
    for i, task in enumerate(scored_tasks(data.tasks)):
        if task.kind == "retrieval":
            continue
        label, binary = rows.labels[task.name], task.kind == "binary"
        z = np.stack([_logit(m[:, i]) if binary else m[:, i] for m in found.values()]).astype(np.float64)
        fitted, offset = (blend.logistic if binary else blend.linear)(z, label)
        weights[task.name] = dict(zip(found, fitted.tolist(), strict=True)) | {"offset": offset}
        loss = _log_loss if binary else _squared_error
        judged[task.name] = {n: loss(m, label) for n, m in zip(found, z, strict=True)}
        judged[task.name]["blend"] = loss(fitted @ z + offset, label)
    return weights


def _logit(log_p: Float) -> Float:
    """Log-probability -> log-odds."""
    log_p = np.minimum(log_p, -1e-6)
    logit: Float = log_p - np.log(-np.expm1(log_p))
    return logit


def _log_loss(z: npt.NDArray[np.float64], label: Float) -> float:
    return float((np.logaddexp(0, z) - label * z).mean())


def _squared_error(prediction: npt.NDArray[np.float64], label: Float) -> float:
    return float(((prediction - label) ** 2).mean())


def shares_of(weights: Mapping[str, float]) -> dict[str, float]:
    """Each member's part of the sum of the weights."""
    total = sum(w for n, w in weights.items() if n != "offset")
    return {n: w / total for n, w in weights.items() if n != "offset" and total > 0}


__all__ = ["Blend", "Ensemble", "Members", "choose_weights", "shares_of"]


def labelling_views(settings: EnsembleSettings, data: LearningData) -> Views | None:
    """Which requests of the training rows the ensemble can label without having seen their outcome; None: all."""
    rolled = {*CLOSED_FORM, "reranker"} & set(settings.members)
    if not rolled or all(t.kind != "retrieval" for t in data.tasks):
        return None
    return Views.of(settings, data)
