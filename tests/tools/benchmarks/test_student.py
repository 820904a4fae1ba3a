"""What tools/judge_student keeps, compares and says."""

from __future__ import annotations

import numpy as np
import pytest

from edgerec.evaluation.metrics import mean
from edgerec.tuning.ablation import LOG_ALONE
from tools.benchmarks import student
from tools.benchmarks.teacher import Work, work_of
from tools.benchmarks.shared import results


def found(next_: float, new: float) -> results.Found:
    return {
        "next": {"ndcg@10": mean(np.array([next_, next_ + 0.2]))},
        "new": {"ndcg@10": mean(np.array([new, new + 0.1]))},
    }


@pytest.fixture
def work(tmp_path) -> Work:
    return work_of("retail", tmp_path, None, "0,1", "valid")


def keep(work: Work, name: str, seed: int, metrics: results.Found, size: int = 0) -> None:
    change = {"distillation": dict(LOG_ALONE)} if name == judge_student.ALONE else None
    config = judge_student.config_of(work, seed, change)
    more = {judge_student.SIZE: size} if size else {}
    results.keep(judge_student.result(work, name, seed), name, config, judge_student.DEPENDS, metrics, more)


def test_int8_is_told_beside_its_teacher_and_the_same_student_without_one(work):
    for seed in work.seeds:
        keep(work, judge_student.STAGES["teacher"], seed, found(0.3, 0.2))
        keep(work, judge_student.STAGES["int8"], seed, found(0.2, 0.2), size=1000 + seed)
        keep(work, judge_student.ALONE, seed, found(0.1, 0.1))
    everyone, asked = judge_student.tables(work)

    assert everyone[0] == "retail, valid part: value ±standard error; 2 seeds"
    assert [row[0] for row in everyone[2]][:3] == ["teacher", "INT8, by the runtime", "  spread over seeds"]
    assert "1,001 bytes" in asked[0]
    next_, new = asked[2][:2]
    assert next_[:4] == ["next ndcg@10", "0.340", "0.3000 ±0.1000", "below"]
    assert next_[4].startswith("75.0%") and next_[5].startswith("150.0%")
    assert new[3] == "met" and new[4].startswith("100.0%")


def test_a_result_of_other_settings_is_not_shown(work):
    keep(work, judge_student.STAGES["int8"], 0, found(0.2, 0.2), size=1000)
    other = work_of("retail", work.folder.parent, None, "0", "valid", ["distillation.epochs=1"])

    assert len(list(judge_student.tables(work))) == 2
    assert len(list(judge_student.tables(other))) == 1


def test_the_sizes_become_a_table_and_a_picture(work):
    for size, n in (("nano", 100), ("std", 1000)):
        config = judge_student.config_of(work, 0, {"student": {"size": size}})
        path = judge_student.result(work, f"size {size}", 0)
        results.keep(path, size, config, judge_student.DEPENDS, found(0.2, 0.1), {judge_student.SIZE: n})
    *_, (title, columns, rows) = judge_student.tables(work)

    assert title == "retail: INT8 by size" and columns[:2] == ("size", "bytes")
    assert [row[:2] for row in rows] == [["nano", "100"], ["std", "1,000"]]
    assert judge_student.draw_sizes(work).read_text("utf-8").lstrip().startswith("<?xml")


def test_a_rank_of_the_teachers_scores_is_enough_where_they_have_no_more(tiny_data):
    from edgerec.evaluation.cases import find_cases, judge_lists

    class Teacher:
        def log_shares(self, requests, chosen):
            base = np.random.default_rng(0).normal(size=(2, 5, 40))
            mix = np.random.default_rng(1).normal(size=(len(requests), 2))[chosen]
            return np.einsum("bk,ktn->btn", mix, base)

    cases, task = find_cases(tiny_data), tiny_data.tasks[0]
    got = judge_student.low_rank(Teacher(), tiny_data, cases, 3)["next"]["ndcg@10"].value
    scores = Teacher().log_shares(tiny_data.held.visits.requests, cases.rows)[:, 0]
    whole = judge_lists(np.argsort(-scores, axis=1), task, tiny_data, cases, (10,))["ndcg@10"].value

    assert got == pytest.approx(whole)
