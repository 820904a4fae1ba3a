"""Several users of one device, and what is told of a score."""

import numpy as np
import pytest

from edgerec.errors import ConfigError
from edgerec.runtime import Recommender
from edgerec.runtime.memory import UserMemory
from edgerec.runtime.model import Model
from edgerec.runtime.store import EventStore
from tests import toy

NOW = toy.NOW_MS


@pytest.fixture
def rec(toy_bundle, tmp_path):
    with Recommender.open(toy_bundle, store=tmp_path / "s.sqlite") as opened:
        yield opened


def history(rec):
    return rec.arrays.rank(1, now=NOW).history.tolist()


def test_profiles_have_pasts_of_their_own(rec):
    anna, bob = rec.profile("anna"), rec.profile("bob")
    anna.observe("i5", time=NOW)
    bob.observe("i2", time=NOW)
    assert (history(anna), history(bob), history(rec)) == ([5], [2], [])
    assert rec.profiles() == ["anna", "bob"]
    anna.forget()
    anna.close()  # a view ends alone
    assert (history(rec.profile("anna")), history(bob)) == ([], [2])


def test_a_session_leaves_nothing_behind(rec, tmp_path):
    rec.observe("i1", time=NOW)
    with rec.session() as visitor:
        visitor.observe("i5", time=NOW)
        recommended = visitor.recommend(k=2, log=True)
        assert recommended.name and history(visitor) == [5]
    assert history(rec) == [1]
    assert rec.health()["lists"] == 0


def test_a_session_is_wiped_when_its_visitor_leaves(rec):
    at = [1000.0]
    visitor = Recommender(rec._device, UserMemory(EventStore(None), idle_s=60, clock_s=lambda: at[0]))
    visitor.observe("i5", time=NOW)
    at[0] += 59
    assert history(visitor) == [5]
    at[0] += 61
    assert history(visitor) == []


def test_an_update_reaches_every_view(rec, tmp_path):
    anna = rec.profile("anna")
    from edgerec.bundle import write_bundle

    (tmp_path / "v2").mkdir()
    write_bundle(tmp_path / "v2" / "b", toy.files(tmp_path / "v2", 9, 4), {**toy.manifest(9, 4), "version": 2})
    rec.update(tmp_path / "v2" / "b")
    assert anna.bundle.manifest.version == 2


def test_an_event_is_told_once_and_a_full_disk_is_no_error(rec):
    assert rec.observe("i5", event_id="e1", time=NOW)
    assert rec.observe("i5", event_id="e1", time=NOW)
    rec._memory.store._database.connection.execute("PRAGMA query_only = ON")
    assert not rec.observe("i6", time=NOW)
    assert rec.recommend(k=2, now=NOW, log=True).name is None
    assert rec.health()["lost"] == 2 and rec.health()["events"] == 1


def test_a_utility_is_its_parts(rec):
    rec.observe("i5", time=NOW)
    rec.observe("i2", time=NOW)
    explained = rec.explain("i5", now=NOW, context={"tab": "home"})
    score = rec.score(["i5"], now=NOW, context={"tab": "home"})[0]

    assert explained.utility == pytest.approx(score.utility)
    assert explained.popular + explained.context + explained.history == pytest.approx(explained.utility)
    assert explained.popular == pytest.approx(1 / (1 + np.exp(-toy.prior(8)[5])))
    assert explained.context == pytest.approx(0)  # the toy's graph takes no context
    assert [c.item for c in explained.past] == ["i5", "i2"]
    vectors = toy.table(8, 4)
    assert explained.past[0].weight == pytest.approx(vectors[5] @ vectors[5])
    logit = toy.prior(8)[5] + vectors[5] @ vectors[5] + vectors[5] @ vectors[2]
    without = logit - vectors[5] @ vectors[5]
    assert explained.past[0].lost == pytest.approx(1 / (1 + np.exp(-logit)) - 1 / (1 + np.exp(-without)))


def test_a_parameter_stands_in_a_condition(rec):
    items = [r.item for r in rec.recommend(where="price < :most", parameters={"most": 2})]
    assert items == ["i0", "i1"]
    with pytest.raises(ConfigError, match="no value for :most; give it in parameters"):
        rec.recommend(where="price < :most")


def test_a_session_that_ended_says_so(rec):
    visitor = rec.session()
    visitor.close()
    visitor.close()
    with pytest.raises(ConfigError, match="closed"):
        visitor.recommend()


def test_a_clock_from_before_the_bundle_is_known_to_be_wrong(rec):
    created = rec.arrays.model.created_ms
    at = [created + 50_000]
    rec._device.model = Model(rec.bundle, clock_ms=lambda: at[0])
    rec.observe("i1")
    at[0] = 5_000  # a board without a battery starts
    rec.observe("i2")
    asked = rec.explain("i3")
    at[0] = created + 60_000
    rec.observe("i3")
    assert rec._memory.store.events.read(()).time_ms.tolist() == [created + 50_000, created, created + 60_000]
    assert asked.utility > 0


def test_profiles_are_kept_with_their_past(rec):
    assert rec.profile("anna")._memory is rec.profile("anna")._memory and rec.profile("") is rec
    assert rec.profile("anna").profile("").observe("i5")
    assert rec.health()["events"] == 1 and history(rec.profile("anna")) == []


def test_a_store_that_cannot_be_read_any_more_is_no_reason_to_recommend_nothing(rec):
    rec.observe("i5", time=NOW)
    rec._memory.store._database.connection.execute("DROP TABLE events")
    assert [r.item for r in rec.recommend(k=2, now=NOW)] == ["i0", "i1"]
    assert not rec.observe("i6", time=NOW)


def test_numbers_of_numpy_are_numbers(rec):
    assert rec.observe("i5", time=NOW, context={"tab": np.str_("home")})
    asked = {"user": {"age": np.float32(40)}, "context": {"tab": "home"}, "now": NOW}
    assert rec.recommend(k=1, log=True, **asked).name
    assert rec._memory.store.lists.read()[0].context == {"age": 40.0, "tab": "home"}
