"""What may be drawn."""

from __future__ import annotations

import pytest

from edgerec.config import Config
from edgerec.experiments.tuning.space import applied, present


@pytest.fixture
def config() -> Config:
    space = {"student.dim": {"low": 8, "high": 64}, "student.size": ["nano", "std"], "distillation.epochs": [4, 16]}
    return Config.of(
        {
            "name": "shop",
            "data": {"interactions": "l.csv", "user": "u", "item": "i", "time": "t"},
            "task": [{"name": "next", "kind": "retrieval"}],
            "tuning": {"metric": "next.ndcg@10", "stage": "student", "space": space},
        }
    )


def test_a_width_that_a_preset_gives_is_no_point_of_the_space(config):
    assert present(config) is None
    assert present(applied(config, {"student.dim": 16})) == {
        "student.dim": 16,
        "student.size": "std",
        "distillation.epochs": 16,
    }


def test_a_drawn_width_takes_the_place_of_the_presets_and_the_others_stay(config):
    student = applied(config, {"student.dim": 16, "student.size": "nano"}).student

    assert student.widths == (16, 16, 2, 64)
