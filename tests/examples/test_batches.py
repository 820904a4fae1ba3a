"""Joint batches: everything once an epoch, in an order that the seed decides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from edgerec.examples.batches import BatchSettings, JointBatches
from edgerec.examples.soft_lists import SoftLabels, SoftLists

SETTINGS = BatchSettings(sessions=16, impressions=64, sessions_per_epoch=1_000, history_dropout=0.0, lag=2)


def candidates(batch):
    return [] if batch.impressions is None else batch.impressions.candidate.tolist()


def fingerprint(batches):
    """All numbers of an epoch."""
    found = []
    for batch in batches:
        for part in (batch.sessions, batch.impressions):
            if part is not None:
                found += [part.requests.item, part.requests.age_h, part.requests.numeric, part.as_of.statistics]
        if batch.sessions is not None and batch.sessions.related is not None:
            found += [batch.sessions.related.query, batch.sessions.related.item]
    return torch.cat([x.double().flatten() for x in found])


def test_an_epoch_is_the_same_for_the_same_seed_and_number(tiny_data):
    settings = replace(SETTINGS, history_dropout=0.3)
    first, second = (JointBatches(tiny_data.train, settings, seed=7) for _ in range(2))
    list(first)  # a pass before it changes nothing
    first.epoch = second.epoch = 3

    assert torch.equal(fingerprint(first), fingerprint(second))


@pytest.mark.parametrize(("seed", "epoch"), [(8, 3), (7, 4)])
def test_another_seed_or_epoch_has_another_order(tiny_data, seed, epoch):
    first, second = JointBatches(tiny_data.train, SETTINGS, 7), JointBatches(tiny_data.train, SETTINGS, seed)
    first.epoch, second.epoch = 3, epoch

    assert [candidates(b) for b in first] != [candidates(b) for b in second]


def test_validation_is_the_same_in_every_epoch_and_leaves_nothing_out(tiny_data):
    batches = JointBatches(tiny_data.evaluation, replace(SETTINGS, history_dropout=0.9), 7, train=False)
    first = fingerprint(batches)
    batches.epoch = 5

    assert torch.equal(fingerprint(batches), first)
    assert sum(len(candidates(b)) for b in batches) == len(tiny_data.evaluation.impressions.item)
    present = sum(int(b.sessions.requests.present.sum()) for b in batches if b.sessions is not None)
    assert present == tiny_data.evaluation.sessions.requests.lengths().sum()


def test_every_example_comes_once_an_epoch(tiny_data):
    batches = list(JointBatches(tiny_data.train, SETTINGS, 0))

    assert sorted(i for b in batches for i in candidates(b)) == sorted(tiny_data.train.impressions.item.tolist())
    pairs = sum(len(b.sessions.item[0]) for b in batches if b.sessions is not None)
    assert pairs == len(tiny_data.train.sessions.truth["next"].values)
    assert max(len(b.sessions.requests.item) for b in batches if b.sessions is not None) <= 16
    assert max(len(candidates(b)) for b in batches) <= 64


def test_of_more_sessions_than_an_epoch_may_see_a_random_part_is_seen(tiny_data):
    batches = JointBatches(tiny_data.train, replace(SETTINGS, sessions_per_epoch=50), 0)

    seen = sum(len(b.sessions.requests.item) for b in batches if b.sessions is not None)
    assert abs(seen - 50) <= SETTINGS.sessions  # whole batches


def test_impressions_see_the_statistics_of_their_own_as_of_time_and_sessions_older_ones(tiny_data):
    values, rows = torch.from_numpy(tiny_data.statistics.values), tiny_data.train.impressions
    for batch in JointBatches(tiny_data.train, SETTINGS, 0):
        if batch.impressions is not None:
            as_of = [m for m in range(len(values)) if torch.equal(values[m], batch.impressions.as_of.statistics)]
            assert len(as_of) >= 1
            numeric = {tuple(n) for n in batch.impressions.requests.numeric.tolist()}
            everyone = rows.requests.numeric(np.arange(len(rows.item))).tolist()
            owners = [r for r, n in enumerate(everyone) if tuple(n) in numeric]
            assert set(as_of) & set(rows.requests.as_of[owners].tolist())


def test_only_the_examples_of_the_given_users_are_seen(tiny_data):
    users = np.arange(30) % 3 == 0
    batches = list(JointBatches(tiny_data.train, SETTINGS, 0, users=users))

    rows, sessions = tiny_data.train.impressions, tiny_data.train.sessions
    wanted = sorted(rows.item[users[rows.requests.user]].tolist())
    assert sorted(i for b in batches for i in candidates(b)) == wanted
    seen = sum(len(b.sessions.requests.item) for b in batches if b.sessions is not None)
    assert seen == users[sessions.requests.user].sum() == 10 * 6


def test_soft_labels_stay_with_their_examples(tiny_data):
    impressions, sessions, n = tiny_data.train.impressions, tiny_data.train.sessions, tiny_data.n_items
    # An impression's soft label is its item; a session's is its user; a related item's is its own index.
    soft = SoftLabels(
        sessions=(SoftLists(np.tile(sessions.requests.user[:, None], (1, n)).astype(np.float16)),) * 2,
        impressions=np.tile(impressions.item[:, None], (1, 5)).astype(np.float16),
        related=SoftLists(np.tile(np.arange(n)[:, None], (1, n)).astype(np.float16)),
    )
    assert (len(impressions.item), len(sessions.requests)) == (900, 180)
    camp = {tuple(x): u % 2 for x, u in zip(*_numbers_and_users(tiny_data), strict=True)}
    for batch in JointBatches(replace(tiny_data.train, soft=soft), SETTINGS, 0):
        if batch.impressions is not None:
            assert batch.impressions.soft[:, 0].tolist() == batch.impressions.candidate.tolist()
        if batch.sessions is not None:
            assert batch.sessions.related.soft.scores[:, 0].tolist() == batch.sessions.related.query.tolist()
            for user, x in zip(
                batch.sessions.soft[0].scores[:, 0].tolist(), batch.sessions.requests.numeric.tolist(), strict=True
            ):
                assert camp[tuple(x)] == user % 2


def test_the_first_epochs_are_taught_by_the_early_checkpoint(tiny_data):
    labels = np.zeros((len(tiny_data.train.impressions.item), 5), np.float16)
    soft = SoftLabels(impressions=labels, early=SoftLabels(impressions=labels + 1))
    batches = JointBatches(replace(tiny_data.train, soft=soft), replace(SETTINGS, early_teacher_epochs=2), 0)
    seen = []
    for epoch in range(3):
        batches.epoch = epoch
        seen.append({float(v) for b in batches if b.impressions is not None for v in b.impressions.soft.flatten()})

    assert seen == [{1.0}, {1.0}, {0.0}]


def _numbers_and_users(data):
    requests = data.train.sessions.requests
    return requests.numeric(np.arange(len(requests))).tolist(), requests.user.tolist()


def test_related_pairs_are_two_different_items_of_one_session(tiny_data):
    together = set()
    items = tiny_data.train.sessions.items
    for r in range(len(items)):
        together |= {(a, b) for a in items.row(r).tolist() for b in items.row(r).tolist() if a != b}
    for batch in JointBatches(tiny_data.train, SETTINGS, 0):
        if batch.sessions is not None:
            pairs = batch.sessions.related
            assert set(zip(pairs.query[pairs.owner].tolist(), pairs.item.tolist(), strict=True)) <= together


@pytest.mark.parametrize("at_once", [10**6, 100])
def test_an_epoch_sees_at_most_so_many_impressions_and_each_epoch_others(tiny_data, at_once):
    examples = replace(tiny_data.train, at_once=at_once)
    few = replace(SETTINGS, impressions_per_epoch=128)
    batches = JointBatches(examples, few, seed=7)
    seen = []
    for batches.epoch in range(3):
        rows = [row for batch in batches for row in candidates(batch)]
        seen.append(tuple(rows))

    assert all(0 < len(rows) <= 128 for rows in seen) and len(set(seen)) == 3
    valid = JointBatches(tiny_data.evaluation, few, 7, train=False)
    assert sum(len(candidates(b)) for b in valid) == len(tiny_data.evaluation.impressions.item)  # nothing is left out


def test_few_examples_of_many_as_of_times_share_steps_and_never_see_later_statistics(tiny_data, monkeypatch):
    monkeypatch.setattr("edgerec.examples.batches.FEW_TIMES", 4)
    few = tiny_data.train.impressions.take(np.arange(0, len(tiny_data.train.impressions.item), 20))
    examples = replace(tiny_data.train, impressions=few)
    batches = JointBatches(examples, replace(SETTINGS, impressions=64), 0)
    times = len(np.unique(few.requests.as_of))
    chosen = np.arange(len(few.item))

    assert sum(b.impressions is not None for b in batches) < times
    assert (batches._impression_times(chosen) <= few.requests.as_of).all()
    unchanged = JointBatches(examples, replace(SETTINGS, impressions=64), 0, train=False)
    assert np.array_equal(unchanged._impression_times(chosen), few.requests.as_of)
