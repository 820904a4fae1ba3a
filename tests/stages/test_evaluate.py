"""The whole way on the tiny log, by the commands: from the log to an evaluated bundle that the runtime opens."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from edgerec.cli.main import app
from edgerec.config import Config
from edgerec.ensemble.scoring import TorchModel
from edgerec.evaluation.report import Report
from edgerec.evaluation.runtime_model import RuntimeModel
from edgerec.examples.evaluation_requests import find_evaluation_requests
from edgerec.progress import Silent
from edgerec.runtime import Recommender
from edgerec.stages.run import Run
from edgerec.tasks.cold_start import ColdStartTable
from tests import tiny


def edgerec(command: str, folder: Path, *more: str):
    arguments = [command, "-c", str(folder / "edgerec.toml"), "--run-dir", str(folder / "run"), *more]
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


@pytest.fixture
def copied(tiny_chain, tmp_path, undrawn) -> Path:
    """The finished chain, which the test may damage."""
    return Path(shutil.copytree(tiny_chain, tmp_path / "chain"))


def settle(folder: Path, **sections) -> None:
    (folder / "edgerec.toml").write_text(tiny.toml(tiny.settings(**sections)))


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# ---------------------------------------------------------------------------- what is repeated


def test_a_second_run_repeats_nothing(tiny_chain):
    result = edgerec("run", tiny_chain, "--json")

    assert json.loads(result.stdout)["ran"] == []


def test_other_settings_of_pruning_repeat_pruning_and_what_follows(copied):
    before = files_of(copied / "run" / "student")
    settle(copied, pruning={"hidden": 0.5})

    assert json.loads(edgerec("run", copied, "--json").stdout)["ran"] == ["prune", "quantize", "evaluate"]
    assert files_of(copied / "run" / "student") == before
    sizes = json.loads((copied / "run" / "pruned" / "model.json").read_text())["sizes"]
    assert (sizes["head"], sizes["repeat"]) == (16 / 2, 8 / 2)


@pytest.mark.slow
def test_the_same_log_settings_and_seed_give_the_same_bundle_byte_for_byte(tiny_chain, tmp_path):
    for name in ("log.csv", "edgerec.toml"):
        shutil.copy(tiny_chain / name, tmp_path / name)
    assert edgerec("run", tmp_path).exit_code == 0
    first, second = (files_of(folder / "run" / "bundle") for folder in (tiny_chain, tmp_path))
    manifests = [json.loads(files.pop("manifest.json")) for files in (first, second)]

    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    assert [m.pop("created")[:2] for m in manifests] == ["20", "20"]
    assert manifests[0] == manifests[1]


# ---------------------------------------------------------------------------- the bundle


def test_the_bundle_verifies(tiny_chain):
    result = CliRunner().invoke(app, ["verify", str(tiny_chain / "run" / "bundle"), "--json"])

    asked = 2 * tiny.SMALL["quantization"]["conformance"]  # of recommend, and of similar
    assert json.loads(result.stdout) == {"ok": True, "files": 11, "conformance_requests": asked, "signed": False}


def test_an_app_gets_recommendations_reasons_and_related_items(tiny_chain):
    with Recommender.open(tiny_chain / "run" / "bundle") as rec:
        for item in ("i0", "i8", "i0"):
            rec.observe(item, kind="click", time=tiny.START_MS + 30 * tiny.DAY_MS)
        found = rec.recommend(
            5, weights={"next": 1.0}, explain=True, context={"tab": "home", "battery": 50.0}, user={"country": "DE"}
        )
        new = rec.recommend(40, weights={"new": 1.0})
        related = rec.similar("i0", k=3)

    assert len(found) == 5
    assert all(r.reasons for r in found)
    assert {"i0", "i8"}.isdisjoint(r.item for r in new)
    assert new.why_fewer == {"catalogue": 40, "history": 2}
    assert "i0" not in [r.item for r in related]
    assert all(0 <= p <= 1 for r in found for task, p in r.probability.items() if task != "watch")


def test_the_catalogue_holds_the_items_of_the_log_and_their_attributes(tiny_chain):
    with Recommender.open(tiny_chain / "run" / "bundle") as rec:
        found = {r.item: r.attributes for r in rec.recommend(40)}

    assert found.keys() == {f"i{n}" for n in range(tiny.ITEMS)}
    assert (found["i7"]["price"], found["i7"]["shelf"]) == (7 / 4, "y")


def test_nothing_in_the_bundle_names_this_machine(tiny_chain):
    for name, content in files_of(tiny_chain / "run" / "bundle").items():
        assert str(tiny_chain).encode() not in content, name
        assert b"/site-packages/" not in content, name


def test_no_table_in_fp32_is_in_the_manifest(tiny_chain):
    manifest = json.loads((tiny_chain / "run" / "bundle" / "manifest.json").read_text())
    shape = sorted([manifest["dim"], manifest["n_items"]])

    assert [t["type"] for t in manifest["tensors"] if sorted(t["shape"]) == shape] == ["int8"]


# ---------------------------------------------------------------------------- the runtime against torch


@pytest.fixture(scope="module")
def models(tiny_chain):
    """The pruned student in torch, and the bundle through the runtime."""
    config = Config.load(tiny_chain / "edgerec.toml")
    data = Run(config, tiny_chain / "run", Silent()).learning_data("test")
    eval_requests = find_evaluation_requests(data)
    with Recommender.open(tiny_chain / "run" / "bundle") as rec:
        scorer = Run(config, tiny_chain / "run", Silent()).scorer("pruned", data)
        yield (
            TorchModel(scorer, data, eval_requests),
            RuntimeModel(rec.arrays, data, eval_requests, Silent()),
            data,
            eval_requests,
        )


@pytest.mark.parametrize("task", [0, 1])
def test_the_runtime_ranks_like_the_pruned_student_in_torch(models, task):
    torch_model, runtime, data, _ = models
    first, second = (m.lists(data.tasks[task])[:, :10] for m in (torch_model, runtime))

    overlap = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(first.tolist(), second.tolist(), strict=True)])
    assert overlap >= 0.9


def test_new_items_are_new_to_their_user(models):
    for model in models[:2]:
        for top, past in zip(model.lists(models[2].tasks[1]), models[3].pasts, strict=True):
            assert not set(top[top >= 0].tolist()) & set(past.tolist())


def test_probabilities_of_impressions_are_those_of_the_pruned_student_in_torch(models):
    first, second = (m.rows() for m in models[:2])

    assert second[:, 2:4] == pytest.approx(first[:, 2:4], abs=0.02)  # click, liked
    assert len(first) == tiny.USERS * 5
    assert (second[:, 3] <= second[:, 2]).all()


def test_regression_targets_are_calibrated_expectations_in_their_unit(models):
    watch, played = models[1].rows()[:, 4], models[2].evaluation_log.labels["watch"]

    assert 0 < watch.min() <= watch.max() <= models[2].dataset.meta.clips["watch"]
    assert watch.mean() == pytest.approx(played.mean(), rel=0.25)


def test_related_items_are_those_of_the_pruned_student_in_torch(models):
    first, second = (m.related() for m in models[:2])

    overlap = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(first.tolist(), second.tolist(), strict=True)])
    assert overlap >= 0.9


# ---------------------------------------------------------------------------- the report

RANKING = {"ndcg@10", "hit@10", "mrr", "recall@10", "recall@20", "capped_recall@10"}


def test_the_report_has_metrics_of_every_stage_on_every_task(tiny_chain):
    metrics = json.loads((tiny_chain / "run" / "report" / "report.json").read_text())["metrics"]

    for stage in ("teacher", "student", "pruned", "int8"):
        found = metrics[stage]
        assert set(found) == {"next", "next_again", "new", "click", "liked", "watch", "related"}
        assert set(found["next"]) & set(found["new"]) >= RANKING
        assert {"auc", "gauc", "logloss", "ece"} <= set(found["click"]) & set(found["liked"])
        assert {"mae", "xauc"} <= set(found["watch"])
        for task in found.values():
            assert all(np.isfinite(m["value"]) and m["n"] > 0 for m in task.values())
        assert found["next"]["ndcg@10"]["n"] == tiny.USERS


def test_the_report_holds_the_baselines_and_paired_differences(tiny_chain):
    report = json.loads((tiny_chain / "run" / "report" / "report.json").read_text())

    baselines = {name: set(tasks) for name, tasks in report["metrics"].items()}
    for name in ("recent_popularity", "category_popularity", "directed_co_occurrence", "item_knn", "ease"):
        assert {"next", "new"} <= baselines[name]
    assert baselines["own_frequency"] == {"next"} and baselines["co_occurrence"] == {"related"}
    for name in ("item_rate", "own_rate", "item_context_rate", "rates", "boosting"):
        assert baselines[name] == {"click", "liked", "watch"}
    value = {name: report["metrics"][name]["next"]["ndcg@10"]["value"] for name in ("int8", "student")}
    difference = report["paired"]["int8 - student"]["next"]["ndcg@10"]["value"]
    assert difference == pytest.approx(value["int8"] - value["student"])
    assert report["fidelity"]["int8 ~ pruned"]["next"]["overlap@10"]["value"] >= 0.9


def test_the_report_says_what_is_retained_of_the_teacher_and_how_reliable_the_probabilities_are(tiny_chain):
    report = json.loads((tiny_chain / "run" / "report" / "report.json").read_text())

    assert report["fidelity"]["int8 ~ teacher"].keys() == {"next", "new", "related", "click", "liked", "watch"}
    assert any(name.startswith("int8 ~ teacher, users with") for name in report["fidelity"])
    for stage in ("teacher", "student", "pruned", "int8"):
        bins = report["reliability"][stage]["click"]
        assert sum(n for *_, n in bins) == report["metrics"][stage]["click"]["auc"]["n"]
        mean = sum(rate * n for _, rate, n in bins) / sum(n for *_, n in bins)
        assert 0.3 < mean < 0.9 and all(0 <= p <= 1 for p, *_ in bins)


def test_distillation_reports_what_is_retained_of_the_teacher(tiny_chain):
    kept = json.loads((tiny_chain / "run" / "student" / "fidelity.json").read_text())["parts"]

    assert kept["all"]["next"].keys() == {"retained", "overlap@10", "rank_correlation"}
    assert kept["all"]["click"].keys() == {"auc", "rank_correlation"}
    assert {path.name.partition("-")[0] for path in (tiny_chain / "run" / "soft").glob("*.parquet")} == {
        "sessions",
        "impressions",
        "related",
        "vectors",
    }


def test_labels_are_made_again_only_for_another_teacher_or_other_requests(copied):
    def labelled() -> int:
        return (copied / "run" / "soft" / "sessions-00000.parquet").stat().st_mtime_ns

    first = labelled()
    settle(copied, distillation={"listwise": 0.3})
    assert edgerec("distill", copied).exit_code == 0
    assert labelled() == first
    settle(copied, distillation={"pseudo_labelled": 0.5})
    assert edgerec("distill", copied).exit_code == 0
    assert labelled() != first


def test_early_teacher_labels_come_from_early_checkpoints_of_the_teacher(copied):
    settle(copied, distillation={"early_teacher_epochs": 1, "epochs": 2})
    assert edgerec("distill", copied).exit_code == 0
    soft = {path.name.partition("-0")[0]: pl.read_parquet(path) for path in (copied / "run" / "soft").glob("*.parquet")}

    assert soft.keys() == {"sessions", "impressions", "related", "vectors", "early-sessions", "early-impressions"}
    assert (copied / "run" / "teacher" / "early-0.safetensors").exists()
    assert soft["early-impressions"]["scores"].to_numpy().std() > 0
    assert not np.array_equal(soft["early-impressions"]["scores"].to_numpy(), soft["impressions"]["scores"].to_numpy())


def test_a_student_below_its_gate_ends_with_1_and_one_line(copied):
    settle(copied, distillation={"min_ndcg_retained": 5.0})
    result = edgerec("distill", copied)

    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("distill: ") and "the gate is 5" in result.stderr.splitlines()[-1]
    assert (copied / "run" / "student" / "model.safetensors").exists()
    assert edgerec("run", copied).exit_code == 1


def test_the_bundle_gives_cold_start_items_a_row(tiny_chain):
    words = ColdStartTable.from_bytes((tiny_chain / "run" / "bundle" / "newcomers.npz").read_bytes())
    vectors, priors = words.rows([None, None], [{"shelf": "x"}, {"shelf": "y"}], [{"price": 1.0}, {}])

    assert vectors.shape == (2, 8) and priors.shape == (2, 6)
    assert np.abs(vectors[0] - vectors[1]).max() > 0


def test_the_runtime_without_onnxruntime_is_part_of_the_chain(tiny_chain):
    (found,) = json.loads((tiny_chain / "run" / "report" / "report.json").read_text())["runtimes"].items()
    assert found[0].startswith("numpy and onnxruntime") and found[1]["value"] >= 0.99


def test_the_report_is_in_the_bundle_and_on_the_screen(tiny_chain):
    run = tiny_chain / "run"
    report = json.loads((run / "report" / "report.json").read_text())

    sealed = json.loads((run / "bundle" / "report.json").read_text())
    # Times, curves, file names and versions stay outside: the same log gives the same bundle.
    assert sealed == json.loads(json.dumps(Report.read(run / "report").sealed()))
    assert sealed["metrics"] == report["metrics"] and report["costs"]["int8"]["ms"] > 0
    assert sys.platform != "linux" or all("mb" in of for of in report["costs"].values())
    costs = report["costs"]  # torch asks anew for each item that may be shown, the bundle once
    assert 0 < costs["int8"]["macs"] < costs["pruned"]["macs"] / 2
    assert sealed["costs"]["int8"].keys() == {"bytes", "macs"} and sealed["settings"] == sealed["curves"] == {}
    assert json.loads((run / "bundle" / "manifest.json").read_text())["metrics"] == report["metrics"]["int8"]
    assert "<html" in (run / "report" / "report.html").read_text()
    shown = (tiny_chain / "screen.txt").read_text()
    assert re.search(r"^task +metric +teacher +student +pruned +int8 ", shown, re.MULTILINE)
    assert re.search(r"^next +ndcg@10 +0\.", shown, re.MULTILINE)
    told = [line for line in shown.splitlines() if not line.startswith("      ")]  # what a reason goes on with
    assert "verdict: wait" in shown and len(told) < 40
    assert all(len(line) <= 80 or "/" in line for line in shown.splitlines())  # paths are not broken


def test_of_thirty_users_the_verdict_says_nothing_but_how_many_are_needed(tiny_chain):
    verdict = json.loads((tiny_chain / "run" / "report" / "report.json").read_text())["verdict"]

    assert verdict["word"] == "wait"
    assert verdict["data"]["next"] == {"n": 30, "smallest": pytest.approx(0.2, abs=0.2), "enough": False}
    assert {of["answer"] for of in verdict["baseline"].values()} == {"cannot tell"}
    assert any("30 requests, sessions or users are too few, 100 are needed" in line for line in verdict["because"])
    sealed = json.loads((tiny_chain / "run" / "bundle" / "report.json").read_text())["verdict"]
    assert [cost["what"] for cost in sealed["device"]["costs"]] == ["MB of graphs and weights"]


def test_a_broken_gate_ends_with_1_after_the_report_that_says_why_with_all_metrics_on_request(copied):
    settle(copied, evaluation={"min_ndcg_retained": 9.0})
    result = edgerec("evaluate", copied, "--tables")

    assert result.exit_code == 1 and "verdict: stop" in result.stdout
    assert "the gate is 9" in result.stderr.splitlines()[-1]
    for name in ("teacher", "int8", "recent_popularity"):
        assert re.search(rf"^next +{name} ", result.stdout, re.MULTILINE), name


# ---------------------------------------------------------------------------- bad input


def one_line(result, code=2) -> str:
    """The error, which is the last line on the screen, and no traceback."""
    assert (result.exit_code, result.stdout) == (code, "")
    assert "Traceback" not in result.stderr
    return result.stderr.strip().split("\n")[-1]


@pytest.mark.parametrize(("stage", "file", "command"), [
    ("student", "model.safetensors", "prune"),
    ("teacher", "fold-1.safetensors", "evaluate"),
    ("pruned", "model.json", "quantize"),
])  # fmt: skip
def test_a_truncated_file_of_a_stage_is_named_and_the_bundle_stays_whole(copied, stage, file, command):
    path = copied / "run" / stage / file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    before = files_of(copied / "run" / "bundle")

    error = one_line(edgerec(command, copied))

    assert error.startswith(str(path))
    assert "run the stage that writes it again" in error
    assert files_of(copied / "run" / "bundle") == before


def test_a_log_of_one_item_is_refused(tmp_path):
    tiny.write(tmp_path, tiny.rows() | {"item": ["i0"] * (tiny.USERS * tiny.SESSIONS * 5)})
    settle(tmp_path)

    assert "all rows are about one item (i0); ranking needs at least two" in one_line(edgerec("run", tmp_path))


def test_a_loss_that_is_not_a_number_is_one_line(tmp_path):
    tiny.write(tmp_path)
    settle(tmp_path, teacher={"learning_rate": 1e30})

    assert re.search(
        r"the loss of .* is not a number at step \d+; lower learning_rate", one_line(edgerec("run", tmp_path))
    )


def test_a_log_of_one_user_is_refused(tmp_path):
    tiny.write(tmp_path, {name: values[: tiny.SESSIONS * 5] for name, values in tiny.rows().items()})
    settle(tmp_path)

    assert "no session and no impression to learn from; the log has too few users" in one_line(edgerec("run", tmp_path))


# ---------------------------------------------------------------------------- as little as there can be


@pytest.mark.slow
@pytest.mark.parametrize("task", [{"name": "next", "kind": "retrieval"}, *tiny.TASKS[2:5:2]], ids=lambda t: t["kind"])
def test_one_task_without_context_attributes_and_sessions_is_enough(task, tmp_path):
    tiny.write(tmp_path)
    settings = tiny.settings([task])
    for key in ("context", "users", "items", "session"):
        del settings["data"][key]
    (tmp_path / "edgerec.toml").write_text(tiny.toml(settings))

    assert edgerec("run", tmp_path).exit_code == 0
    with Recommender.open(tmp_path / "run" / "bundle") as rec:
        assert rec.check() == tiny.SMALL["quantization"]["conformance"]
        assert len({r.utility for r in rec.recommend(5)}) == 5
    report = Report.read(tmp_path / "run" / "report")
    assert list(report.costs) == ["teacher", "student", "pruned", "int8"]
    assert {"without a past", "with the last event alone"} <= set(report.inputs)
    assert all(list(of) == [task["name"]] for of in report.inputs.values())
