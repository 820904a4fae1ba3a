"""Cells with several values: one rule for files and requests, and their numbers in a request."""

import numpy as np
import pytest

from edgerec.tasks import Multi, RequestEncoder, parts_of

ENCODER = RequestEncoder(
    binary=(),
    rates=(),
    max_history=4,
    multi=(Multi("tastes", "user", ("a", "b", "7"), "|"), Multi("m", "user", ("x",), ";")),
)


@pytest.mark.parametrize(
    "cell",
    [
        "a|b|7",
        " a | b||7.0",
        "['a', 'b', '7']",
        '["a","b",7]',
        ["a", "b", 7],
        ("a", None, "b", 7.0, float("nan")),
        np.array(["a", "b", "7", "a"]),
    ],
)
def test_a_list_a_list_as_text_and_a_cut_text_are_the_same(cell):
    assert parts_of(cell, "|") == ("a", "b", "7")


@pytest.mark.parametrize("cell", [None, "", " | ", [], "[]", [None, " "], float("nan")])
def test_nothing_is_no_value(cell):
    assert parts_of(cell, "|") == ()


def test_each_value_is_a_number_and_the_known_ones_of_a_cell_sum_to_one():
    past = ENCODER.past(*np.zeros((3, 0), np.int64))

    def numbers(**values):
        return ENCODER.encode(past, 0, values).context_numeric[6:].tolist()

    assert numbers(tastes="a|7|unknown", m="x;y") == [0.5, 0.0, 0.5, 1.0]
    assert numbers(tastes=["7"]) == [0.0, 0.0, 1.0, 0.0]
    assert numbers() == [0.0] * 4
    assert ENCODER.numeric_names[6:] == ["tastes=a", "tastes=b", "tastes=7", "m=x"]


def test_a_manifest_keeps_several_values_and_none_writes_no_key():
    assert RequestEncoder.from_json(ENCODER.to_json()) == ENCODER
    assert "multi" not in RequestEncoder(binary=(), rates=(), max_history=4).to_json()
