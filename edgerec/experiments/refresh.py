"""The next version of a finished run: its log has grown, the student goes on from where it ended.

The teacher learns anew, so that its labels stay those of a model that did not see their user; what is saved is most of
the student's epochs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgerec.bundle import Bundle
from edgerec.bundle.delta import DeltaReport, make_delta
from edgerec.config import Config
from edgerec.errors import DataError, QualityError
from edgerec.experiments.diff import Diff, compare
from edgerec.files import read_json, write_json
from edgerec.progress import Progress
from edgerec.stages import pipeline

__all__ = ["Refreshed", "refresh"]

EPOCHS_PART = 3
"""A student that goes on needs this part of the epochs of one that starts from nothing."""


@dataclass(frozen=True)
class Refreshed:
    """What came of it."""

    run_dir: Path
    diff: Diff
    delta: Path
    sizes: DeltaReport

    def lines(self) -> Sequence[str]:
        """For the screen."""
        return [
            *self.diff.lines(),
            f"bundle: {self.run_dir / 'bundle'}; sign it, and make its delta again, before devices get it",
            f"delta: {self.delta}, {self.sizes.bytes:,} bytes in place of {self.sizes.whole:,}",
        ]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        sizes = {"bytes": self.sizes.bytes, "whole": self.sizes.whole}
        return {"run_dir": str(self.run_dir), "delta": str(self.delta), **sizes, "diff": self.diff.to_json()}


def refresh(config: Config, run_dir: Path, log: str | None, out: Path | None, progress: Progress) -> Refreshed:
    """Run all stages into a new folder; goes on where an earlier call was stopped.

    Args:
        log: the log with its newer rows; None: the settings', which has grown.
    Raises:
        DataError: the run has no bundle, or its log has not grown. QualityError: the new bundle is worse than the old
            one on the newest part, by more than chance, or a stage's gate does not hold.
    """
    old = Bundle.open(run_dir / "bundle")
    version = old.manifest.version + 1
    folder = run_dir.with_name(f"{run_dir.name}-v{version}") if out is None else out
    newer = _settings(config, run_dir, log, version)
    pipeline.run(newer, folder, progress, until="prepare")
    _refuse_same_rows(run_dir, folder)
    pipeline.run(newer, folder, progress)
    found = compare(newer, folder, old.folder, folder / "bundle", progress)
    write_json(folder / "report" / "diff.json", found.to_json(), sort_keys=False)
    if found.failures:
        raise QualityError(f"refresh: {'; '.join(found.failures)}; {old.folder} stays, see {folder / 'report'}")
    delta = folder / "delta"
    for path in delta.glob("*") if delta.is_dir() else ():
        path.unlink()
    if delta.is_dir():
        delta.rmdir()
    return Refreshed(folder, found, delta, make_delta(old.folder, folder / "bundle", delta))


def _settings(config: Config, run_dir: Path, log: str | None, version: int) -> Config:
    data = config.data if log is None else config.data.model_copy(update={"interactions": str(Path(log).absolute())})
    epochs = max(config.distillation.epochs // EPOCHS_PART, 1)
    going_on = {"start_from": str(run_dir.absolute()), "epochs": epochs}
    distillation = config.distillation.model_copy(update=going_on)
    return config.model_copy(update={"data": data, "distillation": distillation, "version": version})


def _refuse_same_rows(old: Path, new: Path) -> None:
    rows = [read_json(run / "dataset" / "dataset.json")["counts"]["in"] for run in (old, new)]
    if rows[1] <= rows[0]:
        raise DataError(
            f"{new / 'dataset'}: the log has {rows[1]:,} rows and had {rows[0]:,}; give a grown one by --log"
        )
