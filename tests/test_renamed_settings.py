"""Old settings keys are read as the new ones, each with one warning line that names both."""

from __future__ import annotations

import tomllib
import warnings
from typing import Any

import pytest

from edgerec.config import Config
from edgerec.config.renamed import KEYS, SECTIONS
from edgerec.errors import OLD_NAMES_UNTIL, ConfigError, RenamedWarning, deprecated

LOG = """
name = "shop"
[data]
interactions = "log.parquet"
user = "user"
item = "item"
time = "time"
session = "basket"
[[task]]
name = "next"
kind = "retrieval"
[[task]]
name = "click"
kind = "binary"
label = "is_click"
"""
RENAMED_KEYS = [(section, old, new) for section, keys in KEYS.items() for old, new in keys.items()]
VALUES = {"kernel": "nbits8", "min_overlap": 0.9, "qat": 0.5, "future": 0.25, "max_auc_drop": 0.1}
"""Values other than the defaults; a key that is not here counts, and takes 7."""


def settings(**sections: Any) -> dict[str, Any]:
    return tomllib.loads(LOG) | sections


def read(values: dict[str, Any]) -> tuple[Config, list[str]]:
    """The settings, and the lines of the warnings."""
    deprecated.cache_clear()  # a name is warned of once in a process
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        config = Config.of(values, source="shop.toml")
    assert all(issubclass(warning.category, RenamedWarning) for warning in caught)
    return config, [str(warning.message) for warning in caught]


@pytest.mark.parametrize(("section", "old", "new"), RENAMED_KEYS)
def test_an_old_key_is_read_as_its_new_one_with_one_line_that_names_both(section, old, new):
    value = VALUES.get(new, 7)
    config, lines = read(settings(**{section: {old: value}}))
    today, silent = read(settings(**{section: {new: value}}))

    assert config == today and getattr(config.sections[section], new) == value
    assert lines == [
        f"shop.toml: [{section}] {old} is now called [{section}] {new}; "
        f"the old name is read until version {OLD_NAMES_UNTIL}"
    ]
    assert silent == []


@pytest.mark.parametrize(("old", "new"), SECTIONS.items())
def test_an_old_section_is_read_as_its_new_one(old, new):
    config, lines = read(settings(**{old: {"windows": 4}}))

    assert config == read(settings(**{new: {"windows": 4}}))[0]
    assert len(lines) == 1 and lines[0].startswith(f"shop.toml: [{old}] is now called [{new}];")


@pytest.mark.parametrize(("section", "old", "new"), RENAMED_KEYS)
def test_an_old_key_beside_its_new_one_is_refused_in_one_line(section, old, new):
    both = rf"^shop.toml: \[{section}\] {old} is the old name of \[{section}\] {new}; leave one out$"
    with pytest.raises(ConfigError, match=both):
        Config.of(settings(**{section: {old: 7, new: 7}}), source="shop.toml")


def test_an_old_section_beside_its_new_one_is_refused_in_one_line():
    with pytest.raises(ConfigError, match=r"\[committee\] is the old name of \[ensemble\]; leave one out"):
        Config.of(settings(committee={}, ensemble={}))


@pytest.mark.parametrize("space", ['"teacher.visits" = [64, 128]', "teacher.visits = [64, 128]"])
def test_the_keys_of_a_search_are_read_too_with_quotes_and_without(space):
    config, lines = read(settings(tuning={"space": tomllib.loads(space)}))

    assert config.tuning.space == {"teacher.sessions": (64, 128)}
    assert len(lines) == 1
    assert lines[0].startswith("shop.toml: [tuning.space] teacher.visits is now called [tuning.space] teacher.sessions")


@pytest.mark.parametrize(
    "space",
    [
        {"teacher.visits": [64, 128], "teacher.sessions": [64, 128]},
        {"teacher": {"visits": [64, 128], "sessions": [64, 128]}},
    ],
)
def test_a_search_with_an_old_key_beside_its_new_one_is_refused(space):
    message = r"\[tuning.space\] teacher.visits is the old name of \[tuning.space\] teacher.sessions; leave one out"
    with pytest.raises(ConfigError, match=message):
        Config.of(settings(tuning={"space": space}))


DEMOS = {
    "retail": (
        """
        [committee]
        windows = 4
        requests = 3_000
        candidates = 100
        trees = 100
        learning_rate = 0.1
        [distillation]
        unlabelled = 2.0
        [quantization]
        web = true
        """,
        """
        [ensemble]
        windows = 4
        requests = 3_000
        candidates = 100
        trees = 100
        learning_rate = 0.1
        [distillation]
        pseudo_labelled = 2.0
        [quantization]
        web = true
        """,
        2,
    ),
    "video": (
        """
        [teacher]
        epochs = 5
        learning_rate = 1e-3
        visits_per_epoch = 10_000
        [committee]
        members = ["boosting"]
        [student]
        dim = 16
        hidden = 96
        [distillation]
        hard = 0.1
        probabilities = 0.9
        epochs = 8
        visits_per_epoch = 10_000
        unlabelled = 0.5
        """,
        """
        [teacher]
        epochs = 5
        learning_rate = 1e-3
        sessions_per_epoch = 10_000
        [ensemble]
        members = ["boosting"]
        [student]
        dim = 16
        hidden = 96
        [distillation]
        hard = 0.1
        probabilities = 0.9
        epochs = 8
        requests_per_epoch = 10_000
        pseudo_labelled = 0.5
        """,
        4,
    ),
}
"""The sections of both demos in version 0.1 and now, and how many names have changed."""


@pytest.mark.parametrize("demo", DEMOS)
def test_the_old_settings_of_a_demo_are_those_of_now(demo):
    before, now, changed = DEMOS[demo]
    config, lines = read(settings(**tomllib.loads(before)))
    today, silent = read(settings(**tomllib.loads(now)))

    assert config == today
    assert (len(lines), silent) == (changed, [])
