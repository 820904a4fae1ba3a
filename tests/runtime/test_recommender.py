import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import numpy as np
import pytest

from edgerec.bundle import write_bundle
from edgerec.errors import BundleError, ConfigError, DataError
from edgerec.runtime import Events, Recommender
from edgerec.tasks.units import MS_PER_HOUR
from tests import toy

NOW = toy.NOW_MS


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def events(*items, kind=0, time_ms=NOW):
    n = len(items)
    return Events(list(items), np.full(n, kind, np.int64), np.full(n, time_ms, np.int64))


@pytest.fixture
def rec(toy_bundle):
    with Recommender.open(toy_bundle) as opened:
        yield opened


def ids(result):
    return [r.item for r in result]


def test_a_user_without_history_gets_the_prior_and_is_told_so(rec):
    result = rec.recommend(k=3, explain=True)

    assert ids(result) == ["i0", "i1", "i2"]
    assert [r.title for r in result] == ["Item 0", "Item 1", "Item 2"]
    assert result[0].utility == pytest.approx(sigmoid(0.5))
    assert result[0].probability["click"] == pytest.approx(sigmoid(0.5 - 1.0))
    assert [reason.kind for reason in result[0].reasons] == ["popular"]
    assert result.why_fewer == {}


def test_attributes_are_read_from_the_catalogue(rec):
    assert rec.score(["i3"])[0].attributes == {"price": 3.0, "colour": "blue", "tags": ["three"]}


def test_an_observed_event_changes_the_next_result_and_is_its_reason(rec):
    before = rec.score(["i5"], now=NOW)[0].utility
    rec.observe("i5", time=NOW)
    after = rec.score(["i5"], explain=True, now=NOW)[0]

    vector = toy.table(8, 4)[5]
    assert after.utility == pytest.approx(sigmoid(toy.prior(8)[5] + vector @ vector))
    assert after.utility > before
    assert (after.reasons[0].kind, after.reasons[0].item) == ("again", "i5")
    assert after.reasons[0].weight == pytest.approx(vector @ vector)
    assert rec.score(["i4"], explain=True, now=NOW)[0].reasons[0].kind == "history"


def test_an_event_fades_with_its_age(rec):
    rec.observe("i5", time=NOW)
    vector = toy.table(8, 4)[5]
    an_hour_later = rec.score(["i5"], now=NOW + MS_PER_HOUR)[0].utility
    assert an_hour_later == pytest.approx(sigmoid(toy.prior(8)[5] + vector @ vector / 2))


def test_times_may_be_datetimes_with_a_timezone(rec):
    rec.observe("i5", time=datetime.fromtimestamp(NOW / 1000, UTC))
    assert (
        rec.arrays.rate(np.array([5]), now=NOW).utility
        == rec.arrays.rate(np.array([5]), now=NOW, history=events("i5")).utility
    )
    with pytest.raises(ConfigError, match="no timezone"):
        rec.recommend(now=datetime(2024, 1, 1))


def test_a_history_given_by_ids_or_by_indices_scores_as_the_store(rec):
    for item in ("i5", "i2", "i5"):
        rec.observe(item, "click", time=NOW)
    stored = rec.arrays.rank(8, now=NOW)
    by_id = rec.arrays.rank(8, now=NOW, history=events("i5", "i2", "i5", kind=1))
    indices = Events(np.array([5, 2, 5]), np.ones(3, np.int64), np.full(3, NOW))
    by_index = rec.arrays.rank(8, now=NOW, history=indices)

    for other in (by_id, by_index):
        assert np.array_equal(stored.item, other.item)
        assert np.array_equal(stored.utility, other.utility)
        assert np.array_equal(stored.history, other.history)


def test_recommend_and_score_agree(rec):
    rec.observe("i6", time=NOW)
    ranked = rec.arrays.rank(8, now=NOW)
    rated = rec.arrays.rate(ranked.item, now=NOW)
    np.testing.assert_array_equal(ranked.utility, rated.utility)
    np.testing.assert_array_equal(ranked.probability, rated.probability)


def test_weights_choose_the_tasks(rec):
    watch = rec.score(["i0"], weights={"watch": 2.0})[0]
    assert watch.utility == pytest.approx(2 * sigmoid(0.5 + 1.0))


def test_excluded_items_never_come_back(rec):
    assert ids(rec.recommend(k=2, exclude=["i0", "nowhere"])) == ["i1", "i2"]


def test_where_filters_the_catalogue(rec):
    assert ids(rec.recommend(k=2, where="price >= 3 AND colour = 'blue'")) == ["i3", "i5"]


def test_k_above_the_catalogue_gives_all_and_says_why(rec):
    result = rec.recommend(k=20)
    assert len(result) == 8
    assert result.why_fewer == {"catalogue": 8}


def test_each_lost_item_is_counted_once_under_its_cause(rec):
    result = rec.recommend(k=8, exclude=["i0", "i1"], where="price BETWEEN 1 AND 4")
    assert ids(result) == ["i2", "i3", "i4"]
    assert result.why_fewer == {"catalogue": 8, "excluded": 2, "where": 3}


def test_nothing_left_is_an_empty_list_that_says_why(rec):
    result = rec.recommend(where="price > 100")
    assert result == []
    assert result.why_fewer == {"catalogue": 8, "where": 8}


def test_a_task_without_repeats_leaves_out_the_whole_past_also_what_the_graph_does_not_see(tmp_path):
    n_items, past = 24, [f"i{i}" for i in range(20)]
    manifest = toy.manifest(n_items, 4)
    assert manifest["inputs"]["history"]["max_items"] == 16
    manifest["tasks"][0]["repeats"] = "exclude"  # "next"
    write_bundle(tmp_path / "bundle", toy.files(tmp_path, n_items, 4), manifest)

    with Recommender.open(tmp_path / "bundle") as rec:
        new = rec.recommend(k=n_items, weights={"next": 1.0}, history=events(*past), now=NOW)
        mixed = rec.recommend(k=n_items, weights={"next": 1.0, "click": 1.0}, history=events(*past), now=NOW)

    assert sorted(ids(new)) == ["i20", "i21", "i22", "i23"]
    assert new.why_fewer == {"catalogue": 24, "history": 20}
    assert len(mixed) == n_items


def test_an_unknown_item_in_the_history_is_ignored_in_scoring(rec):
    plain = rec.recommend(now=NOW, history=events("i5"))
    mixed = rec.recommend(now=NOW, history=events("gone", "i5"))
    assert ids(plain) == ids(mixed)
    assert plain[0].utility == mixed[0].utility


def test_indices_outside_the_catalogue_are_ignored_in_a_history(rec):
    odd = Events(np.array([-1, 5, 8]), np.zeros(3, np.int64), np.full(3, NOW))
    assert rec.arrays.rank(1, now=NOW, history=odd).history.tolist() == [5]


def test_an_unknown_item_is_kept_in_the_log_for_a_later_bundle(tmp_path):
    store = tmp_path / "state.sqlite"
    with Recommender.open(toy.write(tmp_path, n_items=8), store=store) as old:
        old.observe("i8", time=NOW)
        assert old.arrays.rank(1, now=NOW).history.tolist() == []
    with Recommender.open(toy.write(tmp_path, n_items=9), store=store) as new:
        assert new.arrays.rank(1, now=NOW).history.tolist() == [8]


def test_forget_erases_the_history(rec):
    rec.observe("i5")
    rec.forget()
    assert rec.arrays.rank(1).history.tolist() == []


def test_similar_never_returns_the_item_itself(rec):
    similarity = toy.table(8, 4) @ toy.table(8, 4)[3]
    best = max((i for i in range(8) if i != 3), key=lambda i: similarity[i])
    result = rec.similar("i3", k=8)

    assert len(result) == 7 and "i3" not in ids(result)
    assert result[0].item == f"i{best}"
    assert result[0].utility == pytest.approx(similarity[best])
    assert result.why_fewer == {"catalogue": 8, "excluded": 1}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: r.recommend(weights={"clik": 1}), "weights: no task 'clik'; this bundle has: next, click, like"),
        (lambda r: r.recommend(weights={"click": float("nan")}), "weights: click must be a number between"),
        (lambda r: r.recommend(weights={"click": "much"}), "weights: click must be a number between"),
        (lambda r: r.recommend(k=0), "k must be at least 1, got 0"),
        (lambda r: r.recommend(context={"tap": "home"}), "context: no column 'tap', did you mean 'tab'"),
        (lambda r: r.recommend(context={"country": "DE"}), "context: no column 'country'"),
        (lambda r: r.recommend(user={"age": "old"}), "user: age must be a number, got 'old'"),
        (lambda r: r.recommend(where="prize < 2"), "no such column: prize, did you mean 'price'"),
        (lambda r: r.score(["i99"]), "no item 'i99' in the catalogue; did you mean 'i0' or 'i1' or 'i2'?"),
        (lambda r: r.similar("i99"), "no item 'i99' in the catalogue"),
        (lambda r: r.arrays.rate(np.array([8])), "item indices from 0 to 7"),
        (lambda r: r.observe("i1", context={"tap": 1}), "context: no column 'tap'"),
        (lambda r: r.observe("i1", "purchase"), "unknown kind 'purchase'; this bundle knows: event, click, like"),
        (lambda r: r.observe(""), "named by its id"),
        (lambda r: r.recommend(history=Events(["i1"], np.zeros(2, np.int64), np.full(1, NOW))), "equal length"),
    ],
)
def test_a_wrong_call_is_one_clear_line(rec, call, message):
    with pytest.raises((ConfigError, DataError), match=message) as caught:
        call(rec)
    assert "\n" not in str(caught.value)


def test_an_unseen_or_missing_value_is_unknown_not_an_error(rec):
    model, past = rec.arrays.model, rec.arrays.history(None)
    unseen = model.encode(past, {"context": {"tab": "moon"}, "user": {"country": None, "age": None}, "now": NOW})
    none = model.encode(past, {"now": NOW})
    assert unseen.context_categorical.tolist() == none.context_categorical.tolist() == [0, 0, 22 + 1]
    assert unseen.context_numeric.tolist() == none.context_numeric.tolist()


def test_a_bundle_without_context_has_no_such_input(tmp_path):
    with Recommender.open(toy.write(tmp_path, with_context=False)) as rec:
        assert ids(rec.recommend(k=1)) == ["i0"]
        with pytest.raises(ConfigError, match=r"no column 'tab' \(this bundle has: none\)"):
            rec.recommend(context={"tab": "home"})


def test_items_that_are_not_available_are_no_candidates(tmp_path, monkeypatch):
    plain = toy.items
    monkeypatch.setattr(toy, "items", lambda n: [{**item, "available": item["id"] != "i0"} for item in plain(n)])
    with Recommender.open(toy.write(tmp_path)) as rec:
        result = rec.recommend(k=8)
    assert ids(result)[0] == "i1"
    assert result.why_fewer == {"catalogue": 8, "unavailable": 1}


def test_a_closed_recommender_says_so(toy_bundle):
    rec = Recommender.open(toy_bundle)
    rec.close()
    rec.close()
    with pytest.raises(ConfigError, match="closed"):
        rec.recommend()


def test_a_damaged_bundle_is_refused_at_open(toy_bundle):
    (toy_bundle / "weights.bin").write_bytes((toy_bundle / "weights.bin").read_bytes()[:-7])
    with pytest.raises(BundleError, match=r"weights.bin: \d+ bytes, expected"):
        Recommender.open(toy_bundle)


def test_a_graph_that_does_not_load_is_a_bundle_error(tmp_path, monkeypatch):
    graphs = toy.graphs
    monkeypatch.setattr(toy, "graphs", lambda *a: {**graphs(*a), "recommend.onnx": b"not onnx"})
    with pytest.raises(BundleError, match=r"recommend.onnx: does not load"):
        Recommender.open(toy.write(tmp_path))


def test_a_catalogue_of_another_size_than_the_graphs_is_refused(tmp_path, monkeypatch):
    plain = toy.items
    monkeypatch.setattr(toy, "items", lambda n: plain(n - 1))
    with pytest.raises(BundleError, match="7 items, the graphs have 8"):
        Recommender.open(toy.write(tmp_path))


def test_conformance_passes_here(rec):
    assert rec.check() == 1


@pytest.mark.parametrize(("name", "value"), [("utility", [0.7, 0.6]), ("item", [5, 1])])
def test_conformance_tells_another_result(tmp_path, monkeypatch, name, value):
    files = toy.files

    def changed(*arguments):
        content = files(*arguments)
        conformance = json.loads(content["conformance.json"])
        conformance["requests"][0]["expect"][name] = value
        return {**content, "conformance.json": json.dumps(conformance).encode()}

    monkeypatch.setattr(toy, "files", changed)
    with (
        Recommender.open(toy.write(tmp_path)) as rec,
        pytest.raises(BundleError, match=f"conformance request 0 gives another '{name}'"),
    ):
        rec.check()


def test_threads_may_share_one_recommender(rec):
    def work(n):
        if n % 4 == 0:
            rec.observe(f"i{n % 8}", time=NOW)
        result = rec.recommend(k=3, now=NOW, explain=True, where=f"price < {4 + n % 3}")
        return len(result) == 3 and all(r.reasons for r in result)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(200)))
    assert len(rec._memory.store.events.read(("click", "like")).time_ms) == 50


def test_nothing_heavy_is_loaded_and_no_socket_is_opened(toy_bundle):
    code = (
        "import sys, socket\n"
        "def refuse(*a, **k): raise AssertionError('a socket was opened')\n"
        "socket.socket = refuse\n"
        "from edgerec.runtime import Recommender\n"
        f"rec = Recommender.open({str(toy_bundle)!r})\n"
        "rec.recommend(explain=True); rec.score(['i1']); rec.similar('i1'); rec.check()\n"
        "print(*{m.partition('.')[0] for m in sys.modules})\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert {"torch", "transformers", "polars", "onnx", "pydantic", "typer", "pandas"}.isdisjoint(loaded)
