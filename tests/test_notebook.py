"""From a table in memory to a dataset, as in a notebook."""

from __future__ import annotations

import polars as pl
import pytest

import edgerec
from edgerec.data import Dataset
from edgerec.errors import ConfigError
from tests import tiny
from tests.data.test_prepare import log

SPLIT = {"split": {"valid": "1d", "test": "1d"}}


@pytest.mark.parametrize(
    "of", [pl.DataFrame, lambda rows: pl.DataFrame(rows).lazy(), lambda rows: pl.DataFrame(rows).to_arrow()]
)
def test_tables_of_several_libraries_become_a_dataset(tmp_path, of):
    films = pl.DataFrame({"item": ["x", "y", "z"], "title": ["X", "Y", "Z"]})
    data = SPLIT | {"items": {"id": "item", "text": ["title"]}}
    project = edgerec.prepare(of(log()), user="user", item="item", time="time", items=films, folder=tmp_path, data=data)
    dataset = Dataset.open(project.folder / "dataset")

    assert dataset.items()["title"].to_list() == ["X", "Y", "Z"]
    assert dataset.meta.rows["train"] == 4


def test_what_is_no_table_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="interactions: expected a table, got int"):
        edgerec.prepare(5, user="user", item="item", time="time", folder=tmp_path)


@pytest.mark.slow
def test_the_whole_chain_runs_from_a_frame(tmp_path):
    values = tiny.settings()
    del values["name"], values["data"]["interactions"]
    data, tasks = values.pop("data"), values.pop("task")
    roles = {role: data.pop(role) for role in ("user", "item", "time")}
    frame = pl.DataFrame(tiny.rows())
    project = edgerec.prepare(frame, **roles, task=tasks, folder=tmp_path / "tiny", data=data, **values)
    project.run()

    with project.recommender() as rec:
        assert len(rec.recommend(3)) == 3
