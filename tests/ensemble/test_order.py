"""The member that reads order: trained where order tells most, by folds of users, and kept for the next call."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from edgerec.config import Config
from edgerec.data import prepare
from edgerec.ensemble.judged import Judge
from edgerec.ensemble.members import ChosenOnValid, Members, MemberScores
from edgerec.ensemble.order import FACTS
from edgerec.examples.folds import fold_of
from edgerec.progress import Silent
from edgerec.stages.run import Run, ensemble_settings
from tests.made_logs import DAY_MS, walks

USERS, ITEMS = 90, 30
START_MS = 1_700_006_400_000


def write_log(folder, users):
    rows = [
        (f"u{user}", f"i{item}", START_MS + place * DAY_MS)
        for user, items in enumerate(users)
        for place, item in enumerate(items)
    ]
    pl.DataFrame(rows, schema=["user", "item", "time"], orient="row").write_csv(folder / "log.csv")


def data_of(folder, users):
    """Settings and valid of a log of such users."""
    folder.mkdir(exist_ok=True)
    write_log(folder, users)
    values = {
        "name": "walks",
        "effort": "full",
        "data": {
            "interactions": "log.csv",
            "user": "user",
            "item": "item",
            "time": "time",
            "split": {"by": "leave-last-out"},
        },
        "task": [{"name": "next", "kind": "retrieval", "repeats": "exclude"}],
        "teacher": {"folds": 2, "dim": 8, "hidden": 16, "heads": 2},
        "ensemble": {
            "members": ["ease", "transitions", "sequence"],
            "sequence": 10,
            "sequence_dim": 16,
            "sequence_epochs": 40,
            "sequence_dropout": 0.1,
        },
    }
    config = Config.of(values, folder)
    prepare(config, folder / "run")
    return config, Run(config, folder / "run", Silent()).learning_data("valid")


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    return data_of(tmp_path_factory.mktemp("walks"), walks(USERS, ITEMS, 9))


@pytest.fixture(scope="module")
def on_valid(walked, tmp_path_factory):
    """The members fitted on valid, and their folder."""
    config, data = walked
    folder = tmp_path_factory.mktemp("on-valid")
    return Members.fit(ensemble_settings(config), data, folder, [0], None, Silent()), folder


@pytest.fixture(scope="module")
def of_folds(walked, tmp_path_factory):
    """A transformer for each of two folds, and their folder."""
    config, data = walked
    folder = tmp_path_factory.mktemp("of-folds")
    chosen = ChosenOnValid(None, 3)
    return Members.fit(ensemble_settings(config), data, folder, range(2), chosen, Silent()), folder


def ndcg(data, members, name):
    scores = MemberScores(10, data, [], members)
    judge = Judge(data, 1_000, 0)
    return judge.ndcg(lambda requests, part: {name: scores.catalog({name}, requests, part)[name][:, 0]})["next"][name]


def test_where_order_tells_all_it_is_trained_and_finds_the_item_that_comes_next(walked, on_valid):
    _, data = walked
    members, _ = on_valid

    assert members.order is not None
    assert ndcg(data, members, "sequence") > 0.9
    assert ndcg(data, members, "sequence") > ndcg(data, members, "ease") + 0.1
    assert 1 <= members.chosen.epochs <= 40


def test_the_model_of_all_users_that_chose_on_valid_labels_nobody(walked, on_valid, of_folds, tmp_path):
    config, data = walked
    for _, folder in (on_valid, of_folds):  # the valid part may be the one to learn for, too
        for path in folder.glob("*"):
            shutil.copy(path, tmp_path)
    both = Members.load(ensemble_settings(config), data, tmp_path)

    assert set(on_valid[0].order.models) == {-1}
    assert set(both.order.models) == {0, 1}
    requests, chosen = data.evaluation.sessions.requests, np.arange(6)
    assert np.array_equal(both.order.scores(requests, chosen, 0), of_folds[0].order.scores(requests, chosen, 0))


def test_where_order_tells_nothing_it_is_not_trained_and_that_is_remembered(tmp_path):
    rng = np.random.default_rng(0)
    weight = 1 / np.arange(1, 401)  # what is popular comes next, whatever was before
    users = [rng.choice(400, 9, replace=False, p=weight / weight.sum()).tolist() for _ in range(USERS)]
    config, data = data_of(tmp_path / "popular", users)
    folder = tmp_path / "members"
    members = Members.fit(ensemble_settings(config), data, folder, [0], None, Silent())

    assert members.order is None
    assert not (folder / FACTS).exists()
    assert json.loads((folder / "order.json").read_text())["matters"] is False
    again = Members.fit(ensemble_settings(config), data, folder, range(2), members.chosen, Silent())
    assert again.order is None


def test_a_fold_has_a_model_that_does_not_depend_on_its_users(walked, of_folds, tmp_path):
    config, data = walked
    _, folder = of_folds
    log = data.train_log
    item = np.where(fold_of(log.user, 2) == 0, (log.item + 1) % data.train.n_seen, log.item)
    changed = replace(data, train_log=replace(log, item=item))
    Members.fit(ensemble_settings(config), changed, tmp_path / "members", range(2), ChosenOnValid(None, 3), Silent())

    def weights(of, fold):
        return (of / f"sequence-{fold}.safetensors").read_bytes()

    assert weights(folder, 0) == weights(tmp_path / "members", 0)
    assert weights(folder, 1) != weights(tmp_path / "members", 1)


def test_it_goes_on_where_it_was_stopped_and_ends_the_same(walked, of_folds, tmp_path):
    config, data = walked
    members, folder = of_folds
    (tmp_path / "sequence-0.safetensors").write_bytes((folder / "sequence-1.safetensors").read_bytes())
    Members.fit(ensemble_settings(config), data, tmp_path, range(2), ChosenOnValid(None, 3), Silent())

    kept, made = ((tmp_path / f"sequence-{fold}.safetensors").read_bytes() for fold in (0, 1))
    assert kept == made == (folder / "sequence-1.safetensors").read_bytes()
    again = Members.load(ensemble_settings(config), data, folder)
    requests, chosen = data.evaluation.sessions.requests, np.arange(6)
    assert np.array_equal(again.order.scores(requests, chosen), members.order.scores(requests, chosen))


def test_without_a_fold_the_mean_of_all_models_scores_and_nobodys_past_scores_all_alike(walked, of_folds):
    _, data = walked
    members, _ = of_folds
    requests, chosen = data.evaluation.sessions.requests, np.arange(6)
    every, first, second = (members.order.scores(requests, chosen, fold) for fold in (None, 0, 1))

    assert every == pytest.approx((first + second) / 2, abs=1e-4)
    assert not np.allclose(first, second)
    starts = data.train.sessions.requests  # a user's first request has no past
    nobody = np.flatnonzero(starts.lengths() == 0)[:1]
    alike = members.order.scores(starts, nobody)
    assert alike == pytest.approx(np.log(1 / ITEMS), abs=1e-5)
