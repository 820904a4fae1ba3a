"""A log too long for memory gives what a short one gives: its columns lie on disk and are worked on in pieces."""

from __future__ import annotations

import gc
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from edgerec.ensemble.views import Views
from edgerec.examples import log
from edgerec.examples.batches import BatchSettings, JointBatches
from edgerec.examples.scratch import Limits, Mapped, Scratch, pieces
from edgerec.progress import Silent
from edgerec.stages.run import Run

SETTINGS = BatchSettings(sessions=16, impressions=64, sessions_per_epoch=1_000, history_dropout=0.1, lag=1)


@pytest.fixture(scope="module")
def long_data(tiny_config, tiny_run):
    """The tiny log, read as if it were long: 50 rows at once, no history made in advance."""
    return Run(tiny_config, tiny_run, Silent()).learning_data("test", Limits(rows=50, events=0, shared=0))


def test_its_columns_lie_on_disk(long_data, tiny_run):
    for column in (
        long_data.train_log.item,
        long_data.train.impressions.item,
        long_data.train.impressions.requests.pasts.start,
    ):
        assert isinstance(column, np.memmap)
    assert list((tiny_run / "work").glob(f"scratch-{os.getpid()}-*/*.npy"))
    assert long_data.train.impressions.requests.pasts.read is None


def test_it_has_the_same_rows_and_statistics(long_data, tiny_data):
    one, other = long_data, tiny_data

    assert np.array_equal(one.statistics.values, other.statistics.values)
    for name in ("offsets", "row", "user", "item", "time_ms", "kind", "session", "categorical", "numeric"):
        assert np.array_equal(getattr(one.train_log, name), getattr(other.train_log, name)), name
    assert one.scales["watch"].mean == pytest.approx(other.scales["watch"].mean, rel=1e-9)
    assert one.scales["watch"].std == pytest.approx(other.scales["watch"].std, rel=1e-9)
    assert np.array_equal(one.train.impressions.labels["click"], other.train.impressions.labels["click"])


@pytest.mark.parametrize("part", ["train", "evaluation"])
@pytest.mark.parametrize("kind", ["sessions", "impressions"])
def test_its_requests_are_the_same(long_data, tiny_data, part, kind):
    one, other = (getattr(getattr(data, part), kind).requests for data in (long_data, tiny_data))
    rows = np.random.default_rng(0).permutation(len(other))[:70]
    batch, expected = one.batch(rows), other.batch(rows)

    assert len(one) == len(other)
    for name, value in vars(expected).items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(getattr(batch, name), value), name
    assert np.array_equal(one.take(rows).numeric(np.arange(9)), other.numeric(rows[:9]))


def test_an_epoch_shows_every_row_once_from_shards_and_can_begin_anywhere(long_data):
    source = JointBatches(replace(long_data.train, at_once=200), SETTINGS, 0)
    whole = list(source)

    candidates_seen = [b.impressions.candidate for b in whole if b.impressions is not None]
    assert sorted(torch.cat(candidates_seen).tolist()) == sorted(long_data.train.impressions.item.tolist())
    assert abs(source.steps() - len(whole)) <= 2
    rest = list(source.pass_from(7))
    for one, other in zip(whole[7:], rest, strict=True):
        assert one.tensors().keys() == other.tensors().keys()
        assert all(torch.equal(v, other.tensors()[name]) for name, v in one.tensors().items())
    source.epoch = 1
    assert next(iter(source)).impressions.candidate.tolist() != candidates_seen[0].tolist()


def test_shards_hold_the_rows_of_the_given_users_only(long_data):
    users = np.arange(30) % 3 == 0
    source = JointBatches(long_data.train, SETTINGS, 0, users=users)
    found = [batch.impressions.candidate for batch in source if batch.impressions is not None]

    rows = long_data.train.impressions
    assert sorted(torch.cat(found).tolist()) == sorted(rows.item[users[rows.requests.user]].tolist())


def test_members_that_need_memory_see_the_latest_whole_days(tiny_data):
    train_log = tiny_data.train_log
    since = log.latest_since(train_log, 300)
    kept = train_log.time_ms >= since

    assert 150 < kept.sum() <= 300
    assert (train_log.time_ms.max() + 1 - since) % 86_400_000 == 0
    assert log.latest_since(train_log, 10_000) == train_log.time_ms.min()
    assert Views(None, 2, 300).rows(train_log, 2, most=300).tolist() == np.flatnonzero(kept).tolist()


def test_a_mapped_column_is_handed_on_by_its_name(tmp_path):
    columns = Scratch(tmp_path, Limits(rows=3))
    found = columns.joined(5, ({"a": np.arange(start, end)} for start, end in pieces(5, 3)))["a"]

    assert found.tolist() == [0, 1, 2, 3, 4]
    text = pickle.dumps(found)
    assert len(text) < 400 and str(tmp_path) in text.decode("latin-1")
    assert pickle.loads(text).tolist() == found.tolist()
    assert pickle.loads(pickle.dumps(found[1:3])).tolist() == [1, 2]


def test_a_file_of_rows_without_columns_is_handed_to_another_process_too(tmp_path):
    """As the categorical inputs of a log that has none."""
    columns = Scratch(tmp_path, Limits(rows=2))
    found = columns.joined(5, [{"none": np.zeros((5, 0), np.int64)}])["none"]
    assert pickle.loads(pickle.dumps(found)).shape == (5, 0)


def test_files_go_with_their_owner_and_what_a_killed_process_left_with_the_next(tmp_path):
    (tmp_path / "scratch-999999999-x").mkdir()
    columns = Scratch(tmp_path, Limits(rows=1))
    columns.joined(2, [{"a": np.arange(2)}])

    assert [p.name.split("-")[1] for p in tmp_path.iterdir()] == [str(os.getpid())]
    del columns
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_no_rows_are_one_empty_piece(tmp_path):
    assert list(pieces(0)) == [(0, 0)]
    assert not len(Scratch(tmp_path).joined(0, [{"a": np.zeros(0)}])["a"])


def test_an_empty_past_has_no_events(tiny_data):
    requests = tiny_data.train.sessions.requests
    nobody = np.flatnonzero(requests.lengths() == 0)
    lazy = replace(requests, pasts=replace(requests.pasts, read=None))

    history, which = lazy.histories(nobody)
    assert len(history.item) == 0 and set(which.tolist()) == {0}


def test_a_large_table_lies_in_a_file_that_another_process_is_told_by_name(tmp_path):
    parts = [np.full((3, 4), i, np.float32) for i in range(5)]

    small = Scratch(tmp_path, Limits(shared=241)).stacked(5, iter(parts))  # 5 * 3 * 4 * 4 bytes are 240
    scratch = Scratch(tmp_path, Limits(shared=240))  # whose files live as long as it does
    large = scratch.stacked(5, iter(parts))

    assert type(small) is np.ndarray and isinstance(large, Mapped)
    assert np.array_equal(small, np.stack(parts)) and np.array_equal(large, small)
    assert len(pickle.dumps(large)) < 240 and np.array_equal(pickle.loads(pickle.dumps(large)), small)
