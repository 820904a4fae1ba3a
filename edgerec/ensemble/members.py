"""The members beside the networks, and the scores of all members by name."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgerec.ensemble.boosting import Boosting
from edgerec.ensemble.histories import FlatHistories
from edgerec.ensemble.order import Order, order_matters
from edgerec.ensemble.popularity import PopularityMembers
from edgerec.ensemble.reranker import Reranker
from edgerec.ensemble.signals import Snapshot
from edgerec.ensemble.snapshots import Snapshots
from edgerec.ensemble.views import EnsembleSettings, Views
from edgerec.examples.load import LearningData
from edgerec.examples.requests import Requests
from edgerec.models.teacher import Teacher
from edgerec.progress import Progress
from edgerec.tasks import scored_tasks
from edgerec.tasks.history import Float, Int
from edgerec.training.predictions import network_log_probs, network_related, network_rows

__all__ = [
    "CLOSED_FORM",
    "FITTED_BY_VIEW",
    "ChosenOnValid",
    "MemberScores",
    "Members",
    "closed_form_scores",
    "labelling_views",
]

CLOSED_FORM = ("ease", "als", "graph", "transitions", "own")
FITTED_BY_VIEW = (*CLOSED_FORM, "popularity")
"""Members of `[ensemble]` that know only what a view allows; "popularity" stands for several members."""


@dataclass(frozen=True)
class ChosenOnValid:
    """Trees of each boosted task, and epochs of the transformer; None without that member."""

    trees: dict[str, int] | None = None
    epochs: int | None = None


@dataclass(frozen=True)
class Members:
    """The members beside the networks, fitted on one part.

    A member is None where the settings leave it out or no task uses it.
    """

    snapshots: Snapshots | None = None
    popularity: PopularityMembers | None = None
    reranker: Reranker | None = None
    boosting: Boosting | None = None
    order: Order | None = None

    @classmethod
    def fit(
        cls,
        settings: EnsembleSettings,
        data: LearningData,
        folder: Path,
        folds: Sequence[int],
        chosen: ChosenOnValid | None,
        progress: Progress,
    ) -> Members:
        """Fit on the training rows of `data`, or go on where an earlier call with this folder was stopped.

        Args:
            folds: of users, for which re-rankers, trees and transformers are trained.
            chosen: by a call on valid; None: this one is on valid, and chooses.
        """
        wanted = set(settings.members)
        kinds = {t.kind for t in data.tasks}
        folder.mkdir(parents=True, exist_ok=True)
        snapshots = reranker = boosting = order = None
        if wanted & {*FITTED_BY_VIEW, "sequence", "reranker"} and kinds & {"retrieval", "related"}:
            views = Views.of(settings, data)
            snapshots = Snapshots.fit(views, data, folder, settings.seed, progress, wanted)
            if "reranker" in wanted and "retrieval" in kinds:
                reranker = Reranker.fit(settings, data, snapshots, folds, folder, progress)
            ordered = chosen is None or chosen.epochs is not None
            if "sequence" in wanted and "retrieval" in kinds and ordered:
                order = _order(settings, data, snapshots, folds, folder, chosen, progress)
        if "boosting" in wanted and kinds & {"binary", "regression"}:
            boosting = Boosting.fit(settings, data, folder, folds, progress, None if chosen is None else chosen.trees)
        return cls(snapshots, _popularity(settings, data), reranker, boosting, order)

    @property
    def chosen(self) -> ChosenOnValid:
        """What a call of `fit` on the test part needs to know of this one on valid."""
        return ChosenOnValid(
            None if self.boosting is None else self.boosting.trees, None if self.order is None else self.order.epochs
        )

    @classmethod
    def load(cls, settings: EnsembleSettings, data: LearningData, folder: Path) -> Members:
        """What `fit` left in `folder`."""
        views = Views.of(settings, data)
        snapshots = Snapshots(views, folder) if any(folder.glob("snapshot-*")) else None
        folds = range(settings.folds)
        # One fold alone was for choosing weights on valid, where the re-ranker was then found to bring nothing.
        reranker = Reranker.load(data, folds, folder) if Reranker.is_in(folder, data, folds) else None
        order = Order.load(settings, data, folder) if Order.is_in(folder) else None
        boosting = load_boosting(settings, data, folder)
        return cls(snapshots, _popularity(settings, data), reranker, boosting, order)


def load_boosting(settings: EnsembleSettings, data: LearningData, folder: Path) -> Boosting | None:
    """The boosted trees of all folds that `Members.fit` left in `folder`; None: they are not wanted.

    Trees of one fold alone were for choosing weights on valid, where they were then found to bring nothing.
    """
    boosting = Boosting.load(settings, data, folder) if (folder / "boosting.json").exists() else None
    return boosting if boosting is not None and boosting.complete else None


def _order(
    settings: EnsembleSettings,
    data: LearningData,
    snapshots: Snapshots,
    folds: Sequence[int],
    folder: Path,
    chosen: ChosenOnValid | None,
    progress: Progress,
) -> Order | None:
    """None where what comes next does not depend on the order of what was before."""

    def scores(requests: Requests, part: Int) -> dict[str, Float]:
        closed = closed_form_scores(snapshots.last, data, requests, part)
        ages = [(i, name) for i, name in enumerate(data.statistics.names) if name.startswith("popularity")]
        return closed | {name: data.statistics.values[requests.as_of[part], :, i] for i, name in ages}

    if chosen is None and not order_matters(data, settings.seed, folder, scores):
        return None
    epochs = None if chosen is None else chosen.epochs
    return Order.fit(settings, data, folder, folds, epochs, progress)


def _popularity(settings: EnsembleSettings, data: LearningData) -> PopularityMembers | None:
    some = "popularity" in settings.members and any(t.kind == "retrieval" for t in data.tasks)
    return PopularityMembers(data) if some else None


@dataclass(frozen=True)
class MemberScores:
    """Networks and the members beside them, each of which scores by itself.

    Attributes:
        candidates: items beside the history that the re-ranker scores.
    """

    candidates: int
    data: LearningData
    networks: Sequence[Teacher]
    members: Members

    def catalog(
        self, wanted: Collection[str], requests: Requests, chosen: Int, view: int = -1, fold: int | None = None
    ) -> dict[str, Float]:
        """Scores of every item by each wanted member, (B, retrieval tasks, N).

        Args:
            view: that may serve the requests; -1: all training rows.
            fold: score with the models of this fold; None: the mean of all folds.
        """
        n_tasks = sum(t.kind == "retrieval" for t in scored_tasks(self.data.tasks))
        scores: dict[str, Float] = {}
        if "network" in wanted and self.networks:
            networks = self.networks if fold is None else [self.networks[fold]]
            scores["network"] = network_log_probs(networks, self.data, requests, chosen)
        snapshots, reranker = self.members.snapshots, self.members.reranker
        if snapshots is not None:
            snapshot = snapshots.of(view)
            requests = snapshots.views.with_statistics(requests, view, len(self.data.statistics.as_of_ms) - 1)
            if set(wanted) & set(CLOSED_FORM):
                for name, values in closed_form_scores(snapshot, self.data, requests, chosen).items():
                    if name in wanted:
                        scores[name] = np.repeat(values[:, None], n_tasks, axis=1)
            if self.members.popularity is not None:
                for name, values in self.members.popularity.scores(wanted, requests, chosen).items():
                    scores[name] = np.repeat(values[:, None], n_tasks, axis=1)
            if "sequence" in wanted and self.members.order is not None:
                values = self.members.order.scores(requests, chosen, fold)
                scores["sequence"] = np.repeat(values[:, None], n_tasks, axis=1)
            if "reranker" in wanted and reranker is not None:
                scores["reranker"] = reranker.scores(snapshot, requests, chosen, self.candidates, fold)
        return scores

    def related(self, wanted: Collection[str], query: Int) -> dict[str, Float]:
        """Scores of every item beside each item of `query` by each wanted member, (Q, N).

        For "transitions" this is the cosine of sessions, which has no direction.
        """
        scores = {}
        if "network" in wanted and self.networks:
            scores["network"] = network_related(self.networks, self.data, query)
        if self.members.snapshots is not None:
            last = self.members.snapshots.last
            if "transitions" in wanted:
                scores["transitions"] = np.sqrt(last.cosine[query].toarray())
            if "ease" in wanted and last.ease is not None:
                scores["ease"] = np.sqrt(np.maximum(last.ease[query].astype(np.float32), 0))
            if "text" in wanted and last.text.shape[1]:
                scores["text"] = last.text[query] @ last.text.T
        for values in scores.values():
            values[np.arange(len(query)), query] = values.min()
        return scores

    def rows(self, requests: Requests, candidate: Int, chosen: Int) -> dict[str, Float]:
        """Log-probabilities (binary) and standardised logs (regression) of one candidate a request, (B, T)."""
        scores: dict[str, Float] = {}
        if self.networks:
            each = [network_rows(network, self.data, requests, candidate, chosen) for network in self.networks]
            scores["network"] = np.mean(each, axis=0)
        if self.members.boosting is not None:
            scores["boosting"] = self.members.boosting.rows(requests, candidate, chosen)
        return scores


def closed_form_scores(snapshot: Snapshot, data: LearningData, requests: Requests, chosen: Int) -> dict[str, Float]:
    """Scores of every item by the closed-form members, (B, N) each."""
    scores = {name: s for name, s in snapshot.signals(requests, chosen).items() if name in CLOSED_FORM}
    histories = FlatHistories.of(requests, chosen)
    own = np.zeros((len(chosen), data.n_items), np.float32)
    known = histories.item < data.n_items
    own[histories.row[known], histories.item[known]] = np.log1p(histories.count[known])
    scores["own"] = own
    return scores


def labelling_views(settings: EnsembleSettings, data: LearningData) -> Views | None:
    """Tell which requests of the training rows can be labelled by members that did not see their outcome; None: all."""
    fitted_by_view = {*FITTED_BY_VIEW, "reranker"} & set(settings.members)
    if not fitted_by_view or all(t.kind != "retrieval" for t in data.tasks):
        return None
    return Views.of(settings, data)
