"""Ablations: what a change is, that nothing is trained twice, and what is told of them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from edgerec.cli.main import app
from edgerec.config import Config
from edgerec.experiments import ablation
from edgerec.experiments.ablation import BASE, ablate, changes_of
from edgerec.metrics import mean
from edgerec.progress import Silent
from edgerec.stages.run import Run
from tests import tiny


class Says(Silent):
    """Keeps the headlines."""

    def __init__(self):
        self.headlines = []

    def headline(self, title):
        self.headlines.append(title)


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_chain):
    folder = tmp_path_factory.mktemp("ablated")
    shutil.copytree(tiny_chain / "run", folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def config(tiny_chain):
    return Config.load(tiny_chain / "edgerec.toml")


def test_only_what_changes_something_is_a_change(tmp_path):
    tiny.write(tmp_path)
    config = tiny.config(tmp_path, student={"factor": 0, "transitions": 0}, teacher={"sequence": 7})
    student, teacher = changes_of(config, "student"), changes_of(config, "teacher")

    assert student[BASE] == teacher[BASE] == config
    assert "no folded factors" not in student and "no transitions" not in student
    assert student["the teacher alone"].distillation.hard == 0.0
    assert {"with graph", "without sequence", "without ensemble"} < set(teacher)
    assert not {"without graph", "with sequence", "without text"} & set(teacher)
    assert teacher["with graph"].teacher.graph_layers == 2
    assert len({str(of) for of in student.values()}) == len(student)


def test_a_student_of_the_log_alone_is_judged_beside_the_whole_one(config, run, undrawn):
    says = Says()
    report = ablate(Run(config, run, says), only=["the log alone"])

    assert [s for s in says.headlines if "seed" in s] == [f"{BASE}, seed 0", "the log alone, seed 0"]
    assert report.metrics["next"] == "ndcg@10" and report.metrics["click"] == "auc"
    assert set(report.differences()) == {"the log alone"}
    assert report.differences()["the log alone"]["click"].se > 0
    assert report.base["click"].value > 0.6
    assert not list((run / "work" / "ablations").glob("*/result.json"))


def test_nothing_is_trained_twice_and_the_figures_of_the_other_part_stay(config, run, undrawn):
    first = ablate(Run(config, run, Silent()), only=["the log alone"])
    says = Says()
    again = ablate(Run(config, run, says), only=["the log alone"])
    assert again.to_json() == first.to_json()
    assert not [s for s in says.headlines if "seed" in s]

    of_teacher = ablate(Run(config, run, Silent()), "teacher", ["without ensemble"])
    assert set(of_teacher.changed) == {"without ensemble"}
    assert of_teacher.base["click"].value != first.base["click"].value
    kept = json.loads((run / "report" / "ablations.json").read_text())
    assert kept["student"].pop("settings")["name"] == kept["teacher"]["settings"]["name"] == "tiny"
    assert kept["student"] == json.loads(json.dumps(first.to_json()))
    assert kept["teacher"]["changes"].keys() == {"without ensemble"}


def test_the_report_s_page_shows_them(config, run):
    ablate(Run(config, run, Silent()), only=["the log alone"])

    page = (run / "report" / "report.html").read_text()
    assert "Ablations of the student" in page and "the log alone" in page
    assert "other settings" not in page
    assert (run / "report" / "plots" / "ablations-student-next.png").stat().st_size > 5_000


def test_several_seeds_are_a_mean(config, run, monkeypatch, undrawn):
    judged = []

    def fake(self, name, config):
        judged.append((name, config.seed))
        value = {"seed": config.seed} if name == BASE else {"seed": config.seed + 1}
        return {"next": {"ndcg@10": tiny_estimate(value["seed"])}}

    monkeypatch.setattr(ablation.Students, "result", fake)
    report = ablate(Run(config, run, Silent()), only=["the log alone"], seeds=[0, 1])

    assert sorted(judged) == sorted((n, s) for n in (BASE, "the log alone") for s in (0, 1))
    assert report.base["next"].value == 0.5
    assert report.differences()["the log alone"]["next"].value == 1.0


def tiny_estimate(value):
    return mean(np.array([value - 0.5, value + 0.5]))


def test_the_command_prints_a_row_a_change(tmp_path, monkeypatch):
    tiny.write(tmp_path)
    (tmp_path / "edgerec.toml").write_text(tiny.toml(tiny.settings()))
    given = ["ablate", "-c", str(tmp_path / "edgerec.toml"), "--run-dir", str(tmp_path / "run")]
    report = ablation.Ablations("student", (0,), {"next": "ndcg@10"}, {"next": tiny_estimate(1)}, {"x": {}})
    report.changed["x"] = {"next": tiny_estimate(3)}
    monkeypatch.setattr(ablation, "ablate", lambda *_: report)

    shown = CliRunner().invoke(app, given)

    assert shown.exit_code == 0, shown.output
    assert "x" in shown.stdout and "+2.0000 ±0.0000" in shown.stdout
    assert json.loads(CliRunner().invoke(app, [*given, "--json"]).stdout)["changes"]["x"]["next"]["value"] == 2.0


def test_a_teacher_without_text_reads_none(config, run, tiny_data, monkeypatch):
    with_text = replace(tiny_data, features=replace(tiny_data.features, text=torch.ones(tiny.ITEMS, 3)))
    widths = []
    monkeypatch.setattr(Run, "learning_data", lambda *_: with_text)
    monkeypatch.setattr(ablation, "judged_network", lambda run, data, *_: widths.append(data.shape.text) or {})
    teachers = ablation.Teachers(Run(config, run, Silent()))

    for name in ("without text", "without ensemble"):
        teachers.judged(name, config, run / "work" / "none")

    assert widths == [0, 3]
