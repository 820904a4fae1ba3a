"""What [tuning] may say, and what a wrong one is told before any trial."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from edgerec.config import Config, Range
from edgerec.config.tuning import judged_metrics
from edgerec.errors import ConfigError
from tests import tiny


def settings(tuning: dict[str, Any]) -> dict[str, Any]:
    return tiny.settings() | {"tuning": tuning}


def space(axes: dict[str, Any], **tuning: Any) -> dict[str, Any]:
    return {"space": axes, **tuning}


def test_dotted_keys_need_no_quotes():
    nested = Config.of(settings(space({"teacher": {"dropout": [0.1, 0.2], "dim": {"low": 4, "high": 8}}})))

    assert nested.tuning.space == {"teacher.dropout": (0.1, 0.2), "teacher.dim": Range(low=4, high=8)}


def test_the_metric_left_out_is_the_first_tasks_own():
    config = Config.of(settings({}))

    assert config.tuning.judged_by(config.task, config.evaluation.k) == {"next.ndcg@10": 1.0}
    assert Config.of(settings({"metric": "click.auc"})).tuning.metric == {"click.auc": 1.0}


@pytest.mark.parametrize(
    ("tuning", "message"),
    [
        (
            space({"teacher.droput": [0.1]}),
            r"\[tuning.space\] no setting is called 'teacher.droput'; did you mean 'tea",
        ),
        (space({"techer.dropout": [0.1]}), r"no setting is called 'techer.dropout'; did you mean 'teacher.dropout'\?"),
        (space({"teacher.dropout": [0.1, 1.5]}), r"teacher.dropout: expected it to be less than 1, got 1.5"),
        (space({"teacher.dropout": ["much"]}), r"teacher.dropout: expected it to be a valid number.*'much'"),
        (space({"teacher.dim": [8, 2]}), r"teacher.dim: expected it to be greater than or equal to 4, got 2"),
        (space({"teacher.dim": {"low": 4.5, "high": 8}}), r"teacher.dim: .*valid integer.* got 4.5"),
        (space({"teacher.dropout": {"low": 0.1, "high": 1.0}}), r"teacher.dropout: .*less than 1, got 1.0"),
        (space({"teacher.dropout": {"low": 0.3, "high": 0.1}}), r"expected low below high, got 0.3 and 0.1"),
        (space({"teacher.dropout": {"low": 0.0, "high": 0.5, "log": True}}), r"log needs low above 0, got 0.0"),
        (space({"teacher.dim": {"low": 4, "high": 8, "step": 5}}), r"teacher.dim: expected a step above 0 and within"),
        (space({"teacher.dim": {"low": 4, "high": 8, "step": 0.5}}), r"teacher.dim counts: expected a whole step"),
        (space({"teacher.dim": {"low": 4, "high": 8, "log": True, "step": 2}}), r"log and step exclude each other"),
        (space({"teacher.dropout": {"lo": 0.1, "high": 0.5}}), r"teacher.dropout has no key 'lo'; did you mean 'low'"),
        (space({"teacher.dropout": {"low": 0.1}}), r"teacher.dropout high: field required"),
        (space({"teacher.sharing": {"low": 1, "high": 2}}), r"teacher.sharing: expected it to be 'shared-bottom'"),
        (space({"teacher.dropout": []}), r"\[tuning\] space: teacher.dropout: expected a list of values, or"),
        (space({"teacher.dropout": 0.1}), r"teacher.dropout: expected a list of values, or .* got 0.1"),
        (space({"teacher.dropout": [0.1, 0.1]}), r"teacher.dropout: a value is listed twice"),
        (space({"pruning.hidden": [0.1]}), r"pruning.hidden changes nothing in a trial of stage = 'teacher'; its keys"),
        (space({"teacher.dim": [8]}, stage="student"), r"teacher.dim changes nothing in a trial of stage = 'student'"),
        (space({"data.after": ["x"]}), r"data.after changes nothing"),
        ({"space": []}, r"\[tuning\] space: expected a table such as"),
        (
            space({"teacher.dropout": {"low": 0.1, "high": 0.5}}, sampler="grid"),
            r"a grid needs a list of values, or a s",
        ),
        (space({"teacher.dim": {"low": 4, "high": 10_004}}, sampler="grid"), r"the grid has 10,001 points"),
        (space({"teacher.dropout": [0.1]}, sampler="grid", trials=3), r"\[tuning\]: a grid tries all its points"),
        (
            {"metric": "next.ndgc@10"},
            r"\[tuning\] metric: the tasks have no 'next.ndgc@10'; did you mean 'next.ndcg@10'",
        ),
        ({"metric": "next.ndcg@7"}, r"the tasks have no 'next.ndcg@7'"),
        ({"metric": {"watch.mae": 1, "watch.xauc": 1}}, r"some of them are better when higher, some when lower"),
        ({"metric": {"click.auc": 0}}, r"\[tuning\] metric click.auc: expected it to be greater than 0, got 0"),
        ({"sampler": "cma"}, r"\[tuning\] sampler: .*'tpe', 'random' or 'grid', got 'cma'"),
        ({"trails": 3}, r"\[tuning\] has no key 'trails'; did you mean 'trials'\?"),
    ],
)
def test_a_mistake_is_named_in_one_line(tuning, message):
    with pytest.raises(ConfigError, match=message) as caught:
        Config.of(settings(tuning), source="tiny.toml")

    assert "\n" not in str(caught.value)


def test_the_history_length_may_be_searched_for_a_teacher_too():
    Config.of(settings(space({"student.max_history": [8, 16], "training.accumulate": [1, 2]})))


def test_the_settings_of_a_search_survive_the_way_to_a_worker():
    given = settings(space({"teacher.dim": {"low": 4, "high": 8}, "teacher.sharing": ["ple"]}, metric="click.auc"))
    config = Config.of(given)

    assert Config.of(config.model_dump(mode="json", exclude_unset=True)) == config


@pytest.mark.slow
def test_the_metrics_that_may_be_named_are_those_that_the_evaluation_gives(tiny_data, tiny_config):
    from edgerec.ensemble.scoring import TorchScorer
    from edgerec.evaluation.quality import evaluate_scorer
    from edgerec.training.teacher import build_teacher

    scorer = TorchScorer([build_teacher(tiny_config.teacher, tiny_config.seed, tiny_data).eval()], tiny_data)
    found = evaluate_scorer(scorer, tiny_data, tiny_config.evaluation.k)

    assert {f"{task}.{metric}" for task, of in found.items() for metric in of} == set(
        judged_metrics(tiny_config.task, tiny_config.evaluation.k)
    )


def test_the_search_in_the_docs_is_one_that_can_be_made():
    page = (Path(__file__).parents[3] / "tools/site/pages/howto/tune.md").read_text(encoding="utf-8")
    (example,) = (code for code in re.findall(r"```toml\n(.*?)```", page, re.DOTALL) if "[tuning]" in code)

    config = Config.of(tiny.settings() | tomllib.loads(example))
    assert set(config.tuning.space) == {"teacher.dropout", "teacher.learning_rate"}
