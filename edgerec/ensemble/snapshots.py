"""Closed-form members of each view of the log and of the whole log: on disk, and one of them in memory."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from edgerec.ensemble.signals import Snapshot
from edgerec.ensemble.views import Views
from edgerec.examples.graph import consumed_rows
from edgerec.examples.held_out import HeldOut
from edgerec.examples.load import LearningData
from edgerec.progress import Progress


class Snapshots:
    """Snapshots of all views and of the whole log, in `folder`."""

    def __init__(self, views: Views, folder: Path) -> None:
        self.views, self.folder = views, folder
        self._loaded: tuple[int, Snapshot] | None = None
        self.last = Snapshot.load(_file(folder, len(views)))

    @classmethod
    def fit(
        cls,
        views: Views,
        data: LearningData,
        folder: Path,
        seed: int,
        progress: Progress,
        members: Collection[str] = ("ease", "als"),
    ) -> Snapshots:
        """Fit the snapshots that are not in `folder` yet; EASE, ALS and the graph only if `members` names them.

        They label what a student learns from, so none of them knows what the student is judged on.
        """
        folder.mkdir(parents=True, exist_ok=True)
        held = HeldOut.of(data, seed)
        text, consumed = data.features.text.numpy(), consumed_rows(data.train_log, data.tasks)
        with progress.track(len(views) + 1, "closed-form members") as done:
            for view in range(len(views) + 1):
                if not _file(folder, view).exists():
                    log = data.train_log
                    rows = views.rows(log, view)
                    rows = rows[~held.holds_rows(log, rows)]
                    fitted = Snapshot.fit(log, rows[consumed[rows]], data.n_items, text, seed, members)
                    fitted.save(_file(folder, view))
                done.advance()
        return cls(views, folder)

    def of(self, view: int) -> Snapshot:
        """The snapshot of a view; -1: of the whole log."""
        if view in (-1, len(self.views)):
            return self.last
        loaded = self._loaded  # another thread may ask for another view
        if loaded is None or loaded[0] != view:
            loaded = self._loaded = (view, Snapshot.load(_file(self.folder, view)))
        return loaded[1]


def _file(folder: Path, view: int) -> Path:
    return folder / f"snapshot-{view}.safetensors"
