"""Rates beside the student or in its place, where they tell better what it did not learn from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from edgerec.distillation import rates
from edgerec.distillation.rates import RateMix, add_rates, applied
from edgerec.examples import held_out
from edgerec.examples.held_out import HeldOut
from edgerec.models.student import Student, StudentSizes
from edgerec.tasks import scored_tasks
from edgerec.training.predictions import network_logits

NAMES = ["next", "new", "click", "liked", "watch"]


@pytest.fixture
def few(monkeypatch):
    """A log of a few dozen users is enough to hold some out."""
    monkeypatch.setattr(held_out, "LEAST", 10)
    monkeypatch.setattr(held_out, "OF_LATE", 1.0)
    monkeypatch.setattr(held_out, "PART", 1.0)


@pytest.fixture
def student(tiny_data):
    torch.manual_seed(0)
    made = Student(tiny_data.shape, tiny_data.features, 5, StudentSizes.of(8, 16, 2)).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return made


def judged(data, student, name):
    held, tasks = HeldOut.of(data, 0), scored_tasks(data.tasks)
    assert [task.name for task in tasks] == NAMES
    rows = rates._asked(held, data)
    index = NAMES.index(name)
    return rates._JudgedRows(index, tasks[index], data, student, held, rows, rates._halves(rows))


def logits(at, student):
    return network_logits(student.eval(), at.data, at.rows.requests, at.rows.item, np.arange(len(at.rows.item)))


def request_parts(at):
    """Two numbers of each request, and one of each value of a column: in the tiny log all users' rates are alike."""
    requests, table = at.rows.requests, np.array([0.1, -0.7, 0.9])
    numbers = requests.numeric(np.arange(len(at.rows.item)))
    own = [rates.RatePart("own", "own", column, numbers[:, column].astype(float)) for column in (0, 2)]
    return [*own, rates.RatePart("tab", "context", 0, table[requests.categorical[:, 0]], table)]


@pytest.mark.parametrize("with_student", [True, False])
def test_a_student_tells_as_the_mix_that_was_judged_and_its_other_tasks_as_before(
    tiny_data, few, student, with_student
):
    model = student
    for name in ("click", "watch"):
        at = judged(tiny_data, student, name)
        parts = [*at._parts, *request_parts(at)]
        parts = parts if with_student else parts[1:]
        assert {part.kind for part in parts} == {"item", "own", "context"} | ({"student"} if with_student else set())
        weights = tuple(0.3 + 0.2 * i for i in range(len(parts)))
        mix = RateMix(tuple(parts), weights, -0.4)
        before = logits(at, model)
        model = applied(model, mix, tiny_data, at.index)

        after = logits(at, model)
        assert after[:, at.index] == pytest.approx(mix.scores(), abs=1e-3)
        others = [i for i in range(len(NAMES)) if i != at.index]
        assert after[:, others] == pytest.approx(before[:, others], abs=1e-3)
    assert model.sizes.dim == student.sizes.dim + 1  # both tasks read one constant
    assert model.sizes.head == student.sizes.head + 4


def with_labels(data, label):
    """The data with other labels of clicks, of what is learned from and what is held out alike."""
    rows = data.train.impressions
    changed = replace(rows, labels={**rows.labels, "click": label.astype(np.float32)})
    return replace(data, train=replace(data.train, impressions=changed))


def test_a_student_that_knows_nothing_is_told_by_rates_and_one_that_knows_all_stays(tiny_data, few, student):
    ignorant = replace_task(student, NAMES.index("click"))
    rows = tiny_data.train.impressions
    odd = rows.requests.categorical[:, 0] == 1  # whatever is shown on the first tab is clicked
    column = tiny_data.train_log.categorical[:, 0] == 1
    labels = {**tiny_data.train_log.labels, "click": column.astype(np.float32)}
    data = replace(with_labels(tiny_data, odd), train_log=replace(tiny_data.train_log, labels=labels))
    held = HeldOut.of(data, 0)

    model, found = add_rates(ignorant, data, held)
    at = judged(data, model, "click")
    assert found["click"].used and not found["click"].with_student
    assert (found["click"].metric, found["click"].value) == ("auc", 1.0)
    assert "rate of tab" in found["click"].detail
    told = logits(at, model)[:, NAMES.index("click")]
    assert told[at._label > 0].min() > told[at._label == 0].max()
    assert "liked" not in found  # it comes after the click

    again, nothing = add_rates(model, data, held)
    assert "click" not in nothing
    assert logits(at, again)[:, NAMES.index("click")] == pytest.approx(told)


def replace_task(student, task):
    """A student that says the same of all impressions of a task."""
    student.silence(task)
    return student


def test_rates_of_the_context_know_nothing_of_what_is_held_out(tiny_data, few, student):
    log, held = tiny_data.train_log, HeldOut.of(tiny_data, 0)
    late = log.time_ms >= held.since_ms[log.user]
    assert late.any()
    turned = {**log.labels, "click": np.where(late, 1 - log.labels["click"], log.labels["click"])}
    other = replace(tiny_data, train_log=replace(log, labels=turned))

    tables = [judged(data, student, "click")._table(0, 3) for data in (tiny_data, other)]
    assert np.array_equal(*tables)


def test_parts_that_hardly_matter_are_left_out_until_all_matter(tiny_data, few, student, monkeypatch):
    at = judged(tiny_data, student, "click")
    parts, everything = [*at._parts, *request_parts(at)], np.arange(len(at.rows.item))
    fits = []

    def fit(values, label):
        """Of more than two parts the second one never matters."""
        fits.append(len(values))
        weights = np.ones(len(values))
        weights[1 : len(values) - 1][:1] = 1e-9
        return weights, 0.5

    monkeypatch.setattr(rates.blend, "logistic", fit)
    mix = at._fitted(parts, everything)

    assert fits[0] == len(parts) and fits[-1] == 2 and len(fits) > 2
    assert fits == sorted(set(fits), reverse=True)
    assert len(mix.parts) == len(mix.weights) == 2
    assert mix.scores().shape == (len(everything),)


def test_one_class_and_few_rows_tell_nothing(tiny_data, few, student):
    for rate in (0, 1):
        data = with_labels(tiny_data, np.full(len(tiny_data.train.impressions.item), rate))
        assert judged(data, student, "click").best() is None
    nobody = HeldOut(np.full(30, 2**62))
    assert add_rates(student, tiny_data, nobody) == (student, {})


def test_a_mix_must_be_better_beyond_chance(tiny_data, few, student, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 2, len(tiny_data.train.impressions.item))
    data = with_labels(tiny_data, noise)

    assert "click" not in add_rates(student, data, HeldOut.of(data, 0))[1]
    monkeypatch.setattr(rates, "SIGMAS", -1e9)
    assert "click" in add_rates(student, data, HeldOut.of(data, 0))[1]
