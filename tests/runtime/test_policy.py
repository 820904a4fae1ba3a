"""What a policy does to a list, by hand on the toy bundle: item i costs i, odd ones are blue, item 0 is first."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerec.bundle import Catalog, write_catalog
from edgerec.bundle.policy import Policy
from edgerec.errors import BundleError, ConfigError
from edgerec.runtime import Events, Recommender
from edgerec.runtime.slate import GroupLimit, Mix, arrange
from edgerec.tasks.units import MS_PER_DAY
from tests import toy

NOW = toy.NOW_MS


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Opens the toy bundle with a policy."""
    files, recommenders = toy.files, []

    def open_(n_items=8, **policy):
        def changed(*arguments):
            return {**files(*arguments), "policy.json": json.dumps({"weights": {"next": 1.0}, **policy}).encode()}

        monkeypatch.setattr(toy, "files", changed)
        recommenders.append(Recommender.of(toy.write(tmp_path, n_items)))
        return recommenders[-1]

    yield open_
    for rec in recommenders:
        rec.close()


def ids(result):
    return [r.item for r in result]


def past(*items, kind=0, time_ms=NOW):
    n = len(items)
    return Events(list(items), np.full(n, kind, np.int64), np.full(n, time_ms, np.int64))


def test_each_item_is_counted_under_the_rule_that_removed_it(opened):
    rec = opened(
        rules=[
            {"name": "for adults", "keep": "price < 6 OR :age >= 18"},
            {"name": "expired", "keep": "price * 340000000000 < :now"},
        ]
    )
    later = NOW + 800_000_000_000
    young = rec.recommend(k=8, now=NOW, user={"age": 12})
    grown = rec.recommend(k=8, now=later, user={"age": 30})
    unknown = rec.recommend(k=8, now=later)

    assert ids(young) == ["i0", "i1", "i2", "i3", "i4"]
    assert young.why_fewer == {"catalogue": 8, "rule for adults": 2, "rule expired": 1}
    assert len(grown) == 8
    assert unknown.why_fewer == {"catalogue": 8, "rule for adults": 2}
    assert rec.explain("i7", user={"age": 12}, now=later).removed_by == "rule for adults"
    assert rec.explain("i1", user={"age": 12}, now=later).removed_by is None


def test_a_boost_multiplies_the_utility(opened):
    plain = opened().recommend(k=8, now=NOW)
    rec = opened(boosts=[{"name": "blue", "where": "colour = 'blue'", "factor": 3.0}])
    boosted = rec.recommend(k=8, now=NOW)

    assert ids(boosted) == ["i1", "i3", "i5", "i7", "i0", "i2", "i4", "i6"]
    utility = {r.item: r.utility for r in plain}
    assert boosted[0].utility == pytest.approx(3 * utility["i1"])
    assert boosted[4].utility == pytest.approx(utility["i0"])


def test_what_was_had_lately_is_left_out_by_kind_and_age(opened):
    rec = opened(seen=[{"kind": "click", "days": 30}])
    clicked = past("i0", kind=1)
    assert "i0" not in ids(rec.recommend(k=8, now=NOW, history=clicked))
    assert "i0" in ids(rec.recommend(k=8, now=NOW + 31 * MS_PER_DAY, history=clicked))
    assert "i0" in ids(rec.recommend(k=8, now=NOW, history=past("i0", kind=2)))
    assert rec.recommend(k=8, now=NOW, history=clicked).why_fewer == {"catalogue": 8, "seen click": 1}
    assert "i0" not in ids(opened(seen=[{}]).recommend(k=8, now=NOW + 999 * MS_PER_DAY, history=past("i0")))


def test_what_was_shown_too_often_is_left_out_for_a_while(opened):
    rec = opened(caps=[{"shown": 2, "hours": 24}])
    assert ids(rec.recommend(k=2, now=NOW)) == ids(rec.recommend(k=2, now=NOW + 1)) == ["i0", "i1"]
    assert ids(rec.recommend(k=2, now=NOW + 2)) == ["i2", "i3"]
    assert rec.recommend(k=8, now=NOW + 3, log=False).why_fewer == {"catalogue": 8, "shown too often": 2}
    assert ids(rec.recommend(k=2, now=NOW + 2 * MS_PER_DAY)) == ["i0", "i1"]
    assert ids(rec.profile("another").recommend(k=2, now=NOW + 2)) == ["i0", "i1"]


def test_a_quota_holds_and_the_pool_is_widened_for_it(opened):
    rec = opened(n_items=40, quotas=[{"by": "colour", "most": 2}], pool=3)
    recommended = rec.recommend(k=6, now=NOW)
    # Item 0 has no colour and is free.
    assert ids(recommended) == ["i0", "i1", "i2", "i3", "i4"]
    assert recommended.why_fewer == {"catalogue": 40, "quota": 35}


def test_diversity_puts_unlike_items_first(opened):
    rec = opened()
    vectors = toy.table(8, 4)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    alike = unit @ unit[0]
    listed = ids(rec.recommend(k=2, now=NOW, diversity=1.0))
    assert listed == ["i0", f"i{int(alike.argmin())}"]
    assert ids(rec.recommend(k=3, now=NOW, diversity=0.0)) == ["i0", "i1", "i2"]


def test_calibration_holds_a_list_to_the_users_own_mix(opened):
    rec = opened(n_items=40, calibration={"by": "colour", "strength": 0.9})
    red = ids(rec.recommend(k=8, now=NOW, history=past("i2", "i4", "i6")))
    both = ids(rec.recommend(k=8, now=NOW, history=past("i2", "i5")))
    blue = [sum(int(i[1:]) % 2 for i in items) for items in (red, both)]
    assert blue[0] <= 1
    assert 3 <= blue[1] <= 5


@given(
    n=st.integers(1, 30),
    k=st.integers(1, 12),
    most=st.integers(1, 3),
    groups=st.integers(1, 4),
    diversity=st.floats(0, 0.5),
    strength=st.floats(0, 0.5),
    seed=st.integers(0, 99),
)
def test_a_list_has_no_item_twice_keeps_its_quotas_and_is_as_long_as_it_can_be(
    n, k, most, groups, diversity, strength, seed
):
    random = np.random.default_rng(seed)
    group = random.integers(-1, groups, n)
    share = np.full(groups, 1 / groups)
    chosen = arrange(
        random.normal(size=n).astype(np.float32),
        k,
        random.normal(size=(n, 3)).astype(np.float32),
        diversity,
        [GroupLimit(group, most)],
        Mix(group, share, strength),
    )
    counts = np.bincount(group[chosen][group[chosen] >= 0], minlength=groups)
    possible = (group < 0).sum() + np.minimum(np.bincount(group[group >= 0], minlength=groups), most).sum()
    assert len(set(chosen)) == len(chosen) == min(k, possible)
    assert (counts <= most).all()


def test_without_wishes_a_list_is_the_pool_from_its_start():
    assert arrange(np.array([0.5, 0.9, 0.1], np.float32), 2) == [1, 0]


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"wieghts": {}}, "no key 'wieghts'"),
        ({"weights": {"nxt": 1}}, "no key 'nxt'; its keys are"),
        ({"weights": {"next": True}}, "must be a number"),
        ({"rules": [{"name": "x", "keep": "prize < 2"}]}, "did you mean 'price'"),
        ({"rules": [{"keep": "price < 2"}]}, r"rules\[0\].name must be a string"),
        ({"rules": [{"name": "a", "keep": "1"}, {"name": "a", "keep": "1"}]}, "two rules have one name"),
        ({"boosts": [{"name": "b", "where": "1", "factor": 0}]}, "must be a number of at least 1e-06"),
        ({"quotas": [{"by": "size", "most": 1}]}, "no column 'size'"),
        ({"seen": [{"kind": "buy"}]}, "'buy' is not one of click, like"),
        ({"diversity": 0.6, "calibration": {"by": "colour", "strength": 0.6}}, "not be more than 1 together"),
        ({"pool": 0}, "whole number from 1 to 5000"),
        ({"explore": {"method": "luck"}}, "'luck' is not one of epsilon, thompson, linucb"),
        ({"log": {"rows": "many"}}, "log.rows must be a whole number"),
        ({"caps": {}}, "^$"),
    ],
)
def test_a_wrong_policy_is_refused_when_a_bundle_is_opened(opened, policy, message):
    if policy == {"caps": {}}:  # nothing in it
        opened(**policy)
        return
    with pytest.raises(BundleError, match=message) as caught:
        opened(**policy)
    assert "policy.json" in str(caught.value) and "\n" not in str(caught.value)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["price", "colour"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(["weights", "rules", "boosts", "seen", "caps", "quotas", "diversity", "calibration", "pool",
                        "log", "explore", "adapt", "where", "other"])  # fmt: skip


@given(value=st.dictionaries(keys, json_values, max_size=4) | json_values)
def test_any_json_is_a_policy_or_a_config_error(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "policy.sqlite"
    if not path.exists():
        write_catalog(path, toy.items(3), ["price", "colour"])
    catalog = Catalog(path)
    try:
        assert isinstance(Policy.parse(value, catalog, ["next"], ["click"]), Policy)
    except ConfigError as error:
        assert "policy" in str(error)
    finally:
        catalog.close()
