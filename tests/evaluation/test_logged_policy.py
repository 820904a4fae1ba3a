"""What the bundle would have earned in place of the logging system, on choices that can be counted by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from edgerec.config import Config
from edgerec.data import Dataset, prepare
from edgerec.errors import ConfigError, DataError
from edgerec.evaluation.logged_policy import AS_LOGGED, evaluate_logged_policy
from edgerec.progress import Silent
from edgerec.tasks import Task
from tests import tiny

CLICK = Task("click", "binary", "click")


def model(item, click, propensity):
    """A bundle of two items that always shows item 0 first, on a log of these rows, each of another user."""
    n = len(item)
    log = tiny.log_of([(user, of, 1000, 0) for user, of in enumerate(item)], n, click=click)
    past = tiny.log_of([(user, 0, 10, 0) for user in range(n)], n)
    ranked = SimpleNamespace(item=np.array([0, 1]), probability=np.array([[0.9], [0.1]]))
    recommender = SimpleNamespace(
        tasks=("click",),
        bundle=SimpleNamespace(manifest=SimpleNamespace(tasks=[CLICK])),
        rank=lambda k, **_: ranked,
        rate=lambda items, **_: SimpleNamespace(probability=ranked.probability[items]),
    )
    known = None
    if propensity is not None:
        known = pl.DataFrame({"row": log.row, "propensity": [propensity[row] for row in log.row.tolist()]})
    data = SimpleNamespace(
        tasks=(CLICK,), train_log=past, evaluation_log=log, dataset=SimpleNamespace(propensities=lambda: known)
    )
    return SimpleNamespace(
        data=data, recommender=recommender, place=np.array([0, 1]), progress=Silent(), request=lambda events, row: {}
    )


def test_rows_that_the_bundle_would_have_shown_count_by_their_propensity():
    # Item 0 is shown with 0.25 and clicked half of the time; item 1 with 0.75 and never.
    item, click = [0, 0, 1, 1, 1, 1, 1, 1], [1.0, 0.0, 0, 0, 0, 0, 0, 0]
    found = evaluate_logged_policy(model(item, click, [0.25] * 2 + [0.75] * 6)).values
    assert found[AS_LOGGED]["click"]["snips"].value == 1 / 8
    best = found["int8, the best item"]["click"]
    assert best["ips"].value == 0.5  # (1 / 0.25) / 8
    assert best["snips"].value == 0.5  # of the two rows with item 0, one is clicked
    both = found["int8, one of its ten best"]["click"]
    assert both["ips"].value == pytest.approx(0.5 / 0.25 / 8)  # each of two items is shown half of the time


def test_thin_support_and_rows_without_a_propensity_are_told():
    found = evaluate_logged_policy(model([0, 1], [1.0, 0.0], [0.5, None]))
    assert found.notes[0].startswith("1 rows without a propensity")
    assert any("support is thin" in note for note in found.notes)
    assert evaluate_logged_policy(model([0], [1.0], None)).values == {}


def prepared(folder, propensity):
    folder.mkdir(exist_ok=True)
    log = tiny.rows()
    tiny.write(folder, log | {"pscore": propensity(len(log["user"]))})
    values = tiny.settings()
    values["data"]["propensity"] = "pscore"
    return prepare(Config.of(values, folder=folder), folder / "run")


def test_propensities_of_the_evaluation_parts_are_kept(tmp_path):
    report = prepared(tmp_path / "a", lambda n: [0.25] * n)
    dataset = Dataset.open(report.folder)
    known = dataset.propensities()
    assert len(known) == dataset.meta.rows["valid"] + dataset.meta.rows["test"]
    assert known["propensity"].unique().to_list() == [0.25]
    with pytest.raises(DataError, match=r"propensity = 'pscore': 1.5 in row \d+ is no probability"):
        prepared(tmp_path / "b", lambda n: [1.5] * n)


def test_a_propensity_cannot_be_a_feature():
    values = tiny.settings()
    values["data"]["propensity"] = "battery"
    with pytest.raises(ConfigError, match="'battery' cannot be a feature: it is the propensity"):
        Config.of(values)
