"""Simple baselines: what each of them knows, and that valid chooses their settings."""

from __future__ import annotations

import numpy as np
import pytest

from edgerec.evaluation.baselines import Baselines
from edgerec.evaluation.baselines.interactions import Interactions
from edgerec.evaluation.baselines.ranking import Asked, Recipe, Shelf, best_recipes, lists
from edgerec.evaluation.baselines.rates import Earlier, Rows, best_rates
from edgerec.evaluation.baselines.related import RelatedRecipe, related_lists
from edgerec.metrics import Estimate, auc, mean
from edgerec.tasks import Task
from edgerec.tasks.units import MS_PER_DAY, MS_PER_HOUR


def shelf_of(rows: list[tuple[int, int, float]], n_items: int, **categories: list[int]) -> Shelf:
    """Of (user, item, hour), sorted; each row is a session."""
    user, item, hour = (np.array(column) for column in zip(*sorted(rows), strict=True))
    time_ms = (hour * MS_PER_HOUR).astype(np.int64)
    interactions = Interactions(user, item, time_ms, np.arange(len(user)), int(user.max()) + 1, n_items)
    return Shelf(interactions, {name: np.array(of) for name, of in categories.items()})


def asked_of(requests: list[tuple[int, float]], exclude: list[list[int]] | None = None) -> Asked:
    user, hour = (np.array(column) for column in zip(*requests, strict=True))
    without = None if exclude is None else [np.array(items, np.int64) for items in exclude]
    return Asked.of(user, (hour * MS_PER_HOUR).astype(np.int64), without)


def test_popularity_is_that_before_the_request_and_later_events_are_unknown():
    shelf = shelf_of([(0, 0, 1), (1, 0, 2), (2, 1, 50), (3, 1, 50), (4, 2, 99)], 4)
    asked = asked_of([(0, 98), (1, 3), (1, 50)])  # sorted by time: 3, 50, 98
    (found,) = lists(shelf, [Recipe("recent_popularity", 3.0, popularity=0.0)], asked, 3)

    assert asked.order.tolist() == [1, 2, 0]
    # At 3 and 50 hours only item 0 has an event; later 1 has two new ones. Item 3, which nobody had, is never listed.
    assert found[:, 0].tolist() == [0, 0, 1]
    assert not (found == 3).any()


def test_what_comes_and_goes_is_foreseen_by_a_short_half_life_and_what_stays_by_a_long_one():
    rng = np.random.default_rng(0)

    def choose(item_of):
        rows = [(int(rng.integers(50)), item_of(h), float(h)) for h in range(2_000)]
        shelf = shelf_of(rows, 400)
        asked = asked_of([(h % 50, h + 0.5) for h in range(1_000, 1_900, 7)])
        truth = [np.array([item_of(h + 1)]) for h in range(1_000, 1_900, 7)]
        return best_recipes({False: shelf}, asked, truth)["recent_popularity"].half_life_h

    assert choose(lambda h: h // 24 % 400) <= 24  # each item lives for a day
    tastes = np.minimum(rng.geometric(0.05, 2_000), 399)
    assert choose(lambda h: int(tastes[h])) >= 168


def test_favourite_categories_come_first():
    shelf = shelf_of([(0, 0, 1), (1, 2, 1), (2, 2, 1), (3, 1, 2)], 4, shelf=[1, 1, 2, 2])
    recipe = Recipe("category_popularity", 720.0, "shelf", popularity=0.0)
    (found,) = lists(shelf, [recipe], asked_of([(0, 9), (1, 9)]), 2)

    assert found.tolist() == [[0, 1], [2, 1]] or found.tolist() == [[1, 0], [2, 1]]


def test_own_frequency_counts_recent_events_more_if_valid_says_so():
    shelf = shelf_of([(0, 0, 0), (0, 0, 1), (0, 1, 480), (1, 2, 3)], 3)
    often, late = (Recipe("own_frequency", 720.0, days * 24.0, popularity=0.5) for days in (1e7, 1.0))
    first, second = lists(shelf, [often, late], asked_of([(0, 481)]), 3)

    assert first.tolist() == [[0, 1, 2]] and second[0, 0] == 1


def test_directed_co_occurrence_lists_what_follows_and_excluded_items_are_left_out():
    cycle = [(u, (u + h) % 5, float(h)) for u in range(5) for h in range(4)]
    recipe = Recipe("directed_co_occurrence", detail=0.0)
    (found,) = lists(shelf_of(cycle, 5), [recipe], asked_of([(0, 9)]), 1)
    (new,) = lists(shelf_of(cycle, 5), [recipe], asked_of([(0, 9)], [[0, 1, 2, 3, 4][:4]]), 2)

    assert found.tolist() == [[4]] and new.tolist() == [[4, -1]]


def test_blocks_of_requests_change_nothing(monkeypatch):
    rng = np.random.default_rng(1)
    shelf = shelf_of([(int(rng.integers(9)), int(rng.integers(12)), float(h)) for h in range(200)], 12)
    asked = asked_of([(int(rng.integers(9)), float(h)) for h in rng.integers(0, 220, 40)])
    recipes = [
        Recipe("recent_popularity", 24.0),
        Recipe("item_knn", 24.0, "users", own=0.3),
        Recipe("ease", detail=9.0),
    ]
    whole = lists(shelf, recipes, asked, 5)
    monkeypatch.setattr("edgerec.evaluation.baselines.ranking.SCORES_AT_ONCE", 12 * 7)

    assert [a.tolist() for a in whole] == [b.tolist() for b in lists(shelf, recipes, asked, 5)]


def test_a_rate_comes_from_rows_before_the_row_and_never_from_it():
    time_ms = np.array([0, 1, 2, 2]) * MS_PER_DAY
    label = np.array([1.0, 0.0, 1.0, 1.0])
    known = Rows(time_ms, {"item": np.array([7, 7, 7, 8])}, {"click": label})
    asked = Rows(np.array([0, 2, 9, 9]) * MS_PER_DAY, {"item": np.array([7, 7, 7, 9])}, {"click": np.zeros(4)})
    rate = Earlier(known, asked).rate("item", Task("click", "binary", "click"), 4.0)

    # The mean of all rows is 3/4; before the rows stand 0, 2 and 3 rows of item 7, none of item 9.
    assert rate == pytest.approx([3 / 4, (1 + 3) / (2 + 4), (2 + 3) / (3 + 4), 3 / 4])


def test_all_rates_together_tell_more_than_each_of_them():
    rng = np.random.default_rng(0)
    task = Task("click", "binary", "click")
    user, item = rng.integers(0, 40, 6_000), rng.integers(0, 40, 6_000)
    taste, charm = rng.normal(0, 1.5, 40), rng.normal(0, 1.5, 40)
    label = (rng.random(6_000) < 1 / (1 + np.exp(-taste[user] - charm[item]))).astype(float)
    rows = Rows(np.arange(6_000), {"user": user, "item": item}, {"click": label})
    known, asked = rows.take(np.arange(4_000)), rows.take(np.arange(4_000, 6_000))
    chosen = best_rates(known, asked, [task])
    found = {n: auc(asked.labels["click"], of["click"].scores(Earlier(known, asked), task)) for n, of in chosen.items()}

    assert found.keys() == {"item_rate", "own_rate", "rates"}
    assert found["rates"] > max(found["item_rate"], found["own_rate"]) + 0.05
    assert str(chosen["rates"]["click"]).startswith("weighted, most of all ")


def test_related_items_share_sessions_or_users():
    user, session = np.array([0, 0, 1, 1]), np.array([0, 1, 2, 2])
    rows = Interactions(user, np.array([0, 1, 1, 2]), np.arange(4), session, 2, 3)

    assert related_lists(RelatedRecipe("item_knn", "users", cosine=0.5), rows, 2).tolist()[0] == [1, -1]
    assert related_lists(RelatedRecipe("co_occurrence", "sessions"), rows, 2).tolist() == [[-1, -1], [2, -1], [1, -1]]


def test_later_rows_come_after_those_of_their_user():
    first, later = (shelf_of(rows, 4).rows for rows in ([(0, 0, 1), (1, 1, 2)], [(0, 2, 3), (1, 3, 3)]))
    both = first.then(later)

    assert both.user.tolist() == [0, 0, 1, 1] and both.item.tolist() == [0, 2, 1, 3]
    assert len(set(both.session.tolist())) == 4


def test_what_was_found_is_read_again_as_it_was(tmp_path):
    found, task = Baselines(), Task(name="next", kind="retrieval")
    found.add("ease", task, {"ndcg@10": mean(np.array([0.0, 1 / 3, 1.0])), "coverage": Estimate(0.1, 3)}, "ridge 200")
    found.add("own_frequency", task, {"ndcg@10": mean(np.array([0.5, 0.0])), "mrr": Estimate(np.nan, 0)}, "half-life")
    found.save(tmp_path / "kept.npz")
    again = Baselines.load(tmp_path / "kept.npz")

    assert again.chosen == found.chosen
    for name, of_tasks in found.metrics.items():
        for metric, estimate in of_tasks["next"].items():
            read = again.metrics[name]["next"][metric]
            assert (read.n, read.deviations is None) == (estimate.n, estimate.deviations is None)
            np.testing.assert_equal(read.value, estimate.value)
            np.testing.assert_equal(read.deviations, estimate.deviations)
