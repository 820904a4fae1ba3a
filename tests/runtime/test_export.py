from random import Random

import numpy as np
import pytest

from edgerec.bundle import Catalog, write_catalog
from edgerec.runtime.export import agreed, consent, exported, exported_lists, other_item, other_kinds, write_rows
from edgerec.runtime.logged_lists import LoggedList
from edgerec.runtime.store import EventStore
from edgerec.tasks.units import MS_PER_DAY
from tests import toy

KINDS = ("click", "like")


@pytest.fixture
def catalog(tmp_path):
    write_catalog(tmp_path / "c.sqlite", toy.items(8), [])
    return Catalog(tmp_path / "c.sqlite")


@pytest.fixture
def store():
    opened = EventStore(None)
    opened.events.append("i1", "click+like", 86_400_005, {"tab": "home"}, profile="anna", list_name="l")
    opened.events.append("gone", "event", 86_400_006, {}, profile="anna")
    opened.events.append("i2", "click", 7, {}, profile="bob")
    opened.lists.append(LoggedList("l", 5, "toy 1", ("i1", "i3"), (1.0, 0.25), (0.5, 0.4), 9, {"tab": "home"}), "anna")
    return opened


def test_only_who_agreed_is_exported_and_no_name_is(store, catalog):
    random = Random(0)
    assert list(exported(store, catalog, KINDS, None, random)) == []
    consent(store, "anna", True)
    assert agreed(store) == ["anna"]
    assert list(exported(store, catalog, KINDS, None, random)) == [
        {"user": 1, "item": "i1", "kind": "click+like", "time_ms": 86_400_005},
        {"user": 1, "item": "gone", "kind": "event", "time_ms": 86_400_006},
    ]
    consent(store, "anna", False)
    assert agreed(store) == []


def test_with_noise_times_are_days_and_unknown_items_stay_at_home(store, catalog):
    consent(store, "anna", True)
    (row,) = exported(store, catalog, KINDS, 50.0, Random(0))
    assert row == {"user": 1, "item": "i1", "kind": "click+like", "time_ms": MS_PER_DAY}


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_an_item_is_as_private_as_is_said(epsilon):
    random, n, draws = Random(0), 5, 40_000
    told = {item: np.bincount([other_item(item, n, epsilon, random) for _ in range(draws)], minlength=n) / draws
            for item in (0, 3)}  # fmt: skip
    ratio = told[0] / told[3]
    assert ratio.max() == pytest.approx(np.exp(epsilon), rel=0.08)
    assert ratio.min() == pytest.approx(np.exp(-epsilon), rel=0.08)
    assert told[0][1:] == pytest.approx(told[0][1:].mean(), abs=0.01)


def test_a_kind_is_flipped_as_often_as_is_said():
    random = Random(0)
    told = np.array([other_kinds(0b01, 2, 1.0, random) for _ in range(20_000)])
    assert np.mean(told & 1 == 0) == pytest.approx(1 / (np.e + 1), abs=0.01)
    assert np.mean(told >> 1 == 1) == pytest.approx(1 / (np.e + 1), abs=0.01)


def test_lists_are_exported_with_propensities_and_answers(store):
    consent(store, "anna", True)
    first, second = exported_lists(store, KINDS, Random(0))
    assert (first["item"], first["rank"], first["probability"], first["kind"]) == ("i1", 1, 1.0, "click+like")
    assert (second["item"], second["rank"], second["probability"], second["kind"]) == ("i3", 2, 0.25, None)
    assert (second["user"], second["list"], second["pool"], second["bundle"]) == (1, 1, 9, "toy 1")


def test_only_its_owner_reads_an_export(tmp_path):
    assert write_rows([{"a": 1}], tmp_path / "out.jsonl") == 1
    assert (tmp_path / "out.jsonl").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "out.jsonl").read_text() == '{"a": 1}\n'
