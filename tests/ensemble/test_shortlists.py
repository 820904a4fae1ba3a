"""Weights are chosen on a few items of each request as on the whole catalogue."""

from __future__ import annotations

import numpy as np
import pytest

from edgerec.ensemble import blend
from edgerec.ensemble.shortlists import TAIL, Shortlists, requests_at_once

N, R = 3_000, 40


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def members_and_outcomes(rng):
    truth = np.zeros((R, N), bool)
    truth[np.arange(R), rng.integers(0, N, R)] = True
    truth[7] = False
    scores = {name: (rng.normal(size=(R, N)) + truth * lift).astype(np.float32) for name, lift in (("a", 3), ("b", 1))}
    return scores, truth


def test_a_small_catalogue_is_kept_whole(rng):
    scores, truth = {"a": rng.normal(size=(3, 20)).astype(np.float32)}, np.eye(3, 20) > 0
    short = Shortlists.of(scores, truth, None, rng)

    assert np.array_equal(short.item, np.tile(np.arange(20), (3, 1)))
    assert np.array_equal(short.scores["a"], scores["a"]) and np.array_equal(short.share > 0, truth)
    assert not short.log_weight.any() and not short.excluded.any()


def test_the_best_of_every_member_and_what_followed_are_kept_and_the_rest_is_stood_for(rng):
    scores, truth = members_and_outcomes(rng)
    short = Shortlists.of(scores, truth, None, rng)
    rows = np.flatnonzero(truth.any(axis=1))

    assert len(short.item) == len(rows) == R - 1  # nothing followed one request
    assert short.item.shape[1] <= 2 * blend.HEAD + 1 + TAIL
    for at, row in enumerate(rows):
        listed = set(short.item[at].tolist())
        assert len(listed) == short.item.shape[1]
        assert np.flatnonzero(truth[row])[0] in listed
        for values in scores.values():
            assert set(np.argsort(-values[row])[: blend.HEAD].tolist()) <= listed
    assert np.exp(short.log_weight).sum(axis=1) == pytest.approx(N, rel=1e-3)
    assert short.share.sum(axis=1) == pytest.approx(1)


def test_the_temperature_is_nearly_that_of_the_whole_catalogue(rng):
    scores, truth = members_and_outcomes(rng)
    short = Shortlists.of(scores, truth, None, rng)
    some = truth.any(axis=1)

    whole = blend.temperature(scores["a"][some], truth[some].astype(np.float32))
    assert blend.temperature(short.scores["a"], short.share, short.log_weight) == pytest.approx(whole, rel=0.05)


def test_excluded_items_have_the_lowest_scores_and_do_not_count_as_what_followed(rng):
    scores, truth = members_and_outcomes(rng)
    excluded = np.zeros_like(truth)
    excluded[:, :5] = True
    excluded[3] |= truth[3]
    short = Shortlists.of(scores, truth, excluded, rng)

    assert len(short.item) == R - 2 - int((truth[:, :5].any(axis=1) & (np.arange(R) != 3)).sum())
    for values in short.scores.values():
        assert (np.where(short.excluded, values, np.inf).min(axis=1) >= values.min(axis=1)).all()
    assert not (short.share * short.excluded).any()


def test_joined_parts_are_padded_with_excluded_items_that_stand_for_none(rng):
    scores, truth = members_and_outcomes(rng)
    parts = [
        Shortlists.of({n: s[at] for n, s in scores.items()}, truth[at], None, rng)
        for at in requests_at_once(np.arange(R), N * 1000, 1)
    ]
    parts = [part for part in parts if len(part.item)]
    whole = Shortlists.joined(parts)

    assert len(whole.item) == R - 1
    assert np.exp(whole.log_weight).sum(axis=1) == pytest.approx(N, rel=1e-3)
    assert whole.excluded[whole.item < 0].all()
