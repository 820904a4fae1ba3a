"""The teacher's labels of a run, made once and stored in ``soft/``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from edgerec.distillation.label import label, read
from edgerec.distillation.requests import at_few_times, with_pseudo_labelled
from edgerec.distillation.student import needs_teacher
from edgerec.ensemble.ensemble import Ensemble
from edgerec.ensemble.members import Members, labelling_views
from edgerec.ensemble.weights import network_alone
from edgerec.examples.batches import Examples
from edgerec.examples.held_out import HeldOut
from edgerec.examples.load import LearningData
from edgerec.examples.requests import ImpressionExamples, SessionExamples
from edgerec.examples.soft_store import SoftStore, key_of
from edgerec.stages.run import Run
from edgerec.tasks.history import Int


def labelled_examples(run: Run, data: LearningData, folder: Path | None = None) -> tuple[Examples, int]:
    """The training examples with a teacher's labels and with added requests, and how many requests were added.

    The added requests have no outcome: pseudo-labelled and future ones. Labels are stored in `folder`, or else in
    ``soft/`` of the run, and made again only for another teacher, dataset or other requests. What is held out, to
    calibrate the student and to judge it against simple baselines, is left out.
    """
    d, seed = run.config.distillation, run.config.seed
    held = HeldOut.of(data, seed)
    data = held.without(data)
    among = _impressions_to_learn_from(run, data.train.impressions, held)
    if not needs_teacher(d):
        plain = replace(data.train, graph=None, impressions=_taken(data.train.impressions, among))
        return at_few_times(plain, data), 0
    views = labelling_views(run.ensemble_settings, data)
    examples, added = with_pseudo_labelled(data, views, d.pseudo_labelled, d.future, seed)
    folder = folder or run.labels
    store = SoftStore.open(folder, labels_key(run, examples.sessions, len(among)))
    bytes_before = store.bytes

    def early_teacher() -> Ensemble:
        networks = run.networks(data, early=True)
        return Ensemble(run.config.ensemble.candidates, data, networks, Members(), network_alone(data))

    load_early = early_teacher if d.early_teacher_epochs else None
    label(examples, among, data, store, lambda: run.ensemble(data), load_early, seed, run.progress)
    if store.bytes > bytes_before:
        run.progress.say(f"labels: {store.bytes / 1e6:,.1f} MB in {folder.name}/, made in {store.seconds:,.0f} s")
    assert data.scratch is not None
    soft = read(store, data, data.scratch.folder_of("soft"))
    examples = replace(examples, impressions=_taken(examples.impressions, among))
    return replace(at_few_times(examples, data), soft=soft), added


def _impressions_to_learn_from(run: Run, impressions: ImpressionExamples | None, held: HeldOut) -> Int:
    """Places of the impressions that are labelled: as many, at random, as all epochs of the student see, or all.

    None of them is held out.
    """
    if impressions is None:
        return np.zeros(0, np.int64)
    n, config = len(impressions.item), run.config
    most = config.teacher.impressions_per_epoch * config.distillation.epochs
    places = np.arange(n) if n <= most else np.sort(np.random.default_rng(config.seed).choice(n, most, replace=False))
    return places[~held.holds(impressions.requests, places)]


def _taken(impressions: ImpressionExamples | None, places: Int) -> ImpressionExamples | None:
    """The impressions `places`, ascending; all of them as they are, since a long log is not in memory."""
    if impressions is None or len(places) == len(impressions.item):
        return impressions
    return impressions.take(places)


def labels_key(run: Run, sessions: SessionExamples | None, n_impressions: int) -> str:
    """Hash of what labels depend on: the teacher, the dataset, and the requests that are labelled."""
    settings = run.config.model_dump(mode="json", include={"seed", "task", "evaluation", "ensemble"})
    dataset = (run.dataset / "dataset.json").read_bytes()
    columns = [] if sessions is None else [sessions.requests.user, sessions.requests.time_ms]
    requests = [np.ascontiguousarray(column).tobytes() for column in columns]
    teacher = [path.read_bytes() for path in run.teacher_files()]
    return key_of(settings, run.config.student.max_history, n_impressions, dataset, *requests, *teacher)
