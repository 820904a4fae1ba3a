"""What `tools/benchmark student` stores, compares and prints."""

from __future__ import annotations

import numpy as np
import pytest

from edgerec.metrics import mean
from tools.benchmarks import student
from tools.benchmarks.shared import results
from tools.benchmarks.shared.comparison import Comparison


def metrics(next_: float, new: float) -> results.Metrics:
    return {
        "next": {"ndcg@10": mean(np.array([next_, next_ + 0.2]))},
        "new": {"ndcg@10": mean(np.array([new, new + 0.1]))},
    }


@pytest.fixture
def comparison(tmp_path) -> Comparison:
    return Comparison.of("retail", tmp_path, None, (0, 1), "valid")


def store(comparison: Comparison, name: str, seed: int, values: results.Metrics, size: int = 0) -> None:
    config = (student.alone_config if name == student.ALONE else student.config_of)(comparison, seed)
    more = {student.SIZE: size} if size else {}
    results.store(student.result(comparison, name, seed), name, config, student.DEPENDS, values, more)


def test_int8_is_printed_beside_its_teacher_and_the_same_student_without_one(comparison):
    for seed in comparison.seeds:
        store(comparison, student.STAGES["teacher"], seed, metrics(0.3, 0.2))
        store(comparison, student.STAGES["int8"], seed, metrics(0.2, 0.2), size=1000 + seed)
        store(comparison, student.ALONE, seed, metrics(0.1, 0.1))
    models, required = student.tables(comparison)

    assert models[0] == "retail, valid split: value ±standard error; 2 seeds"
    assert [row[0] for row in models[2]][:3] == ["teacher", "INT8, by the runtime", "  spread over seeds"]
    assert "1,001 bytes" in required[0]
    next_, new = required[2][:2]
    assert next_[:4] == ["next ndcg@10", "0.340", "0.3000 ±0.1000", "below"]
    assert next_[4].startswith("75.0%") and next_[5].startswith("150.0%")
    assert new[3] == "met" and new[4].startswith("100.0%")


def test_a_result_of_other_settings_is_not_shown(comparison):
    store(comparison, student.STAGES["int8"], 0, metrics(0.2, 0.2), size=1000)
    other = Comparison.of("retail", comparison.folder.parent, None, (0,), "valid", [{"distillation": {"epochs": 1}}])

    assert len(list(student.tables(comparison))) == 2
    assert len(list(student.tables(other))) == 1


def test_the_sizes_become_a_table_and_a_plot(comparison):
    for size, n in (("nano", 100), ("std", 1000)):
        config = student.size_config(comparison, size)
        path = student.result(comparison, f"size {size}", 0)
        results.store(path, size, config, student.DEPENDS, metrics(0.2, 0.1), {student.SIZE: n})
    *_, (title, columns, rows) = student.tables(comparison)

    assert title == "retail: INT8 by size" and columns[:2] == ("size", "bytes")
    assert [row[:2] for row in rows] == [["nano", "100"], ["std", "1,000"]]
    assert student.plot_sizes(comparison).read_text("utf-8").lstrip().startswith("<?xml")


def test_a_rank_of_the_teachers_scores_is_enough_where_they_have_no_more(tiny_data):
    from edgerec.examples.evaluation_requests import evaluate_lists, find_evaluation_requests

    class Teacher:
        def log_probs(self, requests, chosen):
            base = np.random.default_rng(0).normal(size=(2, 5, 40))
            mix = np.random.default_rng(1).normal(size=(len(requests), 2))[chosen]
            return np.einsum("bk,ktn->btn", mix, base)

    requests, task = find_evaluation_requests(tiny_data), tiny_data.tasks[0]
    got = student.low_rank(Teacher(), tiny_data, requests, 3)["next"]["ndcg@10"].value
    scores = Teacher().log_probs(tiny_data.evaluation.sessions.requests, requests.rows)[:, 0]
    whole = evaluate_lists(np.argsort(-scores, axis=1), task, tiny_data, requests, (10,))["ndcg@10"].value

    assert got == pytest.approx(whole)
