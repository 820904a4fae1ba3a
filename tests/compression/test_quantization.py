"""What a bundle says beside its graphs; the stage itself is run in tests/test_chain.py."""

from __future__ import annotations

from pathlib import Path

from edgerec.compression.quantization import _policy
from tests import tiny


def weights(*names):
    tasks = [{**task, "weight": 2.0} for task in tiny.TASKS if task["name"] in names]
    return _policy(tiny.config(Path(), tasks))["weights"]


def test_by_default_every_task_counts_by_its_weight_but_an_amount_beside_others_does_not():
    assert weights("next", "click", "watch", "related") == {"next": 2.0, "click": 2.0, "watch": 0.0}


def test_an_amount_alone_decides_or_nothing_would_be_ranked():
    assert weights("watch") == {"watch": 2.0}
