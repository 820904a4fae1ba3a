"""Popularity in place of the student, where it ranks better on requests that the student did not learn from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgerec.distillation import fallback
from edgerec.distillation.fallback import fall_back, held_out, without
from edgerec.models.student import Student, StudentSizes
from edgerec.tasks import scored_tasks


@pytest.fixture
def few(monkeypatch):
    """A log of a few hundred sessions is enough to hold some out."""
    monkeypatch.setattr(fallback, "LEAST", 20)
    monkeypatch.setattr(fallback, "OF_LATE", 1.0)
    monkeypatch.setattr(fallback, "PART", 0.3)


def student(data):
    torch.manual_seed(0)
    return Student(data.shape, data.features, len(scored_tasks(data.tasks)), StudentSizes.of(8, 16, 2)).eval()


def test_a_small_log_holds_nothing_out(tiny_data):
    assert not len(held_out(tiny_data, 0))
    assert without(tiny_data, held_out(tiny_data, 0)) is tiny_data


def test_what_is_held_out_are_late_sessions_one_of_each_user_that_the_student_does_not_see(tiny_data, few):
    sessions, bounds = tiny_data.train.sessions, tiny_data.dataset.meta.boundaries_ms
    places = held_out(tiny_data, 0)
    requests = sessions.requests.take(places)
    kept = without(tiny_data, places).train.sessions

    assert 20 <= len(places) <= 0.3 * len(sessions.requests)
    assert (requests.time_ms >= bounds.valid).all() and len(np.unique(requests.user)) == len(places)
    assert (requests.lengths() > 0).all()
    assert len(kept.requests) == len(sessions.requests) - len(places)
    pairs = set(zip(kept.requests.user.tolist(), kept.requests.time_ms.tolist(), strict=True))
    assert pairs.isdisjoint(zip(requests.user.tolist(), requests.time_ms.tolist(), strict=True))
    assert np.array_equal(places, held_out(tiny_data, 0))


def test_a_quarter_of_the_late_sessions_is_held_out_at_most(tiny_data, few, monkeypatch):
    monkeypatch.setattr(fallback, "PART", 1.0)
    late = len(held_out(tiny_data, 0))
    monkeypatch.setattr(fallback, "LEAST", 1)
    monkeypatch.setattr(fallback, "OF_LATE", 0.25)

    assert late >= 20 and len(held_out(tiny_data, 0)) == late // 4


def test_where_the_log_is_split_by_user_each_ones_last_session_may_be_held_out(split_by_user, few):
    requests = split_by_user.train.sessions.requests
    last = dict(zip(requests.user.tolist(), requests.time_ms.tolist(), strict=True))
    chosen = requests.take(held_out(split_by_user, 0))

    assert len(chosen) >= 20
    assert [last[user] for user in chosen.user.tolist()] == chosen.time_ms.tolist()


def test_a_student_that_knows_less_than_popularity_ranks_by_it_and_another_one_stays(tiny_data, few):
    names = [t.name for t in scored_tasks(tiny_data.tasks)]
    untaught, place = student(tiny_data), names.index("next")
    with torch.no_grad():
        untaught.items.bias.weight[:, place] = -torch.from_numpy(
            np.bincount(tiny_data.train_log.item, minlength=tiny_data.n_items)[: tiny_data.n_items].astype(np.float32)
        )  # lists what is consumed least
    before = untaught.items.bias.weight[:, names.index("click")].clone()
    found = fall_back(untaught, tiny_data, 0)
    _, prior = untaught.encode_items(tiny_data.as_of(-1))
    entry = found["next"]
    statistic = tiny_data.statistics.names.index(f"popularity.{entry.half_life_h / 24:g}d")

    assert entry.ndcg > entry.of_student and entry.n >= 20
    assert prior[:, place].detach().numpy() == pytest.approx(tiny_data.statistics.values[-1][:, statistic], abs=1e-5)
    assert torch.equal(untaught.items.bias.weight[:, names.index("click")], before)
    assert "next" not in fall_back(untaught, tiny_data, 0)  # it is no better than itself
