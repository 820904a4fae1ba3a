"""The re-ranker learns, is cross-fitted, and goes on where it was stopped."""

from __future__ import annotations

import shutil
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest

from edgerec.ensemble import reranker_training
from edgerec.ensemble.candidates import Pool
from edgerec.ensemble.reranker import Reranker
from edgerec.ensemble.reranker_training import TrainingLists, requests_to_learn_from
from edgerec.examples.folds import fold_of
from edgerec.progress import Silent
from edgerec.stages.run import ensemble_settings
from tests import tiny

FILES = {f"reranker-{fold}-{task}.txt" for fold in (0, 1) for task in ("next", "new")}


def boosters(folder):
    return {name: (folder / name).read_text() for name in FILES}


def item_camps(data):
    return np.array([tiny.camp(int(i.removeprefix("i"))) for i in data.dataset.items()["id"].to_list()])[: data.n_items]


@pytest.mark.parametrize("fold", [None, 0, 1])
def test_it_learns_the_checkerboard(tiny_data, members, fold):
    requests = tiny_data.evaluation.sessions.requests
    chosen = np.arange(len(requests))
    scores = members.reranker.scores(members.snapshots.last, requests, chosen, 40, fold)
    users = np.array([int(u.removeprefix("u")) for u in tiny_data.dataset.users()["id"].to_list()])
    own = tiny.camp(users)[requests.user][:, None] == item_camps(tiny_data)

    assert scores.shape == (len(requests), 2, tiny_data.n_items)
    for task in range(2):
        mean_own = np.where(own, scores[:, task], 0).sum(axis=1) / own.sum(axis=1)
        mean_other = np.where(own, 0, scores[:, task]).sum(axis=1) / (~own).sum(axis=1)
        assert (mean_own > mean_other).mean() > 0.9


def test_without_a_fold_the_mean_of_all_boosters_scores(tiny_data, members):
    requests, last = tiny_data.evaluation.sessions.requests, members.snapshots.last
    every, first, second = (members.reranker.scores(last, requests, np.arange(5), 40, f) for f in (None, 0, 1))

    assert every == pytest.approx((first + second) / 2, abs=1e-5)
    assert not np.allclose(first, second)


def test_a_folds_boosters_do_not_change_with_the_outcomes_of_its_users(
    small_config, tiny_data, members, members_folder, tmp_path
):
    sessions = tiny_data.train.sessions
    truth = {name: lists.values.copy() for name, lists in sessions.truth.items()}
    for path in members_folder.glob("snapshot-*"):
        shutil.copy(path, tmp_path)
    try:
        for lists in sessions.truth.values():
            mine = (fold_of(sessions.requests.user, 2) == 0)[lists.owner()]
            lists.values[mine] = (lists.values[mine] + 1) % tiny_data.n_items
        Reranker.fit(ensemble_settings(small_config), tiny_data, members.snapshots, [0, 1], tmp_path, Silent())
    finally:
        for name, values in truth.items():
            sessions.truth[name].values[:] = values

    before, after = boosters(members_folder), boosters(tmp_path)
    assert {name for name in FILES if before[name] == after[name]} == {
        f"reranker-0-{task}.txt" for task in ("next", "new")
    }


def test_it_goes_on_where_it_was_stopped_and_ends_the_same(small_config, tiny_data, members, members_folder, tmp_path):
    whole = boosters(members_folder)
    (tmp_path / "reranker-0-next.txt").write_text(whole["reranker-1-new.txt"])
    Reranker.fit(ensemble_settings(small_config), tiny_data, members.snapshots, [0, 1], tmp_path, Silent())

    again = boosters(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == FILES
    assert again["reranker-0-next.txt"] == whole["reranker-1-new.txt"]  # as it was there
    assert {name for name in FILES if again[name] == whole[name]} == FILES - {"reranker-0-next.txt"}


@pytest.mark.parametrize(
    ("repeats", "scores"),
    [
        ("include", [[3, 3, 3, 3, 7], [-1, -1, 8, -1, 2]]),
        ("exclude", [[0, 0, 0, 0, 0], [-1, -1, -1, -1, -1]]),  # items that the user had are not asked for
    ],
)
def test_items_outside_the_pool_have_its_lowest_score(repeats, scores):
    class Candidates:
        n_items = 5

        def of(self, snapshot, requests, chosen, size):
            yield (
                np.arange(2),
                Pool(np.array([2, 3]), np.array([4, 0, 1, 2, 4]), np.array([[7], [3], [-1], [8], [2]], np.float32)),
            )

    task = SimpleNamespace(name="next", repeats=repeats)
    reranker = Reranker(Candidates(), [task], {0: [lambda features: features[:, 0]]})

    assert reranker.scores(None, None, np.arange(2), 2, None)[:, 0].tolist() == scores


def test_a_request_is_scored_alike_whatever_others_are_in_its_batch(tiny_data, members):
    requests, last = tiny_data.evaluation.sessions.requests, members.snapshots.last
    order = np.argsort(requests.lengths(), kind="stable")
    short, long = order[0], order[-1]
    assert requests.lengths()[short] < requests.lengths()[long]

    alone = members.reranker.scores(last, requests, np.array([short]), 3, None)
    beside = members.reranker.scores(last, requests, np.array([long, short]), 3, None)

    assert beside[1] == pytest.approx(alone[0], abs=1e-6)


@pytest.mark.parametrize(
    ("nothing", "without"), [("served", {"next", "new"}), ("found", {"next", "new"}), ("new", {"new"})]
)
def test_a_task_without_anything_to_learn_from_has_no_reranker_and_that_is_said_once(
    small_config, tiny_data, members, tmp_path, monkeypatch, nothing, without
):
    if nothing == "served":
        views = type(members.snapshots.views)
        monkeypatch.setattr(views, "serving", lambda self, requests: np.full(len(requests), -1, np.int64))
    elif nothing == "found":
        monkeypatch.setattr(reranker_training, "_is_listed", lambda lists, pool: np.zeros(len(pool.item), bool))
    else:
        tell = TrainingLists.tell
        monkeypatch.setattr(TrainingLists, "tell", lambda self, task, n: task.name != "new" and tell(self, task, n))
    said = Mock(wraps=Silent())
    args = ensemble_settings(small_config), tiny_data, members.snapshots, [0, 1], tmp_path
    for _ in range(2):  # the second time it does not look again
        reranker = Reranker.fit(*args, said)

    lines = [call.args[0] for call in said.say.call_args_list]
    assert {line.partition("absent for ")[2].partition(":")[0] for line in lines} == without
    assert len(lines) == len(without)
    scores = reranker.scores(members.snapshots.last, tiny_data.evaluation.sessions.requests, np.arange(4), 3, None)
    assert {task.name: bool(scores[:, t].any()) for t, task in enumerate(reranker.tasks)} == {
        name: name not in without for name in ("next", "new")
    }


def test_each_user_is_learned_from_once_in_a_window(tiny_data, members):
    requests, views = tiny_data.train.sessions.requests, members.snapshots.views
    serving = views.serving(requests)
    learned = requests_to_learn_from(requests, serving, views)
    pairs = list(zip(requests.user[learned].tolist(), serving[learned].tolist(), strict=True))

    assert len(set(pairs)) == len(pairs)
    served = serving >= 0
    assert set(pairs) == set(zip(requests.user[served].tolist(), serving[served].tolist(), strict=True))
    for r, pair in zip(learned, pairs, strict=True):
        same = served & (requests.user == pair[0]) & (serving == pair[1])
        assert requests.time_ms[r] == requests.time_ms[same].min()
    everyone = replace(views, cuts_ms=None, folds=2)
    assert requests_to_learn_from(requests, everyone.serving(requests), everyone).tolist() == list(range(len(requests)))
