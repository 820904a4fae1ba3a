"""The student stage as a whole; its losses and labels are tested beside their own files."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np

from edgerec.config import Config
from edgerec.files import read_json
from edgerec.progress import Silent
from edgerec.stages.distill import StudentReport, distill
from edgerec.stages.labels import labelled_examples, labels_key
from edgerec.stages.run import Run


def test_without_a_soft_share_the_log_alone_teaches_and_no_teacher_is_needed(tiny_config, tiny_run, tmp_path):
    shutil.copytree(tiny_run / "dataset", tmp_path / "dataset")
    hard = tiny_config.distillation.model_copy(update={"probabilities": 0.0, "listwise": 0.0, "top_list": 0.0})
    report = distill(Run(tiny_config.model_copy(update={"distillation": hard}), tmp_path, Silent()))

    assert report.pseudo_labelled == 0
    assert report.lines()[0].endswith("by the log's labels alone")
    assert read_json(tmp_path / "student" / "model.json")["expectations"].keys() == {"watch"}


def test_labels_are_of_the_very_requests_that_were_asked(tiny_config, tiny_run, tiny_data):
    sessions = tiny_data.train.sessions
    later = replace(sessions, requests=replace(sessions.requests, time_ms=sessions.requests.time_ms + 1))
    run = Run(tiny_config, tiny_run, Silent())

    assert labels_key(run, sessions, 0) == labels_key(run, sessions, 0)
    assert labels_key(run, sessions, 0) != labels_key(run, later, 0)


def test_only_as_many_impressions_are_labelled_as_all_epochs_see(tiny_chain, tmp_path):
    shutil.copytree(tiny_chain / "run", tmp_path / "run")
    config = Config.load(tiny_chain / "edgerec.toml")
    few = config.model_copy(
        update={"teacher": config.teacher.model_copy(update={"impressions_per_epoch": 30}), "effort": "full"}
    )
    run = Run(few, tmp_path / "run", Silent())
    data = run.learning_data()
    whole, _ = labelled_examples(Run(config, tmp_path / "run", Silent()), data, tmp_path / "whole")
    some, _ = labelled_examples(run, data, tmp_path / "some")
    at = np.isin(whole.impressions.row, some.impressions.row)

    assert len(some.impressions.item) == 30 * few.distillation.epochs < len(whole.impressions.item)
    assert np.array_equal(whole.impressions.item[at], some.impressions.item)
    assert np.allclose(whole.soft.impressions[at], some.soft.impressions, atol=2e-3)


def test_a_comparison_with_nothing_behind_it_says_so():
    figures = {
        "all": {},
        "users with 1-4 events": {"next": {"retained": {"value": None}, "overlap@10": {"value": 1.0}}},
    }
    report = StudentReport(True, 10, 0, 0, 0, {}, figures, ())

    assert report.lines()[1:] == [
        "student ~ teacher, all: nothing to compare: the evaluation split has no request with a past and no impression",
        "student ~ teacher, users with 1-4 events: next cannot be compared",
    ]
