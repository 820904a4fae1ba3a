"""The data stage: from the log to the dataset."""

from __future__ import annotations

from edgerec.data.prepare import PrepareReport
from edgerec.data.prepare import prepare as prepare_dataset
from edgerec.stages.run import Run


def prepare(run: Run) -> PrepareReport:
    """Write the dataset of a run; an earlier one is replaced only when the new one is whole."""
    return prepare_dataset(run.config, run.folder, run.progress)
