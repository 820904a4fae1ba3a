"""What the networks read of the items' texts: principal components of frozen or tuned vectors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgerec.config import TeacherConfig
from edgerec.data.dataset import Dataset
from edgerec.examples.load import is_consumed
from edgerec.examples.log import Log
from edgerec.examples.text_pairs import co_consumed
from edgerec.examples.text_vectors import Components, TextSource, principal_components, text_vectors
from edgerec.files import user_cache
from edgerec.models.text import default_model
from edgerec.progress import Progress
from edgerec.training.text_tuning import Tuning, tuned_folder, tuned_vectors


@dataclass(frozen=True)
class TextComponents:
    """Computes what the networks read of the item texts of a dataset.

    Attributes:
        has_sessions: does the log have sessions? tuning: None for a frozen text model. cache: folder of vectors that
            were computed before.
    """

    dataset: Dataset
    teacher: TeacherConfig
    has_sessions: bool
    tuning: Tuning | None
    cache: Path
    progress: Progress

    def __call__(self, train_log: Log, n_items: int) -> tuple[Components, TextSource | None]:
        """Components of the first `n_items` texts, (n_items, c), and what a joint training starts from.

        c is 0 without texts. All items' texts are read, whatever the split, so that a frozen model reads them once.
        """
        teacher, model = self.teacher, self.teacher.text_model or default_model()
        if not self.dataset.meta.text:
            return _nothing(n_items)
        if model is None:
            self.progress.say(
                'item texts are left out: no [teacher] text_model is set and the extra "edgerec[text]" is missing'
            )
            return _nothing(n_items)
        texts = self.dataset.items()["text"].fill_null("").to_list()
        if self.tuning is None:
            cache = user_cache("texts", self.cache)  # another run of the same catalogue finds them, too
            vectors = text_vectors(texts, model, cache, self.progress)[:n_items]
            return principal_components(vectors, teacher.text_components).apply(vectors), None
        consumed = is_consumed(train_log, self.dataset.meta.tasks)
        pairs = co_consumed(train_log, consumed, texts, self.has_sessions)
        vectors = tuned_vectors(texts, model, pairs, self.tuning, self.cache, self.progress)[:n_items]
        projection = principal_components(vectors, teacher.text_components)
        source = None
        if teacher.text_joint:
            folder = tuned_folder(texts, model, pairs, self.tuning, self.cache)
            source = TextSource(texts[:n_items], model, folder, self.tuning.mode, projection, teacher.text_joint)
        return projection.apply(vectors), source


def _nothing(n_items: int) -> tuple[Components, None]:
    return np.zeros((n_items, 0), np.float32), None


def tuning_of(teacher: TeacherConfig, seed: int, accelerator: str) -> Tuning | None:
    """How the settings ask to tune the text model; None: it stays frozen."""
    if teacher.text_tuning == "frozen":
        return None
    return Tuning(teacher.text_tuning, teacher.text_epochs, seed, accelerator)
