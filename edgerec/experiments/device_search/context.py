"""What all parts of one device search share: the run, the device, and the data that its trials learn from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from edgerec.compression.catalog_filter import never_shown
from edgerec.devices import Profile
from edgerec.examples.load import EvaluationPart, LearningData, catalogue_length
from edgerec.experiments.device_search.trials import Untrained
from edgerec.experiments.tuning.search import on_one_device, on_valid, taught_on_train
from edgerec.progress import Progress
from edgerec.stages.run import Run
from edgerec.tasks.history import Int


@dataclass(frozen=True)
class SearchContext:
    """One search for one device.

    Attributes:
        run: the run that the search belongs to, with its own settings.
        trials: the settings of a trial, and the run whose dataset and teacher the trials read.
        data: what the trials learn from; they are judged on the validation split.
    """

    run: Run
    profile: Profile
    trials: Run
    data: LearningData

    @classmethod
    def of(cls, run: Run, profile: Profile) -> SearchContext:
        """Make what is missing: a teacher that did not learn from the validation split."""
        valid = on_valid(run.config)
        config = valid.model_copy(update={"training": on_one_device(valid)})
        base = taught_on_train(replace(run, asked=config))
        run.progress.headline(f"Searching for {profile.name}")
        trials = Run(config, base, run.progress)
        return cls(run, profile, trials, trials.learning_data("valid"))

    @property
    def progress(self) -> Progress:
        """Where the search says what it does."""
        return self.run.progress

    @property
    def shared(self) -> Path:
        """What the searches for all devices use: students, measurements of this machine, figures of the teacher."""
        return self.run.folder / "search"

    @property
    def folder(self) -> Path:
        """What belongs to this device alone."""
        return self.shared / self.profile.name

    @property
    def teacher_stamp(self) -> bytes:
        """Differs for each teacher that the trials may have."""
        return (self.trials.folder / "stages" / "train.json").read_bytes()

    def key(self, text: str) -> str:
        """A short name for what was made of `text` with this teacher."""
        return hashlib.sha256(text.encode() + self.teacher_stamp).hexdigest()[:12]

    @cached_property
    def untrained(self) -> Untrained:
        """Students with random weights, for sizes and calibration."""
        return Untrained(self.data.shape, self.data.features, self.data.tasks)

    @cached_property
    def n_items(self) -> int:
        """Items in the finished bundle."""
        part = self.run.part
        n_items = catalogue_length(self.run.config.data, self.data.dataset, part)
        return n_items - len(self._never_shown(part, n_items))

    @cached_property
    def gone(self) -> Int:
        """Items that the bundle of a trial leaves out."""
        return self._never_shown("valid", self.data.n_items)

    def _never_shown(self, part: EvaluationPart, n_items: int) -> Int:
        return never_shown(self.run.config.pruning.never_shown, self.data.dataset, part, n_items)
