"""Online evaluation: simulated A/A and A/B tests, interleaving, and a bundle in positions filled by exploration."""

import json
from random import Random

import numpy as np
import pytest

from edgerec.errors import DataError
from edgerec.evaluation.online import Place, ab_differences, analyse, interleaved_differences, read_places
from edgerec.evaluation.report import Report
from edgerec.evaluation.verdict import combine
from edgerec.metrics import always_valid
from edgerec.runtime import Recommender
from edgerec.runtime.experiment import Experiment, share_of, team_draft
from edgerec.runtime.export import consent, exported_lists
from tests import toy

K, USERS = 5, 500


def place(user, number, item, team=None, kind=None, bundle="shop 1", rank=1, probability=1.0, **more):
    return Place(
        user, number, number, bundle, rank, item, probability, team, kind, more.get("context"), more.get("past")
    )


def interleaved(seed, better):
    """One list of each simulated user: both sides rank at random, b puts the user's items first with `better`."""
    rng = np.random.default_rng(seed)
    for user in range(USERS):
        liked = set(rng.choice(20, 4, replace=False).tolist())
        a, b = rng.permutation(20).tolist(), rng.permutation(20).tolist()
        if rng.random() < better:
            b.sort(key=lambda i: i not in liked)
        items, teams = team_draft([str(i) for i in a], [str(i) for i in b], K, Random(seed * USERS + user))
        click = [int(i) in liked and rng.random() < 0.6 for i in items]
        yield [
            place(user, user, i, t, "click" if c else None, "shop 1|shop 2", r)
            for r, (i, t, c) in enumerate(zip(items, teams, click, strict=True), 1)
        ]


def assigned(seed, lift):
    """A/B by the devices' own hash; users differ in how much they click."""
    rng = np.random.default_rng(seed)
    for user in range(USERS):
        in_b = share_of(f"salt {seed}", f"u{user}") < 0.5
        rate = min(rng.beta(1, 6) + (lift if in_b else 0), 1.0)
        yield [
            place(user, user, str(r), None, "click" if rng.random() < rate else None, f"shop {1 + in_b}", r)
            for r in range(1, K + 1)
        ]


@pytest.mark.parametrize("way", ["interleaving", "a/b"])
def test_equal_sides_are_called_different_in_at_most_5_of_100_experiments_at_any_look(way):
    alarms = 0
    for seed in range(200):
        if way == "interleaving":
            differences = interleaved_differences(list(interleaved(seed, 0.0)), "shop 1|shop 2", "click")
        else:
            differences = ab_differences(list(assigned(seed, 0.0)), "shop 2", "click", 0.5)
        alarms += always_valid(differences).decided_at is not None
    assert alarms / 200 <= 0.05


def test_a_better_side_is_found_by_interleaving_and_by_a_b():
    found = always_valid(interleaved_differences(list(interleaved(0, 0.5)), "shop 1|shop 2", "click"))
    assert found.winner == "b" and found.low > 0 and found.decided_at <= USERS
    found = always_valid(ab_differences(list(assigned(0, 0.3)), "shop 2", "click", 0.5))
    assert found.winner == "b" and found.low < 0.3 * K < found.high


def test_nothing_is_decided_of_few_users():
    found = always_valid(np.ones(99))
    assert found.winner is None and found.to_json()["low"] is None
    assert always_valid(np.ones(100)).winner == "b"


def test_an_interval_holds_at_all_looks_at_once():
    rng = np.random.default_rng(0)
    left = sum(always_valid(rng.normal(size=2000)).decided_at is not None for _ in range(300))
    assert left / 300 <= 0.05


@pytest.fixture
def devices(tmp_path):
    """Lists of 30 devices, half of whom interleave two versions of a bundle; each is one exported file."""
    bundles = []
    explore = {"method": "epsilon", "slots": 2, "epsilon": 0.5}
    for version in (1, 2):
        folder = tmp_path / f"v{version}"
        folder.mkdir()
        bundles.append(toy.write(folder, version=version, policy={"weights": {"next": 1.0}, "explore": explore}))
    for device in range(30):
        store = tmp_path / f"{device}.sqlite"
        with Recommender.open(bundles[0], store=store) as a, Recommender.open(bundles[1], store=store) as b:
            a.observe(f"i{device % 8}", "click", time=toy.NOW_MS - 1000)
            trial = Experiment(a, b, "s", mode="interleave" if device % 2 else "ab")
            found = trial.recommend(4, now=toy.NOW_MS + device, context={"tab": "home"})
            trial.observe(found[device % 4].item, "click", list_name=found.name, time=toy.NOW_MS + device + 1)
            consent(a._memory.store, "", True)
            rows = list(exported_lists(a._memory.store, a.encoder.binary, Random(0), with_past=True))
        (tmp_path / f"{device}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path, bundles


def test_lists_of_devices_are_read_and_analysed(devices):
    folder, bundles = devices
    places = read_places(str(folder / "*.jsonl"))
    assert len({p.user for p in places}) == len({p.list for p in places}) == 30 and len(places) == 120
    with Recommender.of(bundles[1]) as bundle:
        found = analyse(places, "click", 0.5, bundle)
    assert all(of.value == 1.0 for of in found.arms.values()) and sum(of.n for of in found.arms.values()) == 15
    assert found.interleaved["toy 1|toy 2"].users == 15 and found.ab["toy 1 against toy 2"].users == 15
    assert found.policy.rows == 30  # two tried places in each list that one bundle made
    assert set(found.policy.values) == {"ips", "snips", "dr"} and "support is thin" in found.lines()[-1]
    json.dumps(found.to_json(), allow_nan=False)
    assert [table.title.split(":")[0] for table in found.tables()][:3] == [
        "Answers of kind click per list", "A/B test", "Interleaving",
    ]  # fmt: skip


def test_what_cannot_be_evaluated_is_said():
    plain = [place(1, 1, "i1"), place(2, 2, "i1")]
    with_trial = [place(1, 1, "i1", probability=0.5)]
    rec = object()
    assert "no position was filled by exploration" in analyse(plain, "click", 0.5, rec).notes[0]
    assert "export with: edgerec events lists --past" in analyse(with_trial, "click", 0.5, rec).notes[0]
    both = [place(1, 1, "i1"), place(1, 2, "i1", bundle="shop 2")]
    assert "1 users had lists of both bundles" in analyse(both, "click", 0.5, None).notes[0]


GOOD = {"user": 1, "list": 1, "time_ms": 5, "bundle": "s 1", "rank": 1, "item": "i", "probability": 1.0}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", r"x.jsonl, line 2: not JSON"),
        ("[]", r"line 2: expected an object with user"),
        (json.dumps({**GOOD, "item": 3}), r"line 2: item is 3, expected str"),
        (json.dumps({**GOOD, "probability": 0}), r"line 2: probability is 0, expected above 0"),
        (json.dumps({**GOOD, "probability": float("nan")}), r"line 2: probability is nan, expected above 0"),
        (json.dumps({**GOOD, "user": True}), r"line 2: user is True, expected int"),
    ],
)
def test_a_wrong_row_is_named_with_its_line(tmp_path, line, said):
    (tmp_path / "x.jsonl").write_text(json.dumps(GOOD) + "\n" + line + "\n")
    with pytest.raises(DataError, match=said):
        read_places(str(tmp_path / "x.jsonl"))
    with pytest.raises(DataError, match="no such file"):
        read_places(str(tmp_path / "y.jsonl"))


def test_the_verdict_joins_both_kinds_of_evidence():
    good = Report("r", "test", {}, verdict={"word": "ship", "because": ["next: better"]})
    bad = Report("r", "test", {}, verdict={"word": "stop", "because": ["next: too low"]})
    better = analyse([p for of in interleaved(0, 0.9) for p in of], "click", 0.5, None)
    same = analyse([p for of in interleaved(0, 0.0) for p in of], "click", 0.5, None)
    assert combine(good, better).word == "ship" and combine(good, None).word == "ship"
    assert combine(good, same).word == "wait" and combine(None, None).word == "wait"
    assert combine(bad, better).word == "stop" and "offline: next: too low" in combine(bad, better).lines()[1]


def test_rewards_without_a_comparison_are_said_to_decide_nothing():
    alone = analyse([place(1, 1, "i1")], "click", 0.5, None)

    assert alone.arms and combine(None, alone).word == "wait"
    assert combine(None, alone).because == [
        "online: no A/B test and no interleaving of two bundles; rewards alone decide nothing"
    ]
