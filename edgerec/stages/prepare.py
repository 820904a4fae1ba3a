"""The data stage: from the log to the dataset."""

from __future__ import annotations

from edgerec.data.dataset import Part
from edgerec.data.prepare import PrepareReport
from edgerec.data.prepare import prepare as prepare_dataset
from edgerec.stages.run import Run


def prepare(run: Run) -> PrepareReport:
    """Write the dataset of a run; an earlier one is replaced only when the new one is whole.

    Raises:
        DataError: the log does not fit the settings, or nothing can be learned from it or judged on it; then the
            dataset is there for `edgerec doctor`, but no stage goes on from it.
    """
    parts: tuple[Part, ...] = ("valid",) if run.part == "valid" else ("valid", "test")
    return prepare_dataset(run.config, run.folder, run.progress, parts)
