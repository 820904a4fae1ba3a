"""A small ensemble of the tiny log, fitted once."""

from __future__ import annotations

import pytest

from edgerec.stages.run import ensemble_settings

SMALL = {
    "members": ("ease", "als", "popularity", "own", "transitions", "reranker"),
    "windows": 2,
    "window": "7d",
    "candidates": 40,
    "trees": 10,
    "leaves": 4,
}


@pytest.fixture(scope="session")
def small_config(tiny_config):
    """Settings of the tiny log with an ensemble of two windows, without boosting."""
    return tiny_config.model_copy(update={"ensemble": tiny_config.ensemble.model_copy(update=SMALL)})


@pytest.fixture(scope="session")
def members_folder(tmp_path_factory):
    """The folder of `members`; tests must leave it as it is."""
    return tmp_path_factory.mktemp("members")


@pytest.fixture(scope="session")
def members(small_config, tiny_data, members_folder):
    """All members but boosting, fitted on what `tiny_data` learns from."""
    from edgerec.ensemble.members import Members
    from edgerec.progress import Silent

    return Members.fit(ensemble_settings(small_config), tiny_data, members_folder, range(2), None, Silent())


@pytest.fixture(scope="session")
def network(small_config, tiny_data):
    """An untrained network: it knows nothing, but always the same."""
    from edgerec.training.teacher import build_teacher

    return build_teacher(small_config.teacher, small_config.seed, tiny_data).eval()
