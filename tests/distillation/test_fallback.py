"""Simple parts beside the student or in its place, where they rank better requests that it did not learn from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from edgerec.distillation import fallback
from edgerec.distillation.fallback import PartMix, fall_back
from edgerec.distillation.parts import category_parts, list_parts
from edgerec.examples import held_out
from edgerec.examples.held_out import HeldOut
from edgerec.metrics import Estimate, mean
from edgerec.models.student import Student, StudentSizes
from edgerec.tasks import scored_tasks


@pytest.fixture
def few(monkeypatch):
    """A log of a few dozen users is enough to hold some out."""
    monkeypatch.setattr(held_out, "LEAST", 10)
    monkeypatch.setattr(held_out, "LEAST_ASKED", 10)
    monkeypatch.setattr(held_out, "OF_LATE", 1.0)
    monkeypatch.setattr(held_out, "PART", 1.0)


def student(data, transitions=0):
    torch.manual_seed(0)
    sizes = StudentSizes.of(8, 16, 2, transitions=transitions)
    made = Student(data.shape, data.features, len(scored_tasks(data.tasks)), sizes).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return made


def judged(data, model, name):
    tasks = scored_tasks(data.tasks)
    index = next(i for i, t in enumerate(tasks) if t.name == name)
    held = HeldOut.of(data, 0)
    asked = held.asked(tasks[index], data)
    return fallback._Judged(
        index, tasks[index], data, model, *asked, category_parts(data), list_parts(data, held.since_ms)
    )


@pytest.mark.parametrize("task", ["next", "new"])
def test_a_student_scores_as_the_mix_that_was_judged(task, tiny_data, few):
    at = judged(tiny_data, student(tiny_data), task)
    whole = list_parts(tiny_data, np.full(len(tiny_data.train_log.offsets) - 1, np.iinfo(np.int64).max))
    at = replace(at, lists=whole)  # those that the student is given know all rows
    mixes = [PartMix(popularity=(3.0, 1.0))]
    mixes += [PartMix(student=0.5, popularity=(1.0, 0.5), category=(0, 3.0), listed=(place, 1.5)) for place in range(3)]
    mixes += [PartMix(repeat=True, popularity=(10.0, 1.0))] if task == "next" else []
    for mix in mixes:
        model = at.applied(mix)
        listed = at._never == 0
        assert at._catalog(model)[listed] == pytest.approx(at._scores(mix)[listed], abs=2e-3)


def test_other_tasks_stay_as_they_are(tiny_data, few):
    at = judged(tiny_data, student(tiny_data), "next")
    model = at.applied(PartMix(popularity=(3.0, 1.0), category=(0, 3.0), listed=(0, 1.5)))
    other = judged(tiny_data, at.student, "new")

    assert other._catalog(model) == pytest.approx(other._catalog(at.student), abs=1e-3)


def test_lists_know_nothing_of_what_is_held_out(tiny_data, few):
    held = HeldOut.of(tiny_data, 0)
    before, whole = (
        list_parts(tiny_data, since)[1].matrix for since in (held.since_ms, np.full_like(held.since_ms, 2**62))
    )

    assert (before != whole).nnz


def test_a_student_that_knows_less_than_popularity_ranks_by_it_and_another_one_stays(tiny_data, few):
    names = [t.name for t in scored_tasks(tiny_data.tasks)]
    untaught, place = student(tiny_data), names.index("next")
    untaught.silence(place)
    with torch.no_grad():
        untaught.items.bias.weight[:, place] = -torch.from_numpy(
            np.bincount(tiny_data.train_log.item, minlength=tiny_data.n_items)[: tiny_data.n_items].astype(np.float32)
        )  # lists what is consumed least
    ranked, found = fall_back(untaught, tiny_data, 0)
    entry = found["next"]

    assert entry.used and entry.value > entry.of_student and entry.n >= 10
    assert "popularity of half-life" in entry.detail and str(entry).startswith("ranked by")
    assert "next" not in fall_back(ranked, tiny_data, 0)[1]  # it is no better than itself


def test_what_no_list_of_few_items_can_say_is_named(tiny_data, few, monkeypatch):
    at = judged(tiny_data, student(tiny_data, transitions=4), "next")
    nothing = Estimate(0.0, len(at.truth), np.zeros(len(at.truth)))
    entry = at._out_of_reach(nothing)

    assert not entry.used and entry.baseline in ("ease", "item_knn", "directed_co_occurrence")
    assert "a bundle has no form for it" in str(entry)


def test_a_few_lucky_requests_are_no_proof_and_many_are():
    nothing = mean(np.zeros(112))
    lucky, many = np.zeros(112), np.zeros(112)
    lucky[:5], many[:12] = 1.0, 0.5

    assert mean(lucky).value > fallback.SIGMAS * mean(lucky).se  # by the standard error alone it would be
    assert not fallback._surely_better(mean(lucky), nothing)
    assert fallback._surely_better(mean(many), nothing)
    assert not fallback._surely_better(nothing, mean(many))
