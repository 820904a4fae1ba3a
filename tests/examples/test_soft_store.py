"""Labels on disk."""

from __future__ import annotations

import pickle

import numpy as np
import polars as pl
import pytest

from edgerec.examples.soft_store import SoftStore, key_of, spans


def columns(start: int, end: int) -> dict:
    values = np.arange(start, end)
    return {"score": np.stack([values, values + 0.5], axis=1).astype(np.float16)}


def test_labels_come_back_by_example_in_memory_and_mapped(tmp_path):
    store = SoftStore.open(tmp_path / "soft", "k")
    order = np.array([3, 0, 4, 1, 2])
    store.fill("sessions", spans(5, 2), lambda a, b: {"example": order[a:b], "score": order[a:b].astype(np.float16)})

    assert store.read("sessions")["score"].tolist() == [0, 1, 2, 3, 4]
    there = store.read("sessions", tmp_path / "place")["score"]
    assert there.tolist() == [0, 1, 2, 3, 4]
    assert len(pickle.dumps(there)) < 500 and pickle.loads(pickle.dumps(there)).tolist() == there.tolist()


def test_a_stopped_labelling_goes_on_with_the_part_that_is_missing(tmp_path):
    asked = []

    def label(start: int, end: int) -> dict:
        asked.append(start)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return columns(start, end)

    with pytest.raises(KeyboardInterrupt):
        SoftStore.open(tmp_path, "k").fill("rows", spans(5, 2), label)
    store = SoftStore.open(tmp_path, "k")
    assert not store.has("rows")
    store.fill("rows", spans(5, 2), label)

    assert asked == [0, 2, 2, 4]
    assert store.has("rows")
    assert store.read("rows")["score"].tolist() == columns(0, 5)["score"].tolist()


def test_labels_of_another_teacher_are_made_anew(tmp_path):
    SoftStore.open(tmp_path, "k").fill("rows", spans(5, 2), columns)

    assert SoftStore.open(tmp_path, "k").has("rows")
    assert not SoftStore.open(tmp_path, "other").has("rows")
    assert not list(tmp_path.glob("*.parquet"))


def test_labels_are_parquet_of_half_precision(tmp_path):
    store = SoftStore.open(tmp_path, "k")
    store.fill("rows", spans(5, 10), columns)

    assert pl.read_parquet_schema(tmp_path / "rows-00000.parquet")["score"] == pl.Array(pl.Float16, 2)
    assert store.bytes == (tmp_path / "rows-00000.parquet").stat().st_size
    assert store.seconds >= 0


def test_a_key_depends_on_every_part():
    assert len({key_of(), key_of("a"), key_of(b"a"), key_of("a", 1), key_of("a", 2)}) == 5
