"""Which stages are stale, mostly with fake stages that only write a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from edgerec.config import Config
from edgerec.config.base import Settings
from edgerec.errors import DataError, QualityError
from edgerec.progress import Silent
from edgerec.stages import pipeline
from edgerec.stages.run import Run


@dataclass(frozen=True)
class Report:
    text: str

    def lines(self) -> list[str]:
        return [self.text]


@pytest.fixture
def ran(monkeypatch) -> list[str]:
    """The names of the stages that were run, in order; what a stage writes is its settings' seed."""
    names: list[str] = []

    def load(stage):
        def function(run):
            names.append(stage.name)
            (run.folder / stage.folder).mkdir(parents=True, exist_ok=True)
            (run.folder / stage.folder / "out.txt").write_text(f"{stage.name} {run.config.seed}")
            return Report(stage.name)

        return function

    monkeypatch.setattr(pipeline.Stage, "load", load)
    return names


def settings(folder: Path, **changes) -> Config:
    if not (folder / "log.csv").exists():
        (folder / "log.csv").write_text("u,i,t\n")
    values = {
        "name": "shop",
        "data": {"interactions": "log.csv", "user": "u", "item": "i", "time": "t"},
        "task": [{"name": "next", "kind": "retrieval"}],
    }
    return Config.of(values | changes, folder=folder)


ALL = ["prepare", "train", "distill", "prune", "quantize", "evaluate"]


def test_the_second_run_does_nothing(tmp_path, ran):
    assert list(pipeline.run(settings(tmp_path), tmp_path / "run", Silent())) == ALL
    assert pipeline.run(settings(tmp_path), tmp_path / "run", Silent()) == {}
    assert ran == ALL


def test_until_ends_after_that_stage(tmp_path, ran):
    pipeline.run(settings(tmp_path), tmp_path / "run", Silent(), until="distill")

    assert ran == ["prepare", "train", "distill"]


def test_a_changed_log_makes_everything_stale_that_comes_out_different(tmp_path, ran):
    pipeline.run(settings(tmp_path), tmp_path / "run", Silent())
    (tmp_path / "log.csv").write_text("u,i,t\n1,2,3\n")
    ran.clear()
    pipeline.run(settings(tmp_path), tmp_path / "run", Silent())

    assert ran == ["prepare"]  # it wrote the same bytes as before, so what reads them is fresh


def test_another_seed_repeats_what_is_random_and_what_follows(tmp_path, ran):
    pipeline.run(settings(tmp_path), tmp_path / "run", Silent())
    ran.clear()
    pipeline.run(settings(tmp_path, seed=1), tmp_path / "run", Silent())

    assert ran == ["train", "distill", "prune", "quantize", "evaluate"]


def test_only_what_reads_a_setting_is_repeated(tmp_path, ran):
    pipeline.run(settings(tmp_path), tmp_path / "run", Silent())
    ran.clear()
    pipeline.run(settings(tmp_path, evaluation={"k": [5]}), tmp_path / "run", Silent())

    assert ran == ["evaluate"]


def test_an_interrupted_stage_is_stale_although_it_had_finished_before(tmp_path, ran, monkeypatch):
    pipeline.run(settings(tmp_path), tmp_path / "run", Silent())

    def interrupted(stage):
        def function(run):
            raise KeyboardInterrupt

        return function

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pipeline.Stage, "load", interrupted)
        pipeline.run_stage(pipeline.stage_named("train"), settings(tmp_path), tmp_path / "run", Silent())
    ran.clear()
    pipeline.run(settings(tmp_path), tmp_path / "run", Silent())

    assert ran == ["train"]


def test_a_deleted_output_or_a_broken_stamp_is_stale(tmp_path, ran):
    pipeline.run(settings(tmp_path), tmp_path / "run", Silent())
    (tmp_path / "run" / "student" / "out.txt").unlink()
    (tmp_path / "run" / "student").rmdir()
    (tmp_path / "run" / "stages" / "prune.json").write_text('{"key": ')
    ran.clear()
    pipeline.run(settings(tmp_path), tmp_path / "run", Silent())

    assert ran == ["distill", "prune"]


def test_a_stage_whose_input_is_missing_names_the_command_to_run(tmp_path, ran):
    with pytest.raises(DataError, match="dataset: not there or not finished; run: edgerec prepare"):
        pipeline.run_stage(pipeline.stage_named("train"), settings(tmp_path), tmp_path / "run", Silent())
    assert ran == []


def test_every_section_is_declared_by_a_stage():
    declared = {path.partition(".")[0] for stage in pipeline.STAGES for path in stage.settings}

    # `[tuning]` is for the command of that name, which is not a stage; `effort` chooses values of other sections.
    assert declared | {"tuning", "effort"} == set(Config.model_fields)


def test_a_failed_gate_stops_the_run_each_time_and_leaves_the_stage_whole(tmp_path, ran, monkeypatch):
    """Or a second `edgerec run` would go on with a student that was refused."""
    monkeypatch.setattr(
        Report, "failures", property(lambda report: ("click: too low",) * (report.text == "distill")), False
    )
    for _ in range(2):
        with pytest.raises(QualityError, match=r"distill: click: too low; see \[distillation\]"):
            pipeline.run(settings(tmp_path), tmp_path / "run", Silent())

    assert ran == ["prepare", "train", "distill"]
    pipeline.run_stage(pipeline.stage_named("prune"), settings(tmp_path), tmp_path / "run", Silent())
    assert ran[-1] == "prune"


@pytest.mark.slow
def test_a_stage_reads_no_setting_that_does_not_make_it_or_a_stage_before_it_stale(tiny_config, tmp_path, monkeypatch):
    sections = {type(section): name for name, section in tiny_config.sections.items()}
    plain = type(tiny_config).model_fields.keys() - tiny_config.sections.keys()
    read = set()

    def recording(self, name):
        if type(self) in sections and name in type(self).model_fields:
            read.add(f"{sections[type(self)]}.{name}")
        elif type(self) is Config and name in plain:
            read.add(name)
        return object.__getattribute__(self, name)

    def declared(stage):
        before = [path for name in stage.after for path in declared(pipeline.stage_named(name))]
        return {*stage.settings, *before}

    monkeypatch.setattr(Settings, "__getattribute__", recording, raising=False)
    # What an effort chooses are values of declared keys; to choose them it looks at all.
    config = tiny_config.model_copy(update={"effort": "full"})
    for stage in pipeline.STAGES:
        function = stage.load()
        read.clear()
        function(Run(config, tmp_path, Silent()))
        assert {path for path in read - {"effort"} if not {path, path.partition(".")[0]} & declared(stage)} == set(), (
            stage.name
        )
