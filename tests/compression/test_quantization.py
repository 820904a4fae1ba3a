"""What a bundle says beside its graphs; the stage itself is run in tests/test_chain.py."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from edgerec.compression.catalog_filter import among
from edgerec.errors import ConfigError
from edgerec.progress import Silent
from edgerec.stages.quantize import _attributes, _catalog_rows, _policy, quantize
from edgerec.stages.run import Run
from edgerec.tasks import Encoded
from edgerec.tasks.buffers import floats, ints
from tests import tiny


def weights(*names):
    tasks = [{**task, "weight": 2.0} for task in tiny.TASKS if task["name"] in names]
    return _policy(tiny.config(Path(), tasks))["weights"]


def test_by_default_every_task_counts_by_its_weight_but_an_amount_beside_others_does_not():
    assert weights("next", "click", "watch", "related") == {"next": 2.0, "click": 2.0, "watch": 0.0}


def test_an_amount_alone_decides_or_nothing_would_be_ranked():
    assert weights("watch") == {"watch": 2.0}


def test_an_attribute_called_like_a_column_of_the_catalogue_keeps_its_values_under_another_name():
    items = pl.DataFrame({"id": ["a"], "title": ["A mug"], "raw.Title": ["mug"], "raw.price": [2.0]})
    data = SimpleNamespace(dataset=SimpleNamespace(items=lambda: items), n_items=1)

    assert list(_attributes(data)) == ["item_Title", "price"]
    assert list(_catalog_rows(data, np.array([0]))) == [
        {"id": "a", "title": "A mug", "item_Title": "mug", "price": 2.0}
    ]


def test_a_runtime_too_old_for_the_graphs_is_refused_before_any_work(tiny_config, tmp_path):
    text = (Path(__file__).parents[2] / "devices" / "kiosk-x86.toml").read_text()
    (tmp_path / "old.toml").write_text(text.replace("opset = 18", "opset = 17"))
    old = tiny_config.model_copy(update={"device": str(tmp_path / "old.toml")})

    with pytest.raises(ConfigError, match="device old: knows operator set 17, and the graphs need 18"):
        quantize(Run(old, tmp_path, Silent()))


def test_a_past_keeps_what_the_bundle_holds_and_counts_as_the_bundle_does():
    past = ints([4, 1, 3, 9])
    numbers = {name: floats(past) for name in ("history_count", "history_age_h", "history_interval_h")}
    request = Encoded(past, past, **numbers, context_categorical=past, context_numeric=past)
    found = among(np.array([1, 4, 7]), request)

    assert found.history.tolist() == [1, 0]
    assert found.history_age_h.tolist() == found.history_kind.tolist() == [4, 1]
    assert found.context_categorical.tolist() == past.tolist()
