"""Columns with several values in a cell, from the log and from tables beside it."""

import polars as pl
import pytest

from edgerec.data import Dataset, prepare
from edgerec.errors import DataError
from tests.data.test_prepare import config, log, run


def test_cells_of_items_are_lists_of_indices_the_most_frequent_value_first(tmp_path):
    cells = {"x": "Drama|War", "y": "Drama", "z": " Comedy | Drama"}
    rows = log(genres=[cells[i] for i in log()["item"]])
    dataset = run(tmp_path, rows, items={"multi": ["genres"]})
    (parts,) = dataset.meta.items.multi
    assert (parts.name, parts.values, parts.separator) == ("genres", ("Drama", "Comedy", "War"), "|")
    items = dict(dataset.items().select("id", "multi.genres").rows())
    assert items == {"x": [1, 3], "y": [1], "z": [2, 1]}
    assert dict(dataset.items().select("id", "raw.genres").rows())["z"] == ["Comedy", "Drama"]


def test_users_beside_the_log_may_have_lists_blanks_and_nothing(tmp_path):
    users = {"user": ["a", "b", "c"], "tastes": [["k", "k", ""], None, ["j"]]}
    pl.DataFrame(users).write_parquet(tmp_path / "users.parquet")
    dataset = run(tmp_path, log(), users={"path": "users.parquet", "multi": ["tastes"]})
    assert dataset.users()["multi.tastes"].to_list() == [[1], []]
    assert dataset.meta.users.multi[0].values == ("k",)


def test_values_beyond_the_most_frequent_ones_are_unknown_and_said(tmp_path):
    cells = {"x": "a;b", "y": "a;c", "z": "a;d"}
    pl.DataFrame(log(tags=[cells[i] for i in log()["item"]])).write_csv(tmp_path / "log.csv")
    items = {"multi": ["tags"], "multi_separator": ";", "multi_values": 2}
    report = prepare(config(tmp_path, items=items), tmp_path, judged_on=())
    dataset = Dataset.open(report.folder)
    assert dataset.meta.items.multi[0].values == ("a", "b")
    assert dataset.items()["multi.tags"].to_list() == [[1, 2], [1], [1]]
    assert any("'tags': 4 different values, 2 of them learned; 2.0 in a cell" in note for note in report.notes)


def test_another_separator_than_the_settings_say_is_refused_with_the_right_one(tmp_path):
    cells = {"x": "a,b", "y": "b,a", "z": "a"}
    rows = log(tags=[cells[i] for i in log()["item"]])
    with pytest.raises(DataError, match=r"no cell holds '\|', such as 'a,b'; set multi_separator = \",\""):
        run(tmp_path, rows, items={"multi": ["tags"]})


def test_records_are_refused(tmp_path):
    pl.DataFrame({"item": ["x", "y", "z"], "tags": [[{"k": 1}]] * 3}).write_parquet(tmp_path / "items.parquet")
    with pytest.raises(DataError, match=r"multi 'tags': expected texts or lists of texts"):
        run(tmp_path, log(), items={"path": "items.parquet", "multi": ["tags"]})
