"""What a bundle does as a whole is what its answers say."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from edgerec.cli.main import app
from edgerec.runtime import Events, Recommender
from edgerec.runtime.overview import overview
from edgerec.tasks.units import MS_PER_DAY


@pytest.fixture
def rec(toy_bundle):
    with Recommender.of(toy_bundle) as opened:
        yield opened


def test_an_effect_is_the_ratio_of_answers_with_and_without_a_value(rec):
    effects = {(e.what, e.value): e.factor for e in overview(rec).effects}
    now = rec.arrays.model.created_ms
    nothing = Events([], np.zeros(0, np.int64), np.zeros(0, np.int64))
    items = [row.item for row in rec.recommend(40, now=now, history=nothing)]
    with_value = rec.score(items, now=now, history=nothing, context={"tab": "home"})
    without = rec.score(items, now=now, history=nothing)
    for task in rec.tasks:
        wanted = np.mean([r.probability[task] for r in with_value]) / np.mean([r.probability[task] for r in without])
        assert effects["tab", "home"][task] == pytest.approx(wanted)
    assert {("country", "DE"), ("age", "a standard deviation above")} <= set(effects)


def test_repeats_are_reported_for_each_kind_and_age(rec):
    whole = overview(rec)
    assert {e.what for e in whole.repeats} == {"had it: event", "had it: click", "had it: like"}
    now = rec.arrays.model.created_ms
    (one,) = rec.score(["i3"], now=now, history=Events(["i3"], np.array([1]), np.array([now - MS_PER_DAY])))
    assert one.probability["next"] > 0 and len(whole.repeats) == 12


def test_neighbours_are_other_items(rec):
    for item, closest in overview(rec).neighbours:
        assert len(closest) == len(set(closest)) == 5 and item not in closest


def test_the_command_shows_it_and_refuses_a_past_without_an_item(toy_bundle):
    told = CliRunner().invoke(app, ["explain", str(toy_bundle)])
    assert told.exit_code == 0 and "Repeats" in told.stdout and "had it: click" in told.stdout
    assert set(json.loads(CliRunner().invoke(app, ["explain", str(toy_bundle), "--json"]).stdout)) == {
        "effects", "repeats", "neighbours",
    }  # fmt: skip
    refused = CliRunner().invoke(app, ["explain", str(toy_bundle), "--history-items", "i1"])
    assert refused.exit_code == 2 and "give its id" in refused.stderr
