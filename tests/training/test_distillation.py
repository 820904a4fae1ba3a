"""The student stage as a whole; its losses and labels are tested beside their own files."""

from __future__ import annotations

import shutil

from edgerec.progress import Silent
from edgerec.training.checkpoint import read_json
from edgerec.training.distillation import distill


def test_without_a_soft_share_the_log_alone_teaches_and_no_teacher_is_needed(tiny_config, tiny_run, tmp_path):
    shutil.copytree(tiny_run / "dataset", tmp_path / "dataset")
    hard = tiny_config.distillation.model_copy(update={"probabilities": 0.0, "listwise": 0.0, "top_list": 0.0})
    report = distill(tiny_config.model_copy(update={"distillation": hard}), tmp_path, Silent())

    assert report.unlabelled == 0
    assert report.lines()[0].endswith("by the log's labels alone")
    assert read_json(tmp_path / "student" / "model.json")["expectations"].keys() == {"watch"}
