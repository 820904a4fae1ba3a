"""Label the examples with the ensemble; no example is labelled by a model that has seen its user."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from edgerec.ensemble.ensemble import Ensemble
from edgerec.examples.batches import Examples
from edgerec.examples.folds import by_fold, fold_of
from edgerec.examples.load import LearningData
from edgerec.examples.requests import ImpressionExamples, SessionExamples
from edgerec.examples.scratch import Columns
from edgerec.examples.soft_lists import SoftLabels, SoftLists, Vectors, log_weights, shortened
from edgerec.examples.soft_store import SoftStore, spans
from edgerec.progress import Progress
from edgerec.tasks import scored_tasks
from edgerec.tasks.history import Float, Int
from edgerec.threads import each_ahead
from edgerec.training.predictions import AT_ONCE, network_rows

PART = 2048
"""Requests or items in a file."""
ROWS = 65_536
"""Impressions in a file."""
REQUESTS = 128
"""Requests that are labelled together; as many on each core."""
MOST_SCORES = 2_000_000
"""Scores of a member that are in memory together, of each of the requests that are labelled side by side."""
Label: TypeAlias = Callable[[int, int], Columns]
"""Makes the label columns of the examples from a first one up to an end."""


def label(
    examples: Examples,
    among: Int,
    data: LearningData,
    store: SoftStore,
    load: Callable[[], Ensemble],
    load_early: Callable[[], Ensemble] | None,
    seed: int,
    progress: Progress,
) -> None:
    """Fill the store with the labels that are missing; the teacher is loaded only if some are.

    Args:
        among: places of the impressions that are labelled, ascending.
        load: the teacher. load_early: its networks from an early checkpoint, which label too; None: they do not.
    """
    impressions = examples.impressions
    sessions = examples.sessions if any(t.kind == "retrieval" for t in data.tasks) else None
    related = any(t.kind == "related" for t in data.tasks)
    kinds = [kind for kind, part in (("sessions", sessions), ("impressions", impressions)) if part is not None]
    wanted = [*kinds, *(["related"] if related else []), "vectors"]
    wanted += [] if load_early is None else [f"early-{kind}" for kind in kinds]
    if all(store.has(kind) for kind in wanted):
        return

    def fill(ensemble: Ensemble, prefix: str, advance: Callable[[int], None]) -> None:
        if sessions is not None:
            label_sessions = _counted(_sessions_label(sessions, ensemble, seed), advance)
            store.fill(f"{prefix}sessions", spans(len(sessions.requests), PART), label_sessions)
        if impressions is not None:
            label_impressions = _counted(_impressions_label(impressions, among, ensemble), advance)
            store.fill(f"{prefix}impressions", spans(len(among), ROWS), label_impressions)

    ensemble = load()
    n_sessions = 0 if sessions is None else len(sessions.requests)
    n_impressions = 0 if impressions is None else len(among)
    with progress.track(n_sessions + n_impressions, "labels") as done:
        fill(ensemble, "", done.advance)
    if load_early is not None:
        fill(load_early(), "early-", lambda _: None)
    n = data.n_items
    if related:
        store.fill("related", spans(n, PART), _related_label(ensemble, seed))
    store.fill("vectors", [(0, n)], lambda start, end: {"vector": item_vectors(ensemble)[start:end]})


def read(store: SoftStore, data: LearningData, place: Path) -> SoftLabels:
    """The labels of a filled store; long arrays are mapped from files in `place`."""
    weights = log_weights(data.train.n_seen)
    related = _lists(store.read("related", place), "related", weights) if store.has("related") else None
    early = SoftLabels(*_read_requests(store, data, place, "early-"))
    sessions, impressions = _read_requests(store, data, place, "")
    some = early.sessions is not None or early.impressions is not None
    return SoftLabels(sessions, impressions, related, store.read("vectors")["vector"], early if some else None)


def _read_requests(
    store: SoftStore, data: LearningData, place: Path, prefix: str
) -> tuple[tuple[SoftLists, ...] | None, npt.NDArray[np.float16] | None]:
    """Labels of sessions and of impressions."""
    sessions: tuple[SoftLists, ...] | None = None
    impressions = None
    if store.has(f"{prefix}sessions"):
        columns, weights = store.read(f"{prefix}sessions", place), log_weights(data.train.n_seen)
        names = [t.name for t in scored_tasks(data.tasks) if t.kind == "retrieval"]
        sessions = tuple(_lists(columns, name, weights) for name in names)
    if store.has(f"{prefix}impressions"):
        impressions = store.read(f"{prefix}impressions", place)["scores"]
    return sessions, impressions


def _lists(columns: Columns, name: str, weights: Float | None) -> SoftLists:
    return SoftLists(columns[f"score.{name}"], columns.get(f"item.{name}"), weights)


def _columns(lists: Mapping[str, SoftLists]) -> Columns:
    """The columns of the lists of each task."""
    scores = {f"score.{name}": task.scores for name, task in lists.items()}
    return scores | {f"item.{name}": task.item for name, task in lists.items() if task.item is not None}


def _joined(parts: list[Columns]) -> Columns:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _counted(label_part: Label, advance: Callable[[int], None]) -> Label:
    """`label_part`, and `advance` by the number of examples that it labelled."""

    def counted(start: int, end: int) -> Columns:
        columns = label_part(start, end)
        advance(end - start)
        return columns

    return counted


def _sessions_label(sessions: SessionExamples, ensemble: Ensemble, seed: int) -> Label:
    """Log-probabilities of the catalogue for every retrieval task.

    Requests are labelled in the order of view of the log, then fold of users: one view and fold share their models.
    Those of one as-of time, which share the items, follow each other.
    """
    requests, n_seen = sessions.requests, ensemble.data.train.n_seen
    views = np.full(len(requests), -1) if ensemble.views is None else ensemble.views.serving(requests)
    folds = fold_of(np.asarray(requests.user), len(ensemble.networks))
    order = np.lexsort((requests.time_ms, folds, views))

    at_once = int(np.clip(MOST_SCORES // (ensemble.data.n_items * max(len(ensemble.retrieval), 1)), 1, REQUESTS))

    def columns_of(part: Int) -> Columns:
        rng = np.random.default_rng((seed, int(part[0])))
        log_probs = ensemble.log_probs(requests, part, int(views[part[0]]), int(folds[part[0]]))
        return _columns({t.name: shortened(log_probs[:, i, :n_seen], rng) for i, t in enumerate(ensemble.retrieval)})

    def label_part(start: int, end: int) -> Columns:
        chosen = order[start:end]
        columns: list[Columns] = []
        bounds = np.flatnonzero((np.diff(views[chosen]) != 0) | (np.diff(folds[chosen]) != 0)) + 1
        for group in np.split(chosen, bounds):
            columns += each_ahead(columns_of, np.array_split(group, -(-len(group) // at_once)))
        return {"example": chosen, **_joined(columns)}

    return label_part


def _impressions_label(impressions: ImpressionExamples, among: Int, ensemble: Ensemble) -> Label:
    """Log-probabilities of binary tasks and standardised logs of regression tasks of the impressions `among`.

    Impressions are labelled in the order of their as-of times: each network encodes the catalogue once for each time.
    """
    requests, boosting = impressions.requests, ensemble.members.boosting
    order = np.argsort(requests.as_of[among], kind="stable")

    def label_part(start: int, end: int) -> Columns:
        rows = among[order[start:end]]
        network = np.zeros((len(rows), len(ensemble.tasks)), np.float32)
        for fold, mine in by_fold(requests.user[rows], len(ensemble.networks)):
            model = ensemble.networks[fold]
            network[mine] = network_rows(model, ensemble.data, requests, impressions.item, rows[mine])
        scores = {"network": network} | ({} if boosting is None else {"boosting": boosting.train_rows(rows)})
        return {"example": order[start:end], "scores": ensemble.blend_rows(scores).astype(np.float16)}

    return label_part


def _related_label(ensemble: Ensemble, seed: int) -> Label:
    """Scores of every item beside each one, at the last as-of time, by all models: a session has no single owner."""
    n_seen = ensemble.data.train.n_seen

    def label_part(start: int, end: int) -> Columns:
        rng = np.random.default_rng((seed, start))
        queries = np.array_split(np.arange(start, end), -(-(end - start) // AT_ONCE))
        related = (shortened(ensemble.related(query)[:, :n_seen], rng) for query in queries)
        return _joined([_columns({"related": lists}) for lists in related])

    return label_part


def item_vectors(ensemble: Ensemble) -> Vectors:
    """All networks' vectors of the items at the last as-of time side by side, (N, networks * dim).

    Each has the length 1 / sqrt(networks), so that a product of two is the mean of the networks' cosines.
    """
    as_of = ensemble.data.as_of(-1)
    with torch.inference_mode():
        tables = [torch.nn.functional.normalize(network.encode_items(as_of)[0]) for network in ensemble.networks]
        vectors: Vectors = (torch.cat(tables, dim=1) / len(tables) ** 0.5).numpy()
    return vectors
