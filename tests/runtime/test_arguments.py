"""What a caller may give, and that the rest is refused in one line."""

import time
from datetime import UTC, datetime
from fractions import Fraction

import numpy as np
import pytest

from edgerec.bundle.policy import Bounds
from edgerec.errors import ConfigError, DataError, EdgerecError
from edgerec.runtime import ArrayRecommender, Events, Recommender
from edgerec.runtime.arguments import MAX_NAME
from tests import toy

NOW = toy.NOW_MS


@pytest.fixture
def rec(toy_bundle):
    with Recommender.open(toy_bundle) as opened:
        yield opened


@pytest.mark.parametrize("seconds", [1_720_000_000, 1_720_000_000.5, np.float64(1.72e9), np.int64(1_720_000_000)])
def test_seconds_are_refused_wherever_a_time_is_given(rec, seconds):
    history = Events(["i1"], np.array([0]), np.array([seconds]))
    for call in (
        lambda: rec.observe("i1", time=seconds),
        lambda: rec.recommend(now=seconds),
        lambda: rec.recommend(now=NOW, history=history),
        lambda: rec.score(["i1"], now=seconds),
        lambda: rec.explain("i1", now=NOW, history=history),
    ):
        with pytest.raises(ConfigError, match="is in seconds; give milliseconds since 1970 UTC"):
            call()
    assert rec.health()["events"] == 0


@pytest.mark.parametrize(
    "given",
    [0, -1, 5, 253_402_300_799_000, 10**15, 2**70, -(2**70), 1e308, float("nan"), float("inf"), "today", True, [NOW],
     datetime(1985, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC), datetime(2024, 1, 1)],
)  # fmt: skip
def test_what_is_no_plausible_time_is_refused_in_one_line(rec, given):
    for call in (lambda: rec.observe("i1", time=given), lambda: rec.recommend(now=given)):
        with pytest.raises(ConfigError, match=r"^(time|now) [^\n]*$"):
            call()


def test_an_event_may_lie_a_day_ahead_and_no_more(rec):
    day_ms = 86_400_000
    now = int(1000 * time.time())
    assert rec.observe("i1", time=now + day_ms - 60_000)
    with pytest.raises(ConfigError, match="is in the future"):
        rec.observe("i1", time=now + day_ms + 60_000)
    assert rec.recommend(now=now + 400 * day_ms)  # a question about later harms nothing


def test_times_may_be_any_number_or_a_datetime(rec):
    for given in (NOW, float(NOW), np.int64(NOW), datetime.fromtimestamp(NOW / 1000, UTC)):
        assert rec.observe("i1", time=given)
    assert set(rec._memory.store.events.read(()).time_ms.tolist()) == {NOW}


@pytest.mark.parametrize("wrong", ["0045", "", b"i1", 45, None, [45], [None], ["i1", ["i2"]], np.array([4, 5])])
def test_one_text_is_no_collection_of_ids(rec, wrong):
    with pytest.raises(ConfigError, match="must be a list of ids"):
        rec.recommend(exclude=wrong)
    with pytest.raises(ConfigError, match="must be a list of ids"):
        rec.score(wrong)


@pytest.mark.parametrize("kind", [list, tuple, set, np.array, iter, dict.fromkeys, lambda ids: np.array(ids, object)])
def test_any_collection_of_ids_is_taken(rec, kind):
    assert [r.item for r in rec.recommend(k=2, exclude=kind(["i0", "i1"]))] == ["i2", "i3"]
    assert len(rec.score(kind(["i0", "i1"]))) == 2


def test_ids_and_names_have_a_bound(rec):
    long = "x" * (MAX_NAME + 1)
    with pytest.raises(DataError, match=f"at most {MAX_NAME} characters; got {MAX_NAME + 1}"):
        rec.observe(long)
    for given in ({"event_id": long}, {"list_name": long}, {"context": {"tab": "x" * 5000}}):
        with pytest.raises(ConfigError, match="at most"):
            rec.observe("i1", **given)
    with pytest.raises(ConfigError, match="at most"):
        rec.profile(long)
    assert rec.profile("x" * MAX_NAME).observe("x" * MAX_NAME, event_id="x" * MAX_NAME)


WRONG = [
    {"k": 0}, {"k": 1.5}, {"k": "3"}, {"k": True}, {"k": 1e308}, {"k": -(10**30)},
    {"diversity": "x"}, {"diversity": float("nan")}, {"diversity": 2}, {"diversity": [0.5]},
    {"weights": {"click": 1e39}}, {"weights": {"click": float("nan")}}, {"weights": {"click": "1"}}, {"weights": [1.0]},
    {"weights": "click"}, {"context": [1]}, {"context": "tab"}, {"user": {"age": "old"}}, {"user": {3: 4}},
    {"where": 3}, {"where": "price < \ud800"}, {"where": "price < :x", "parameters": {"x": [1]}},
    {"where": "price < :x", "parameters": "x"}, {"history": Events(["i1"], np.array([0]), np.array(["x"]))},
    {"history": Events(["i1"], np.array([0, 1]), np.array([NOW]))}, {"history": [("i1", 0, NOW)]},
]  # fmt: skip


@pytest.mark.parametrize("given", WRONG, ids=str)
def test_no_argument_raises_anything_but_an_error_of_ours(rec, given):
    with pytest.raises(EdgerecError) as caught:
        rec.recommend(**given)
    assert "\n" not in str(caught.value)


EXTREME = [
    {"user": {"age": 1e308}}, {"user": {"age": -1e308}}, {"user": {"age": np.float64("nan")}},
    {"context": {"tab": "\ud800"}}, {"exclude": ["\ud800"]}, {"weights": {"click": 1e9, "watch": -1e9}},
    {"k": np.int64(3)}, {"k": 10**30},
]  # fmt: skip


@pytest.mark.parametrize("given", EXTREME, ids=str)
def test_extreme_values_give_a_list_without_nan(rec, given):
    rows = rec.recommend(**given)
    assert rows and all(np.isfinite(r.utility) and all(np.isfinite(list(r.probability.values()))) for r in rows)


@pytest.mark.parametrize("ahead", [0, 730])
def test_one_wrong_clock_erases_nobody(toy_bundle, tmp_path, ahead, monkeypatch):
    with Recommender.open(toy_bundle, store=tmp_path / "s.sqlite") as rec:
        rec._device.store.bound(Bounds(days=400))
        rec.profile("anna").observe("i1")
        clock = time.time_ns() + ahead * 86_400 * 10**9
        monkeypatch.setattr(time, "time_ns", lambda: clock)
        for _ in range(130):
            rec.observe("i2")
        monkeypatch.undo()
        rec.observe("i3")
        assert rec.profile("anna")._memory.store.events.read((), "anna").item == ["i1"]


@pytest.mark.parametrize("wrong", ["\ud800", "", 5, None, b"i1", ["i1"], "x" * 5000])
def test_what_is_no_item_is_named_in_one_line(rec, wrong):
    for call in (lambda: rec.similar(wrong), lambda: rec.explain(wrong), lambda: rec.observe(wrong)):
        with pytest.raises(EdgerecError) as caught:
            call()
        assert len(str(caught.value)) < 300 and "\n" not in str(caught.value)


HUGE = (10**400, -(10**400), 10**5000, Fraction(10**400))


@pytest.mark.parametrize("huge", HUGE, ids=["10^400", "-10^400", "10^5000", "10^400/1"])
def test_a_number_that_no_float_holds_is_refused_in_one_line(rec, huge):
    for call in (
        lambda: rec.observe("i1", time=huge),
        lambda: rec.observe("i1", context={"tab": huge}),
        lambda: rec.recommend(now=huge),
        lambda: rec.recommend(diversity=huge),
        lambda: rec.recommend(weights={"click": huge}),
        lambda: rec.recommend(user={"age": huge}),
        lambda: rec.recommend(where="price < :x", parameters={"x": huge}),
        lambda: rec.recommend(history=Events(["i1"], np.array([0]), [huge])),
    ):
        with pytest.raises(ConfigError) as caught:
            call()
        assert len(str(caught.value)) < 200 and "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [{}, [], 5, None, b"click", "\ud800", "click+" * 400 + "click"], ids=repr)
def test_a_kind_is_a_text_that_is_not_too_long(rec, kind):
    with pytest.raises(ConfigError, match=r"^kind [^\n]*$"):
        rec.observe("i1", kind)
    assert rec.health()["events"] == 0


class Unprintable:
    """What cannot even be shown."""

    def __repr__(self):
        raise RuntimeError


NESTED: list = []
for _ in range(5000):
    NESTED = [NESTED]
TABLE = np.array([["i1", "i2"], ["i3", "i4"]])


@pytest.mark.parametrize(
    "odd", [Unprintable(), NESTED, {"next": NESTED}, TABLE, TABLE[0], {"i1"}], ids=lambda v: type(v).__name__
)
def test_what_cannot_be_shown_hashed_or_called_true_is_refused_in_one_line(rec, odd):
    for call in (
        *(lambda name=name: rec.recommend(**{name: odd}) for name in
          ("k", "weights", "where", "parameters", "diversity", "context", "user", "now", "history")),
        lambda: rec.recommend(weights={"next": odd}),
        lambda: rec.recommend(where="price < :p", parameters={"p": odd}),
        lambda: rec.recommend(user={"age": odd}),
        lambda: rec.observe("i1", odd),
        lambda: rec.observe("i1", time=odd),
        lambda: rec.observe("i1", event_id=odd),
        lambda: rec.similar(odd),
        lambda: rec.profile(odd),
        lambda: rec.session(odd),
        lambda: rec.update(odd),
    ):  # fmt: skip
        with pytest.raises(ConfigError) as caught:
            call()
        assert len(str(caught.value)) < 300 and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "odd", [NESTED, TABLE, {"a": {"b": 1}}, UTC, datetime(2024, 1, 1)], ids=lambda v: type(v).__name__
)
def test_any_value_of_a_category_is_taken_as_its_text_or_refused(rec, odd):
    for call in (rec.recommend, lambda context: rec.recommend(context=context, log=True),
                 lambda context: rec.observe("i1", context=context)):  # fmt: skip
        try:
            assert call(context={"tab": odd})
        except ConfigError as error:
            assert odd is NESTED and len(str(error)) < 300


@pytest.mark.parametrize("odd", [float("nan"), "x", -1, [1], None])
def test_seconds_of_a_session_are_a_number(rec, odd):
    with pytest.raises(ConfigError, match="idle_s must be a number between 0"):
        rec.session(odd)


def test_a_condition_that_is_too_long_is_not_repeated(rec):
    with pytest.raises(ConfigError) as caught:
        rec.recommend(where="price < 1 OR " * 400 + "x" * 3000)
    assert len(str(caught.value)) < 300


ODD_PATHS = ["", "\0", "\ud800", "x" * 5000, "/", 5, None, [], {}, b"x", 1.5, TABLE]


@pytest.mark.parametrize("odd", ODD_PATHS, ids=lambda v: repr(v)[:12])
def test_what_is_no_path_is_refused_in_one_line(toy_bundle, tmp_path, odd, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    calls = [lambda: Recommender.open(odd), lambda: Recommender.open(toy_bundle).update(odd),
             lambda: Recommender.of(odd), lambda: ArrayRecommender.of(odd)]  # fmt: skip
    if odd is not None:
        calls += [lambda: Recommender.open(toy_bundle, odd), lambda: Recommender.open(toy_bundle, updates=odd)]
    for call in calls:
        with pytest.raises(EdgerecError) as caught:
            call()
        assert len(str(caught.value)) < 300 and "\n" not in str(caught.value)
    assert not list(home.iterdir())


@pytest.mark.parametrize(
    "odd",
    [5, 1.5, [], [5], [None], {}, "x", "\0", "\ud800", TABLE, Unprintable()],
    ids=lambda v: repr(v)[:12] if not isinstance(v, Unprintable) else "unprintable",
)
def test_what_is_no_key_is_refused_in_one_line(toy_bundle, tmp_path, odd):
    pytest.importorskip("cryptography")
    for how in ({"public_key": odd}, {"store": tmp_path / "s.sqlite", "store_key": odd}):
        with pytest.raises(EdgerecError) as caught:
            Recommender.open(toy_bundle, **how)
        assert len(str(caught.value)) < 300 and "\n" not in str(caught.value)
