"""Label the examples: nothing is labelled by a model that saw its user, and all members of the ensemble speak."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from edgerec.ensemble.ensemble import Ensemble, Members
from edgerec.examples.batches import Examples
from edgerec.examples.folds import by_fold, fold_of
from edgerec.examples.load import LearningData
from edgerec.examples.requests import SessionExamples
from edgerec.examples.soft_lists import SoftLabels, SoftLists, Vectors, log_weights, shortened
from edgerec.examples.soft_store import SoftStore, spans
from edgerec.progress import Progress
from edgerec.tasks import scored_tasks
from edgerec.tasks.history import Float, Int
from edgerec.training.predictions import AT_ONCE, network_rows

PART = 2048
"""Requests or items in a file."""
NOBODY = Members(None, None, None)
ROWS = 65_536
"""Impressions in a file."""


def label(
    examples: Examples,
    data: LearningData,
    store: SoftStore,
    load: Callable[[], Ensemble],
    load_early: Callable[[], Ensemble] | None,
    seed: int,
    progress: Progress,
) -> None:
    """Fill the store with what is missing; the teacher is loaded only if something is.

    Args:
        load: the teacher. load_early: its networks of early in their training, which label too, if it is given.
    """
    sessions, rows = examples.sessions, examples.impressions
    retrieval = any(t.kind == "retrieval" for t in data.tasks)
    wanted = {
        "sessions": sessions is not None and retrieval,
        "impressions": rows is not None,
        "related": any(t.kind == "related" for t in data.tasks),
        "vectors": True,
    }
    if load_early is not None:
        wanted |= {f"early-{kind}": wanted[kind] for kind in ("sessions", "impressions")}
    if all(store.has(kind) for kind, there in wanted.items() if there):
        return
    ensemble = load()
    total = (len(sessions.requests) if wanted["sessions"] and sessions else 0) + (
        len(rows.item) if rows is not None else 0
    )
    with progress.track(total, "labels") as done:
        if wanted["sessions"] and sessions is not None:
            label_part, order = _of_sessions(sessions, ensemble, seed)
            store.fill("sessions", spans(len(order), PART), _told(label_part, done.advance))
        if rows is not None:
            store.fill("impressions", spans(len(rows.item), ROWS), _told(_of_rows(examples, ensemble), done.advance))
    if load_early is not None:
        early = load_early()
        if wanted["sessions"] and sessions is not None:
            label_part, order = _of_sessions(sessions, early, seed)
            store.fill("early-sessions", spans(len(order), PART), label_part)
        if rows is not None:
            store.fill("early-impressions", spans(len(rows.item), ROWS), _of_rows(examples, early))
    n = data.n_items
    if wanted["related"]:
        store.fill("related", spans(n, PART), _of_related(ensemble, seed))
    store.fill("vectors", [(0, n)], lambda start, end: {"vector": item_vectors(ensemble)[start:end]})


def read(store: SoftStore, data: LearningData, place: Path) -> SoftLabels:
    """The labels of a filled store; what is long lies in mapped files in `place`."""
    weights = log_weights(data.train.n_seen)
    related = _lists(store.read("related", place), "related", weights) if store.has("related") else None
    early = SoftLabels(*_of_requests(store, data, place, "early-"))
    sessions, rows = _of_requests(store, data, place, "")
    some = early.sessions is not None or early.impressions is not None
    return SoftLabels(sessions, rows, related, store.read("vectors")["vector"], early if some else None)


def _of_requests(
    store: SoftStore, data: LearningData, place: Path, prefix: str
) -> tuple[tuple[SoftLists, ...] | None, npt.NDArray[np.float16] | None]:
    """Labels of sessions and of impressions."""
    sessions: tuple[SoftLists, ...] | None = None
    if store.has(f"{prefix}sessions"):
        columns, weights = store.read(f"{prefix}sessions", place), log_weights(data.train.n_seen)
        names = [t.name for t in scored_tasks(data.tasks) if t.kind == "retrieval"]
        sessions = tuple(_lists(columns, name, weights) for name in names)
    return sessions, store.read(f"{prefix}impressions", place)["scores"] if store.has(f"{prefix}impressions") else None


def _lists(columns: Mapping[str, npt.NDArray[Any]], name: str, weights: Float | None) -> SoftLists:
    return SoftLists(columns[f"score.{name}"], columns.get(f"item.{name}"), weights)


def _columns(lists: SoftLists, name: str) -> dict[str, npt.NDArray[Any]]:
    return {f"score.{name}": lists.scores} | ({} if lists.item is None else {f"item.{name}": lists.item})


def _told(
    make: Callable[[int, int], Mapping[str, npt.NDArray[Any]]], advance: Callable[[int], None]
) -> Callable[[int, int], Mapping[str, npt.NDArray[Any]]]:
    """`make`, and the progress bar is told how many examples that were."""

    def whole(start: int, end: int) -> Mapping[str, npt.NDArray[Any]]:
        found = make(start, end)
        advance(end - start)
        return found

    return whole


def _of_sessions(
    sessions: SessionExamples, ensemble: Ensemble, seed: int
) -> tuple[Callable[[int, int], dict[str, npt.NDArray[Any]]], Int]:
    """Scores of the catalogue for every retrieval task, and the order that requests are labelled in.

    Requests of one view of the log and one fold of users stand together: these share a ensemble.
    """
    requests, n_seen = sessions.requests, ensemble.data.train.n_seen
    views = np.full(len(requests), -1) if ensemble.views is None else ensemble.views.serving(requests)
    folds = fold_of(np.asarray(requests.user), len(ensemble.networks))
    order = np.lexsort((folds, views))

    def make(start: int, end: int) -> dict[str, npt.NDArray[Any]]:
        chosen = order[start:end]
        rng = np.random.default_rng((seed, start))
        found: dict[str, list[npt.NDArray[Any]]] = {}
        bounds = np.flatnonzero((np.diff(views[chosen]) != 0) | (np.diff(folds[chosen]) != 0)) + 1
        for group in np.split(chosen, bounds):
            for part in np.array_split(group, -(-len(group) // AT_ONCE)):
                shares = ensemble.log_probs(requests, part, int(views[part[0]]), int(folds[part[0]]))
                for t, task in enumerate(ensemble.retrieval):
                    for name, values in _columns(shortened(shares[:, t, :n_seen], rng), task.name).items():
                        found.setdefault(name, []).append(values)
        return {"example": chosen, **{name: np.concatenate(values) for name, values in found.items()}}

    return make, order


def _of_rows(examples: Examples, ensemble: Ensemble) -> Callable[[int, int], dict[str, npt.NDArray[Any]]]:
    """Log-probabilities of binary tasks and standardised logs of regression tasks."""
    rows, trees = examples.impressions, ensemble.members.boosting
    assert rows is not None

    def make(start: int, end: int) -> dict[str, npt.NDArray[Any]]:
        piece = np.arange(start, end)
        network = np.zeros((len(piece), len(ensemble.tasks)), np.float32)
        for fold, mine in by_fold(rows.requests.user[start:end], len(ensemble.networks)):
            model = ensemble.networks[fold]
            network[mine] = network_rows(model, ensemble.data, rows.requests, rows.item, piece[mine])
        found = ensemble.blend_rows(network, None if trees is None else trees.fit_rows(piece))
        return {"scores": found.astype(np.float16)}

    return make


def _of_related(ensemble: Ensemble, seed: int) -> Callable[[int, int], dict[str, npt.NDArray[Any]]]:
    """Scores of every item beside each one, at the last as-of time by all models: sessions have no single owner."""
    n_seen = ensemble.data.train.n_seen

    def make(start: int, end: int) -> dict[str, npt.NDArray[Any]]:
        rng, found = np.random.default_rng((seed, start)), dict[str, list[npt.NDArray[Any]]]()
        for query in np.array_split(np.arange(start, end), -(-(end - start) // AT_ONCE)):
            for name, values in _columns(shortened(ensemble.related(query)[:, :n_seen], rng), "related").items():
                found.setdefault(name, []).append(values)
        return {name: np.concatenate(values) for name, values in found.items()}

    return make


def item_vectors(ensemble: Ensemble) -> Vectors:
    """All networks' vectors of the items at the last as-of time side by side, (N, networks * dim).

    Each has the length 1 / sqrt(networks), so that a product of two is the mean of the networks' cosines.
    """
    as_of = ensemble.data.as_of(-1)
    with torch.inference_mode():
        tables = [torch.nn.functional.normalize(network.encode_items(as_of)[0]) for network in ensemble.networks]
        found: Vectors = (torch.cat(tables, dim=1) / len(tables) ** 0.5).numpy()
    return found
