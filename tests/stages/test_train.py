"""Folds of users, and where a stage keeps its work."""

from __future__ import annotations

from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest

from edgerec.config.stages import TrainingConfig
from edgerec.examples.batches import BatchSettings, JointBatches
from edgerec.examples.folds import by_fold, fold_of
from edgerec.progress import Silent
from edgerec.stages import train
from edgerec.stages.cost import FEW_ITEMS
from edgerec.stages.run import Run
from tests import tiny

FOLDS = 3


def test_every_user_has_one_fold_and_the_folds_are_of_like_size():
    fold = fold_of(np.arange(30_000), FOLDS)

    assert set(fold.tolist()) == {0, 1, 2}
    assert np.bincount(fold) / 30_000 == pytest.approx([1 / 3] * 3, abs=0.02)
    assert fold_of(np.array([17]), FOLDS)[0] == fold[17]  # whatever other users there are


@pytest.mark.parametrize(("n_items", "most"), [(FEW_ITEMS, None), (FEW_ITEMS + 1, 2)])
def test_networks_of_a_large_catalogue_run_no_more_at_a_time_than_there_are_cores(monkeypatch, n_items, most):
    asked = []
    monkeypatch.setattr(train, "side_by_side", lambda work, progress, title, workers=None, **_: asked.append(workers))
    monkeypatch.setattr(train, "cores", lambda: 2)
    run = SimpleNamespace(config=SimpleNamespace(training=TrainingConfig(accelerator="cpu")), progress=Silent())
    members = Mock(data=SimpleNamespace(n_items=n_items))
    train._at_once(run, [Mock()] * 3, members, train.WORTH_A_PROCESS, "networks")

    assert asked == [most]
    assert members.called == (most is not None)  # then, in this process; else it is one of the works


@pytest.mark.parametrize("kind", ["sessions", "impressions"])
def test_no_example_is_labelled_by_a_teacher_that_saw_its_user(tiny_data, kind):
    requests = getattr(tiny_data.train, kind).requests
    settings = BatchSettings(16, 64, 1_000, 0.0, 0)
    labelled = []
    for fold, members in by_fold(requests.user, FOLDS):
        users = fold_of(np.arange(tiny.USERS), FOLDS) != fold  # as the teacher of this fold is trained
        batches = JointBatches(tiny_data.train, settings, 0, users=users)
        seen = set(requests.user[batches._chosen(requests, 0, len(requests))].tolist())

        assert not seen & set(requests.user[members].tolist())
        assert seen
        labelled += members.tolist()
    assert sorted(labelled) == list(range(len(requests)))


def test_work_begun_with_other_settings_or_data_is_not_gone_on_with(tiny_config, tmp_path):
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "dataset.json").write_text("{}")
    first = Run(tiny_config, tmp_path, Silent()).work_folder("teacher", ("teacher",))
    (first / "half-done").touch()

    assert Run(tiny_config, tmp_path, Silent()).work_folder("teacher", ("teacher",)) == first
    other_student = tiny_config.model_copy(update={"student": tiny_config.student.model_copy(update={"dim": 4})})
    assert Run(other_student, tmp_path, Silent()).work_folder("teacher", ("teacher",)) == first
    assert (first / "half-done").exists()

    other_seed = Run(tiny_config.model_copy(update={"seed": 5}), tmp_path, Silent()).work_folder(
        "teacher", ("teacher",)
    )
    assert other_seed != first
    assert not first.exists()
    (tmp_path / "dataset" / "dataset.json").write_text('{"rows": 1}')
    assert Run(tiny_config, tmp_path, Silent()).work_folder("teacher", ("teacher",)) not in (first, other_seed)


def test_another_teacher_makes_the_students_work_begin_anew(tiny_config, tmp_path):
    for name in ("dataset/dataset.json", "teacher/fold-0.safetensors"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("one")
    first = Run(tiny_config, tmp_path, Silent()).work_folder("student", ("student",))
    (tmp_path / "teacher" / "fold-0.safetensors").write_text("two")

    assert Run(tiny_config, tmp_path, Silent()).work_folder("student", ("student",)) != first
