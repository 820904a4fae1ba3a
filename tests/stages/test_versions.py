"""The bundle as it was at the time of each request, which evaluation asks."""

from __future__ import annotations

import shutil

import pytest

from edgerec.config import Config
from edgerec.examples.evaluation_requests import find_evaluation_requests
from edgerec.progress import Silent
from edgerec.stages.run import Run
from edgerec.stages.versions import daily_versions


@pytest.mark.slow
def test_versions_of_other_times_are_asked_by_the_engine_that_the_bundle_is_asked_by(tiny_chain, tmp_path):
    folder = shutil.copytree(tiny_chain, tmp_path / "chain")
    run = Run(Config.load(folder / "edgerec.toml"), folder / "run", Silent())
    data = run.learning_data()

    with daily_versions(run, data, find_evaluation_requests(data)) as versions:
        assert len(versions.earlier) > 1
        assert {version.scoring.name for version in versions.earlier} == {versions.last.scoring.name}
