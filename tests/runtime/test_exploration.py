"""Trials at the end of a list, and what a device learns from the answers."""

import json

import numpy as np
import pytest

from edgerec.bundle.policy import Adapt, Explore
from edgerec.runtime import Recommender
from edgerec.runtime.adaptation import LearnedState
from edgerec.runtime.exploration import fill
from tests import toy

NOW = toy.NOW_MS
METHODS = ("epsilon", "thompson", "linucb")


def filled(method, seed, learned=None, n=8, k=3, **keys):
    random = np.random.default_rng(seed)
    utility = np.linspace(0.3, 0.1, n).astype(np.float32)
    vectors = toy.table(n, 4)
    explore = Explore(method, **{"slots": 2, **keys})
    return fill(explore, k, [f"i{i}" for i in range(n)], utility, vectors, learned or LearnedState("toy"), random)


@pytest.mark.parametrize("method", METHODS)
def test_only_the_last_places_are_drawn_and_their_probability_is_told(method):
    for seed in range(20):
        at, probability = filled(method, seed)
        assert at[0] == 0 and probability[0] == 1.0
        assert len(set(at.tolist())) == 3
        assert (probability > 0).all() and (probability <= 1).all()


def test_the_told_probability_is_how_often_an_item_is_drawn():
    first, chances = [], {}
    for seed in range(4000):
        at, probability = filled("epsilon", seed, slots=1, epsilon=0.4)
        first.append(int(at[-1]))
        chances[int(at[-1])] = probability[-1]
    often = np.bincount(first, minlength=8) / len(first)
    assert chances[2] == pytest.approx(0.6 + 0.4 / 6)
    for item, chance in chances.items():
        assert often[item] == pytest.approx(chance, abs=0.03)


def test_without_epsilon_the_list_is_the_best_items():
    at, probability = filled("epsilon", 0, epsilon=0.0)
    assert at.tolist() == [0, 1, 2] and probability.tolist() == [1.0, 1.0, 1.0]


def test_thompson_comes_back_to_what_was_taken():
    learned = LearnedState("toy", counts={"i6": [40, 36], "i2": [40, 0]})
    drawn = [int(filled("thompson", seed, learned, slots=1, epsilon=0.0)[0][-1]) for seed in range(40)]
    assert drawn.count(6) > 30 and 2 not in drawn


def test_linucb_tries_what_it_knows_least_of_and_then_what_pays():
    learned = LearnedState("toy")
    vectors = toy.table(8, 4)
    for _ in range(60):
        learned.refine(vectors, np.array([False] * 5 + [True] + [False] * 2))
    at, _ = filled("linucb", 0, learned, slots=1, epsilon=0.0, width=0.0)
    assert at[-1] == 5


def test_a_correction_learns_what_a_user_takes_within_its_bound():
    random = np.random.default_rng(0)
    learned, adapt = LearnedState("toy"), Adapt(rate=0.3, most=1.0)
    vectors = random.normal(size=(400, 8)).astype(np.float32)
    for start in range(0, 400, 4):
        part = vectors[start : start + 4]
        learned.learn(np.full(4, 0.3, np.float32), part, part[:, 0] > 0.3, adapt)
    moved = learned.correction(vectors, adapt)
    assert learned.trusted()
    assert np.corrcoef(moved, vectors[:, 0])[0, 1] > 0.6
    assert np.abs(moved).max() <= 1.0


def test_a_correction_that_does_not_pay_is_not_used():
    random = np.random.default_rng(0)
    learned, adapt = LearnedState("toy"), Adapt(rate=0.3)
    trusted = []
    for _ in range(200):
        learned.learn(np.full(4, 0.3, np.float32), random.normal(size=(4, 8)).astype(np.float32),
                      random.random(4) < 0.3, adapt)  # fmt: skip
        trusted.append(learned.trusted())
    assert np.mean(trusted) < 0.1


def test_what_was_learned_survives_and_another_bundle_starts_anew():
    learned = LearnedState("toy 1")
    learned.learn(np.full(2, 0.5, np.float32), toy.table(2, 4), np.array([True, False]), Adapt())
    learned.refine(toy.table(2, 4), np.array([True, False]))
    again = LearnedState.from_bytes(learned.to_bytes(), "toy 1")
    assert np.array_equal(again.weights, learned.weights) and np.array_equal(again.inverse, learned.inverse)
    assert LearnedState.from_bytes(learned.to_bytes(), "toy 2").answers == 0
    for damaged in (b"{", b"[]", b'{"bundle": "toy 1", "weights": "x"}', None):
        assert LearnedState.from_bytes(damaged, "toy 1").answers == 0


@pytest.fixture
def opened(tmp_path, monkeypatch):
    files = toy.files

    def open_(**policy):
        def changed(*arguments):
            return {**files(*arguments), "policy.json": json.dumps({"weights": {"click": 1.0}, **policy}).encode()}

        monkeypatch.setattr(toy, "files", changed)
        return Recommender.open(toy.write(tmp_path), store=tmp_path / "s.sqlite")

    return open_


def test_a_list_of_trials_is_logged_with_its_candidates_and_answers(opened):
    with opened(explore={"method": "epsilon", "slots": 1, "epsilon": 1.0}) as rec:
        recommended = rec.recommend(k=3, now=NOW, context={"tab": "home"})
        rec.observe(recommended[2].item, "click", list_name=recommended.name)
        (logged,) = rec._memory.store.lists.read()
    assert logged.items == tuple(r.item for r in recommended)
    assert logged.probability == (1.0, 1.0, pytest.approx(1 / 6))
    assert (logged.pool, logged.bundle, logged.context) == (8, "toy 1", {"tab": "home"})
    assert logged.utility == pytest.approx([r.utility for r in recommended])


def test_a_device_learns_from_a_list_once_when_the_next_is_made(opened):
    with opened(adapt={"rate": 0.5}, explore={"method": "linucb"}) as rec:
        for _ in range(12):
            recommended = rec.recommend(k=4, now=NOW)
            rec.observe(recommended[1].item, "click", list_name=recommended.name, time=NOW)
            rec.observe(recommended[2].item, list_name=recommended.name, time=NOW)  # a look
        learned = rec._memory.learned(rec.arrays.model)
        assert learned.answers == 11 * 4
        assert sum(taken for _, taken in learned.counts.values()) == 11
        rec.forget()
        assert rec._memory.learned(rec.arrays.model).answers == 0


def test_what_was_learned_moves_the_list_while_it_is_trusted(opened):
    with opened(adapt={"rate": 0.5, "most": 3.0}) as rec:
        model = rec.arrays.model
        vector = model.directions(np.array([7]))[0]
        vector = vector / np.linalg.norm(vector)
        learned = LearnedState("toy 1", weights=3 * vector.astype(float), answers=50, gained=9.0)
        before = [r.item for r in rec.recommend(k=8, now=NOW)]
        rec._memory.store.learned.put("learned", learned.to_bytes())
        after = [r.item for r in rec.recommend(k=8, now=NOW)]
        learned.gained = 0.0
        rec._memory.store.learned.put("learned", learned.to_bytes())
        guarded = [r.item for r in rec.recommend(k=8, now=NOW, log=False)]
        assert model is rec.arrays.model
    assert after.index("i7") < before.index("i7")
    assert guarded == before
