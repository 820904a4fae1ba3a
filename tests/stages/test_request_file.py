"""A file of requests is read as the bundle's log was, whatever else is in the file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgerec.errors import DataError
from edgerec.stages.batch.request_file import RequestFile
from edgerec.tasks.request import Categorical, Numeric, RequestEncoder

MAY_3 = round(datetime(2024, 5, 3, tzinfo=UTC).timestamp() * 1000)


def read(tmp_path, text, **data):
    path = tmp_path / "requests.csv"
    path.write_text(text)
    data = {"interactions": "log.csv", "user": "user", "item": "item", "time": "time", **data}
    settings = {"name": "x", "data": data, "task": [{"name": "next", "kind": "retrieval"}]}
    columns = (Categorical("store", "context", ("01", "true")),)
    encoder = RequestEncoder((), (), 8, categorical=columns, numeric=(Numeric("price", "context", 0.0, 1.0),))
    bundle = SimpleNamespace(manifest=SimpleNamespace(settings=settings), folder=Path("bundle"))
    return RequestFile.read(path, SimpleNamespace(bundle=bundle, encoder=encoder))


@pytest.mark.parametrize("other", ["", "b,12/31/2024\n", "b,2024-05-04\n"])
def test_a_row_means_the_same_whatever_rows_stand_beside_it(tmp_path, other):
    text = f"user,time\na,03/05/2024\n{other}"
    if "31" in other:
        with pytest.raises(DataError, match=r"first is row 1: '12/31/2024'; the log's times are %d/%m/%Y"):
            read(tmp_path, text, time_format="%d/%m/%Y")
    else:
        assert read(tmp_path, text, time_format="%d/%m/%Y").time_ms[0] == MAY_3


@pytest.mark.parametrize("other", ["", "b,2024-05-03,0A,x\n"])
def test_categories_keep_their_zeros_and_other_rows_do_not_matter(tmp_path, other):
    requests = read(tmp_path, f'user,time,store,price\na,2024-05-03,01,"1,5"\n{other}', decimal=",")

    assert requests.context[0] == {"store": "01", "price": 1.5}


def test_values_of_an_app_are_spelled_as_vocabularies_are():
    encoder = RequestEncoder((), (), 8, categorical=(Categorical("c", "context", ("true", "4", "01")),))

    def index(value):
        return encoder.categories({"c": value}, 0).tolist()[0]

    assert [index(value) for value in (True, "True", 4, 4.0, "4.0", "01", 1, "x")] == [1, 1, 2, 2, 2, 3, 0, 0]
