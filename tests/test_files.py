"""Files that are whole or not there."""

from __future__ import annotations

import pytest

from edgerec.errors import DataError
from edgerec.files import dump_json, read_json, replacing, write_json, write_whole


def test_equal_values_give_equal_bytes(tmp_path):
    write_json(tmp_path / "a.json", {"x": 1, "y": [2.5]})
    write_json(tmp_path / "b.json", {"y": [2.5], "x": 1})

    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert dump_json({"b": 1, "a": "é"}) == '{"a":"é","b":1}\n'.encode()


def test_an_order_that_tells_something_stays(tmp_path):
    write_json(tmp_path / "a.json", {"y": "é", "x": 1}, sort_keys=False, ensure_ascii=False)

    assert (tmp_path / "a.json").read_text("utf-8") == '{\n "y": "é",\n "x": 1\n}\n'
    assert read_json(tmp_path / "a.json") == {"x": 1, "y": "é"}


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_replaced_whole_and_its_folder_made(tmp_path, durable):
    path = tmp_path / "new" / "a.txt"
    write_whole(path, "one", durable)
    write_whole(path, b"two", durable)

    assert path.read_text() == "two"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_after_an_error_the_old_file_stands_alone(tmp_path):
    path = tmp_path / "a.txt"
    write_whole(path, "old")
    with pytest.raises(RuntimeError), replacing(path) as part:
        part.write_text("half")
        raise RuntimeError

    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(("content", "said"), [(None, "cannot be read"), ("[]", "expected a JSON object"), ("{", "")])
def test_what_is_not_an_object_is_one_error(tmp_path, content, said):
    if content is not None:
        (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match=f"a.json: .*{said}.*run the stage"):
        read_json(tmp_path / "a.json")
