"""The baselines that teacher and student are compared with."""

from __future__ import annotations

import numpy as np
import pytest

from edgerec.ensemble import closed_form
from edgerec.evaluation.baselines.interactions import Interactions
from edgerec.progress import Silent
from edgerec.tasks.units import MS_PER_DAY
from tools.benchmarks.baselines import pointwise
from tools.benchmarks.baselines.closed_form import CLOSED_FORM
from tools.benchmarks.baselines.evaluation import (
    EXPERTS,
    POINTWISE,
    RANKERS,
    Ranking,
    Splits,
    evaluate_baselines,
    names_of,
)
from tools.benchmarks.baselines.neural import LightGCN, SASRec

CYCLE = 8


def interactions_of(rows: list[tuple[int, int, int]], n_items: int) -> Interactions:
    """Rows of (user, item, day), each a session of its own."""
    user, item, day = np.array(sorted(rows, key=lambda r: (r[0], r[2])), np.int64).T
    return Interactions(user, item, day * MS_PER_DAY, np.arange(len(user)), int(user.max()) + 1, n_items)


@pytest.fixture
def cycle() -> Interactions:
    """Each user has item i + 1 the day after item i, round and round, from another start."""
    return interactions_of([(u, (u + day) % CYCLE, day) for u in range(40) for day in range(12)], CYCLE)


def scores(name: str, log: Interactions, **settings: object) -> np.ndarray:
    baseline = CLOSED_FORM[name]
    return baseline.score(log, baseline.prepare(log, settings), settings)(np.arange(log.n_users))


def test_sessions_join_the_rows_of_one_session():
    log = Interactions(*np.array([[0, 0, 0, 1], [5, 6, 5, 6], [0, 0, 9, 0], [3, 3, 4, 3]]), n_users=2, n_items=7)
    user, items = log.sessions

    assert user.tolist() == [0, 0, 1]
    assert [np.flatnonzero(row).tolist() for row in items.toarray()] == [[5, 6], [5], [6]]


def test_sequences_hold_the_latest_items_last():
    items, lengths = interactions_of([(0, 3, 0), (0, 4, 1), (0, 5, 2), (1, 6, 0)], 7).sequences(2)

    assert items.tolist() == [[4, 5], [-1, 6]]
    assert lengths.tolist() == [2, 1]


def test_popularity_halves_and_own_counts_come_first():
    log = interactions_of([(0, 0, 0), (0, 0, 7), (1, 1, 7), (1, 2, 7)], 4)

    assert scores("recent popularity", log, half_life_days=7.0)[0].tolist() == [1.5, 1, 1, 0]
    assert scores("own frequency", log, half_life_days=7.0)[1].tolist() == pytest.approx([0.5, 4 / 3, 4 / 3, 0])


def test_ease_is_that_of_the_ensemble():
    rng = np.random.default_rng(0)
    log = interactions_of([(int(u), int(i), d) for d, (u, i) in enumerate(rng.integers(0, 9, (60, 2)))], 9)
    ours = scores("EASE", log, l2=5.0, counts="binary", diagonal="zero", own=1.0)
    expected = log.binary @ closed_form.ease(log.binary, 5.0) + log.counts.toarray()

    assert ours == pytest.approx(expected, abs=1e-5)


def test_a_free_diagonal_is_ridge_regression_on_all_items():
    rng = np.random.default_rng(0)
    log = interactions_of([(int(u), int(i), d) for d, (u, i) in enumerate(rng.integers(0, 9, (60, 2)))], 9)
    x = np.log1p(log.counts.toarray())

    predicted = scores("EASE", log, l2=5.0, counts="log", diagonal="free", own=0.0)
    assert predicted == pytest.approx(x @ np.linalg.solve(x.T @ x + 5 * np.eye(9), x.T @ x), abs=1e-4)


def test_cosine_neighbours_are_users_in_common_over_both_sizes():
    log = interactions_of([(0, 0, 0), (0, 1, 0), (1, 0, 0), (2, 1, 0), (2, 2, 0)], 3)

    predicted = scores("item-kNN, cosine", log, of="users", neighbours=10, counts="binary", own=0.0)
    assert predicted[1].tolist() == pytest.approx([1, 1 / 2, 0])


def test_directed_co_occurrence_knows_what_follows(cycle):
    predicted = scores("directed co-occurrence", cycle, power=0.5, sessions=1, own=0.0)
    last = cycle.sequences(1)[0][:, 0]

    assert predicted.argmax(axis=1).tolist() == ((last + 1) % CYCLE).tolist()


def test_sasrec_learns_what_follows(cycle):
    last = cycle.sequences(1)[0][:, 0]
    right = []

    def look(epoch, ranker):
        right.append((ranker(np.arange(cycle.n_users)).argmax(axis=1) == (last + 1) % CYCLE).mean())
        return right[-1] < 1

    SASRec(dim=16, longest=6, batch=16, learning_rate=1e-2, epochs=30, every=1).fit(cycle, 0, look)
    assert right[-1] == 1


def test_lightgcn_tells_two_groups_apart():
    groups = interactions_of([(u, i, 0) for u in range(20) for i in range(10) if u % 2 == i % 2 and (u + i) % 6], 10)
    epochs = []

    LightGCN(dim=8, batch=32, learning_rate=0.05, epochs=20, every=20).fit(
        groups, 0, lambda epoch, ranker: bool(epochs.append(ranker(np.arange(20)))) or True
    )
    own = epochs[0][np.arange(20)[:, None], np.arange(10)[None, :]]
    same = (np.arange(20)[:, None] % 2) == (np.arange(10)[None, :] % 2)
    assert own[same].min() > own[~same].max()


def test_a_rate_comes_from_earlier_days_and_never_from_the_evaluation_split():
    code = np.array([0, 0, 0, 1, 0])
    day = np.array([0, 0, 1, 1, 9])
    known = np.array([True, True, True, True, False])
    label = np.array([1, 0, 1, 1, 1], np.float32)
    rate, number = pointwise._earlier_rates(code, day, known, {"click": label})
    mean, s = 3 / 4, pointwise.SMOOTHING

    expected = np.array([mean, mean, (1 + s * mean) / (2 + s), mean, (2 + s * mean) / (3 + s)])
    assert 1 / (1 + np.exp(-rate)) == pytest.approx(expected)
    assert np.expm1(number) == pytest.approx([0, 0, 2, 0, 3])


def test_a_rate_of_other_folds_leaves_out_the_row_itself():
    code, fold = np.zeros(4, int), np.array([0, 1, 1, 5])
    known = np.array([True, True, True, False])
    rate, number = pointwise._other_rates(code, fold, known, {"click": np.array([1, 0, 1, 0], np.float32)})
    mean, s = 2 / 3, pointwise.SMOOTHING

    expected = np.array([(1 + s * mean) / (2 + s), (1 + s * mean) / (1 + s), (1 + s * mean) / (1 + s)])
    assert 1 / (1 + np.exp(-rate[:3])) == pytest.approx(expected)
    assert np.expm1(number) == pytest.approx([2, 1, 1, 3])


@pytest.mark.parametrize("name", ["next", "new"])
def test_settings_are_chosen_by_the_figure_that_is_reported(tiny_data, name):
    tasks = {task.name: task for task in tiny_data.tasks if task.kind == "retrieval"}
    if name not in tasks:
        pytest.skip("the toy data has no such task")
    ranking = Ranking(tiny_data, tasks[name])
    noise = np.random.default_rng(0).random((len(tiny_data.train_log.offsets), tiny_data.n_items)).astype(np.float32)

    assert ranking.ndcg(lambda users: noise[users]) == pytest.approx(
        ranking.evaluate(lambda users: noise[users])["ndcg@10"].value
    )


@pytest.mark.parametrize("by_days", [True, False])
def test_every_baseline_of_a_data_set_is_evaluated_once(tiny_data, by_days):
    splits = Splits(tiny_data, tiny_data, by_days, RANKERS, quick=True)
    by_name = dict(evaluate_baselines(splits, {"iALS"}, Silent()))

    assert by_name.keys() == names_of(tiny_data.tasks, RANKERS) - {"iALS"}
    for task in tiny_data.tasks:
        assert any(task.name in metrics for metrics in by_name.values()), task.name
    for name in (*POINTWISE, *EXPERTS):
        assert all(np.isfinite(e.value) for figures in by_name[name].values() for e in figures.values())
