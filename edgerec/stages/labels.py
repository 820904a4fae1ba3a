"""The teacher's labels of a run, made once and kept in ``soft/``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from edgerec.distillation.label import NOBODY, label, read
from edgerec.distillation.requests import as_served, with_pseudo_labelled
from edgerec.distillation.student import needs_teacher
from edgerec.ensemble.ensemble import Ensemble, labelling_views, network_alone
from edgerec.examples.batches import Examples
from edgerec.examples.load import LearningData
from edgerec.examples.requests import SessionExamples
from edgerec.examples.soft_store import SoftStore, key_of
from edgerec.stages.run import Run


def labelled_examples(run: Run, data: LearningData, folder: Path | None = None) -> tuple[Examples, int]:
    """The fit examples with a teacher's labels and with pseudo-labelled requests, and how many of the latter there are.

    Labels are kept in `folder`, or else in ``soft/`` of the run, and made again only for another teacher, dataset or
    other requests.
    """
    config, progress = run.config, run.progress
    d = config.distillation
    if not needs_teacher(d):
        return as_served(replace(data.train, graph=None), data), 0
    views = labelling_views(run.ensemble_settings, data)
    examples, extra = with_pseudo_labelled(data, views, d.pseudo_labelled, d.future, config.seed)
    folder = folder or run.folder / "soft"
    store = SoftStore.open(folder, _key(run, examples.sessions))
    made = store.bytes
    candidates = config.ensemble.candidates

    def early() -> Ensemble:
        return Ensemble(candidates, data, run.networks(data, early=True), NOBODY, network_alone(data))

    label(
        examples,
        data,
        store,
        lambda: run.ensemble(data),
        early if d.early_teacher_epochs else None,
        config.seed,
        progress,
    )
    if store.bytes > made:
        progress.say(f"labels: {store.bytes / 1e6:,.1f} MB in {folder.name}/, made in {store.seconds:,.0f} s")
    assert data.scratch is not None
    soft = read(store, data, data.scratch.folder_of("soft"))
    return replace(as_served(examples, data), soft=soft), extra


def _key(run: Run, sessions: SessionExamples | None) -> str:
    """What labels depend on: the teacher, the log, and which requests are asked."""
    settings = run.config.model_dump(mode="json", include={"seed", "task", "evaluation", "ensemble"})
    dataset = (run.dataset / "dataset.json").read_bytes()
    asked = [] if sessions is None else [sessions.requests.user, sessions.requests.time_ms]
    requests = [np.ascontiguousarray(column).tobytes() for column in asked]
    teacher = [path.read_bytes() for path in run.teacher_files()]
    return key_of(settings, run.config.student.max_history, dataset, *requests, *teacher)
