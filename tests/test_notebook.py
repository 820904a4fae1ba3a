"""From a table in memory to a dataset, as in a notebook."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import edgerec
from edgerec.data import Dataset
from edgerec.errors import ConfigError
from tests.data.test_prepare import log

NOTEBOOK = Path(__file__).parents[1] / "tools" / "site" / "pages" / "tutorials" / "notebook.ipynb"
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
def test_the_notebook_goes_from_a_frame_to_recommendations(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    names: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), str(NOTEBOOK), "exec"), names)

    assert names["recommended"]["film"].n_unique() == 5
    assert set(names["recommended"]["film"]) <= set(names["log"]["film"])
    assert {"train", "distill", "quantize", "evaluate"} <= names["reports"].keys()
