import numpy as np
import pytest

from edgerec.evaluation.faithful import deletion_test
from edgerec.runtime import ArrayRecommender, Events
from tests import toy


def asked(*items):
    n = len(items)
    return {
        "history": Events(np.array(items, np.int64), np.zeros(n, np.int64), np.full(n, toy.NOW_MS)),
        "now": toy.NOW_MS,
    }


def test_reasons_that_are_true_matter_more_than_others(toy_bundle):
    with ArrayRecommender.of(toy_bundle) as rec:
        values = deletion_test(rec, [asked(0, 7), asked(1, 5), asked(2, 2, 4), asked(3)], seed=0)
    assert values["top reason matters more"].value == 1.0
    assert values["top reason matters more"].n == 3  # one past has one item only
    assert values["lost without the top reason"].value > values["lost without another past item"].value


def test_the_share_that_is_lost_is_what_the_utility_loses(toy_bundle):
    with ArrayRecommender.of(toy_bundle) as rec:
        values = deletion_test(rec, [asked(0, 7)], seed=0)
        whole, without = (rec.rate(np.array([0]), **asked(*past)).utility[0] for past in ((0, 7), (7,)))
    assert values["lost without the top reason"].value == pytest.approx(1 - without / whole)


def test_without_a_past_there_is_nothing_to_take_out(toy_bundle):
    with ArrayRecommender.of(toy_bundle) as rec:
        assert deletion_test(rec, [asked(3)], seed=0) == {}
