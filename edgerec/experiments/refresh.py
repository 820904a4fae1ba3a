"""The next version of a finished run whose log has grown: the student starts from the weights of the old one.

The teacher is trained from the start, so that each label still comes from a model that did not see its user. Most
epochs of the student are saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgerec.bundle import Bundle
from edgerec.bundle.delta import DeltaReport, make_delta
from edgerec.config import Config
from edgerec.data import Dataset
from edgerec.errors import DataError, QualityError
from edgerec.experiments.diff import Diff, compare
from edgerec.files import read_json, write_json
from edgerec.stages import pipeline
from edgerec.stages.run import Run

__all__ = ["Refreshed", "refresh"]

EPOCHS_PART = 3
"""A student with a warm start needs one of so many parts of the epochs."""


@dataclass(frozen=True)
class Refreshed:
    """The new run, compared with the old one, and the delta between their bundles."""

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

    def to_json(self) -> dict[str, object]:
        """As plain values."""
        sizes = {"bytes": self.sizes.bytes, "whole": self.sizes.whole}
        return {"run_dir": str(self.run_dir), "delta": str(self.delta), **sizes, "diff": self.diff.to_json()}


def refresh(run: Run, log: str | None, out: Path | None) -> Refreshed:
    """Run all stages into a new folder; goes on where an earlier call was stopped.

    Args:
        log: the grown log; None: that of the settings. out: folder of the new run; RUN-vVERSION by default.
    Raises:
        DataError: the run has no bundle, or its log has not grown. QualityError: the new bundle is worse than the old
            one on the newest part, by more than chance, or a gate of a stage fails.
    """
    old = Bundle.open(run.bundle)
    version = old.manifest.version + 1
    folder = run.folder.with_name(f"{run.folder.name}-v{version}") if out is None else out
    newer = Run(_settings(run, log, version), folder, run.progress)
    pipeline.run(newer.config, folder, run.progress, until="prepare")
    _refuse_same_rows(run, newer)
    pipeline.run(newer.config, folder, run.progress)
    diff = compare(newer, old.folder, newer.bundle)
    write_json(newer.report / "diff.json", diff.to_json(), sort_keys=False)
    if diff.failures:
        raise QualityError(f"refresh: {'; '.join(diff.failures)}; {old.folder} stays, see {newer.report}")
    delta = folder / "delta"
    for path in delta.glob("*") if delta.is_dir() else ():
        path.unlink()
    if delta.is_dir():
        delta.rmdir()
    return Refreshed(folder, diff, delta, make_delta(old.folder, newer.bundle, delta))


def _settings(run: Run, log: str | None, version: int) -> Config:
    config = run.config
    update = {"time_format": Dataset.open(run.dataset).meta.time_format}  # times are read as in the old log
    if log is not None:
        update["interactions"] = str(Path(log).absolute())
    data = config.data.model_copy(update=update)
    epochs = max(config.distillation.epochs // EPOCHS_PART, 1)
    warm_start = {"start_from": str(run.folder.absolute()), "epochs": epochs}
    distillation = config.distillation.model_copy(update=warm_start)
    return config.model_copy(update={"data": data, "distillation": distillation, "version": version})


def _refuse_same_rows(old: Run, new: Run) -> None:
    before, now = (read_json(run.dataset / "dataset.json")["counts"]["in"] for run in (old, new))
    if now <= before:
        raise DataError(f"{new.dataset}: the log has {now:,} rows and had {before:,}; give a grown one by --log")
