"""Boosted trees learn, are cross-fitted, and go on where they were stopped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgerec.ensemble.boosting import Boosting
from edgerec.ensemble.members import load_boosting
from edgerec.errors import DataError
from edgerec.examples.folds import fold_of
from edgerec.metrics import auc, xauc
from edgerec.progress import Silent
from edgerec.stages.run import ensemble_settings
from edgerec.tasks import scored_tasks

EVERYONE = np.arange(900)  # all rows of the tiny log that are learned from
TREES = {"click": 30, "liked": 20, "watch": 25}


@pytest.fixture(scope="module")
def folder(tiny_config, tiny_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("boosting")
    Boosting.fit(ensemble_settings(tiny_config), tiny_data, folder, range(tiny_config.teacher.folds), Silent(), TREES)
    return folder


@pytest.fixture(scope="module")
def boosting(tiny_config, tiny_data, folder):
    return Boosting.load(ensemble_settings(tiny_config), tiny_data, folder)


def task_index(data, name):
    return [t.name for t in scored_tasks(data.tasks)].index(name)


def evaluation_scores(boosting):
    """Scores of the evaluation impressions."""
    impressions = boosting.data.evaluation.impressions
    return boosting.rows(impressions.requests, impressions.item, np.arange(len(impressions.item)))


def test_it_learns_the_checkerboard(tiny_data, boosting):
    labels, scores = tiny_data.evaluation.impressions.labels, evaluation_scores(boosting)

    for name in ("click", "liked"):
        assert auc(labels[name], scores[:, task_index(tiny_data, name)]) > 0.85
    assert xauc(labels["watch"], scores[:, task_index(tiny_data, "watch")]) > 0.6


def test_probabilities_are_of_the_task_itself_and_other_tasks_are_0(tiny_data, boosting):
    scores = evaluation_scores(boosting)
    mean = np.exp(scores[:, task_index(tiny_data, "liked")]).mean()

    assert mean == pytest.approx(tiny_data.evaluation.impressions.labels["liked"].mean(), abs=0.1)
    assert scores[:, :2].tolist() == [[0.0, 0.0]] * len(scores)
    assert scores.dtype == np.float32 and scores.shape == (len(tiny_data.evaluation.impressions.item), 5)


def test_a_training_row_is_scored_by_the_models_that_did_not_see_its_user(tiny_data, boosting):
    matrix, click = boosting.encoder.train_rows(EVERYONE), task_index(tiny_data, "click")
    user = tiny_data.train.impressions.requests.user

    scores = boosting.train_rows(EVERYONE)

    for fold, models in enumerate(boosting.models):
        members = fold_of(user, 2) == fold
        raw = models["click"].raw(matrix[members])
        assert np.exp(scores[members, click]) == pytest.approx(1 / (1 + np.exp(-raw)), abs=1e-6)


def test_a_folds_models_do_not_change_with_the_labels_of_its_users(tiny_config, tiny_data, boosting, tmp_path):
    rows, matrix = tiny_data.train.impressions, boosting.encoder.train_rows(EVERYONE)
    mine = fold_of(rows.requests.user, 2) == 0
    labels = {name: values.copy() for name, values in rows.labels.items()}
    try:
        for values in rows.labels.values():
            values[mine] = 1 - values[mine]
        other = Boosting.fit(
            ensemble_settings(tiny_config), tiny_data, tmp_path, range(tiny_config.teacher.folds), Silent(), TREES
        )
    finally:
        for name, values in labels.items():
            rows.labels[name][:] = values

    for name in TREES:
        assert np.array_equal(other.models[0][name].raw(matrix), boosting.models[0][name].raw(matrix))
        assert not np.array_equal(other.models[1][name].raw(matrix), boosting.models[1][name].raw(matrix))


def test_it_goes_on_where_it_was_stopped_and_ends_the_same(tiny_config, tiny_data, boosting, folder):
    there, lost = folder / "boosting-0-2.txt", folder / "boosting-1-3.txt"
    written, text = there.stat().st_mtime_ns, lost.read_bytes()
    lost.unlink()

    again = Boosting.fit(
        ensemble_settings(tiny_config), tiny_data, folder, range(tiny_config.teacher.folds), Silent(), TREES
    )

    assert there.stat().st_mtime_ns == written
    assert lost.read_bytes() == text
    assert np.array_equal(evaluation_scores(again), evaluation_scores(boosting))


def test_one_fold_scores_other_requests_by_itself_and_no_training_rows(tiny_config, tiny_data, boosting, tmp_path):
    alone = Boosting.fit(ensemble_settings(tiny_config), tiny_data, tmp_path, [0], Silent(), TREES)
    assert load_boosting(ensemble_settings(tiny_config), tiny_data, tmp_path) is None  # no teacher's

    assert [path.name for path in sorted(tmp_path.glob("boosting-*.txt"))] == [
        f"boosting-0-{i}.txt" for i, t in enumerate(tiny_data.tasks) if t.name in TREES
    ]
    first = replace(boosting, models=boosting.models[:1])
    assert np.array_equal(evaluation_scores(alone), evaluation_scores(first))
    with pytest.raises(AssertionError):
        alone.train_rows(EVERYONE)


def test_trees_are_chosen_where_none_are_given(tiny_config, tiny_data, tmp_path):
    boosting = Boosting.fit(
        ensemble_settings(tiny_config), tiny_data, tmp_path, range(tiny_config.teacher.folds), Silent(), None
    )

    assert set(boosting.trees) == {"click", "liked", "watch"}
    for name, number in boosting.trees.items():
        assert boosting.models[0][name].booster.num_trees() == number
        assert 1 <= boosting.models[1][name].booster.num_trees() <= number  # fewer where nothing is left to split


def test_chosen_rows_are_scored_as_among_all(tiny_data, boosting):
    impressions, chosen = tiny_data.evaluation.impressions, np.array([7, 3])

    some = boosting.rows(impressions.requests, impressions.item, chosen)

    assert some == pytest.approx(evaluation_scores(boosting)[chosen])


def test_a_damaged_file_is_named(tiny_config, tiny_data, tmp_path):
    Boosting.fit(
        ensemble_settings(tiny_config),
        tiny_data,
        tmp_path,
        range(tiny_config.teacher.folds),
        Silent(),
        dict.fromkeys(TREES, 1),
    )
    (tmp_path / "boosting-1-2.txt").write_text("no trees")

    with pytest.raises(DataError, match=r"boosting-1-2\.txt"):
        Boosting.load(ensemble_settings(tiny_config), tiny_data, tmp_path)
