"""Two bundles on one device: who has which, and what is logged of it."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerec.errors import ConfigError
from edgerec.runtime import Recommender
from edgerec.runtime.experiment import Experiment, share_of, team_draft
from edgerec.runtime.logged_lists import LoggedList
from edgerec.runtime.store import EventStore
from tests import toy

LISTS = st.lists(st.sampled_from("abcdefghij"), unique=True, max_size=8)


def bundle(folder, version=1):
    folder.mkdir()
    return toy.write(folder, version=version)


@pytest.fixture
def two(tmp_path):
    """Two versions on one store."""
    store = tmp_path / "store.sqlite"
    with (
        Recommender.open(bundle(tmp_path / "a"), store=store) as a,
        Recommender.open(bundle(tmp_path / "b", 2), store=store) as b,
    ):
        yield a, b


@given(LISTS, LISTS, st.integers(0, 12), st.integers(0, 99))
def test_a_draft_holds_each_item_once_in_the_order_of_the_side_that_chose_it(a, b, k, seed):
    items, teams = team_draft(a, b, k, Random(seed))
    assert len(items) == len(set(items)) == len(teams) == min(k, len(set(a) | set(b)))
    for side, own in (("a", a), ("b", b)):
        chosen = [own.index(item) for item, team in zip(items, teams, strict=True) if team == side]
        assert chosen == sorted(chosen)
    for at in range(2, len(teams) + 1, 2):  # a round has one item of each side, while both have some
        assert set(teams[at - 2 : at]) == {"a", "b"} or {*a} <= {*items} or {*b} <= {*items}


def test_both_sides_are_first_equally_often():
    random = Random(0)
    first = [team_draft(["x", "y"], ["z", "w"], 2, random)[1][0] for _ in range(2000)]
    assert 0.46 < first.count("a") / 2000 < 0.54


def test_shares_are_even_and_another_salt_draws_anew():
    one, other = (np.array([share_of(salt, f"u{i}") for i in range(20_000)]) for salt in ("one", "two"))
    assert np.histogram(one, 10, (0, 1))[0] == pytest.approx(2000, rel=0.1)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.03
    assert share_of("ab", "c") != share_of("a", "bc")


def test_a_user_keeps_the_arm_over_restarts_and_lists_say_whose_they_are(two):
    a, b = two
    arm = Experiment(a, b, "s").arm
    assert Experiment(a, b, "s").arm == arm
    recommended = Experiment(a, b, "s").recommend(3, now=toy.NOW_MS)
    (logged,) = a._memory.store.lists.read()
    assert logged.bundle == {"a": "toy 1", "b": "toy 2"}[arm] and logged.name == recommended.name
    assert {Experiment(a, b, "s", unit=f"u{i}").arm for i in range(40)} == {"a", "b"}
    assert {Experiment(a, b, "s", unit=f"u{i}", share=1.0).arm for i in range(40)} == {"b"}


def test_a_forgotten_user_is_drawn_anew(two):
    a, b = two
    before = Experiment(a, b, "s")._unit_name()
    a.forget()
    assert Experiment(a, b, "s")._unit_name() != before


def test_an_interleaved_list_is_logged_with_its_teams_and_answers(two):
    a, b = two
    trial = Experiment(a, b, "s", mode="interleave")
    recommended = trial.recommend(4, now=toy.NOW_MS, context={"tab": "home"})
    assert trial.observe(recommended[1].item, "click", list_name=recommended.name)
    (logged,) = a._memory.store.lists.read()
    assert logged.bundle == "toy 1|toy 2" and sorted(logged.teams) == ["a", "a", "b", "b"]
    assert logged.items == tuple(row.item for row in recommended) and logged.context == {"tab": "home"}
    assert a._memory.store.events.answers(recommended.name) == {recommended[1].item: "click"}


@pytest.mark.parametrize(
    ("keys", "said"), [({"mode": "both"}, "expected ab or interleave"), ({"share": 2}, "expected 0 to 1")]
)
def test_a_wrong_experiment_is_refused(two, keys, said):
    with pytest.raises(ConfigError, match=said):
        Experiment(*two, "s", **keys)
    with pytest.raises(ConfigError, match="needs two bundles, got toy 1 twice"):
        Experiment(two[0], two[0], "s")


def test_lists_without_teams_are_stored_as_before(tmp_path):
    store = EventStore(tmp_path / "s.sqlite")
    logged = LoggedList("l", 5, "toy 1", ("i1",), (1.0,), (0.5,), 9, {})
    assert "teams" not in logged.to_json() and LoggedList.from_json("l", 5, logged.to_json()) == logged
    store.close()
