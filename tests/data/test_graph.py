"""Edges of a knowledge graph: what they join, what is rejected and why."""

from __future__ import annotations

import json

import polars as pl
import pytest

from edgerec.data import Dataset, prepare
from edgerec.errors import DataError
from edgerec.stages.run import Run
from tests.data.test_prepare import config, log, write

EDGES = {
    "head": ["x", "x", "y", None, "z", "x", "acme", "x", " "],
    "relation": ["brand", "brand", "brand", "brand", None, "brand", "owner", "like", "brand"],
    "tail": ["acme", "acme", "acme", "acme", "acme", "x", "holding", "y", "acme"],
}


def run(folder, edges=EDGES, suffix="csv"):
    write(folder, log())
    frame, path = pl.DataFrame(edges), folder / f"kg.{suffix}"
    {"csv": frame.write_csv, "parquet": frame.write_parquet, "jsonl": frame.write_ndjson}[suffix](path)
    return Dataset.open(prepare(config(folder, graph={"edges": path.name}), folder, judged_on=()).folder)


def named(dataset):
    names = [*dataset.items()["id"], *dataset.meta.graph.entities]
    rows = dataset.graph().iter_rows()
    return [(names[head], dataset.meta.graph.relations[relation], names[tail]) for head, relation, tail in rows]


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_heads_and_tails_are_items_by_their_id_and_else_entities(tmp_path, suffix):
    dataset = run(tmp_path, suffix=suffix)

    assert named(dataset) == [
        ("x", "brand", "acme"),
        ("y", "brand", "acme"),
        ("acme", "owner", "holding"),
        ("x", "like", "y"),
    ]
    assert set(dataset.meta.graph.entities) == {"acme", "holding"}
    assert json.loads((dataset.folder / "dataset.json").read_text())["graph"]["relations"] == ["brand", "like", "owner"]


def test_every_edge_is_kept_or_rejected_with_a_reason(tmp_path):
    dataset = run(tmp_path)
    counts = dataset.meta.graph.counts

    assert (counts.rows_in, counts.kept) == (9, 4)
    assert counts.rejected == {"missing head": 2, "duplicate": 1, "joins a thing to itself": 1, "missing relation": 1}
    rejected = pl.read_parquet(dataset.folder / "graph_rejected.parquet")
    assert dict(rejected.select("row", "reason").rows())[5] == "joins a thing to itself"


def test_ids_are_text_as_the_log_writes_them(tmp_path):
    write(tmp_path, log(item=["007", "8", "9", "007", "8", "9"]))
    write(tmp_path, {"head": ["007"], "relation": ["made_by"], "tail": ["7"]}, "kg.csv")
    dataset = Dataset.open(prepare(config(tmp_path, graph={"edges": "kg.csv"}), tmp_path, judged_on=()).folder)

    assert dataset.meta.graph.entities == ("7",)
    assert dataset.items()["id"][dataset.graph()["head"][0]] == "007"


@pytest.mark.parametrize(
    ("edges", "said"),
    [
        (
            {"head": ["x"], "relation": ["r"], "to": ["y"]},
            "no column 'tail'; expected head, relation and tail",
        ),
        ({"head": ["p"], "relation": ["r"], "tail": ["q"]}, r"no head or tail \(such as 'p'\) is the id of an item"),
        ({"head": [None], "relation": ["r"], "tail": ["x"]}, "no head or tail is the id of an item"),
    ],
)
def test_a_graph_that_cannot_be_one_is_told(tmp_path, edges, said):
    with pytest.raises(DataError, match=said):
        run(tmp_path, edges)


def test_a_missing_file_is_told(tmp_path):
    write(tmp_path, log())
    with pytest.raises(DataError, match=r"gone\.csv: no such file"):
        prepare(config(tmp_path, graph={"edges": "gone.csv"}), tmp_path)


def test_a_dataset_without_a_graph_has_no_edges(tmp_path):
    write(tmp_path, log())
    assert Dataset.open(prepare(config(tmp_path), tmp_path).folder).graph().is_empty()


def test_a_part_leaves_out_items_that_it_does_not_know_yet(tmp_path):
    from edgerec.progress import Silent

    # Part valid is fitted on days 0 to 3, which hold x and y; z comes later.
    write(tmp_path, log(item=["x", "y", "x", "y", "z", "z"]))
    write(tmp_path, {"head": ["x", "y", "z"], "relation": ["brand"] * 3, "tail": ["acme"] * 3}, "kg.csv")
    settings = config(tmp_path, graph={"edges": "kg.csv"})
    settings = settings.model_copy(update={"teacher": settings.teacher.model_copy(update={"graph_layers": 1})})
    prepare(settings, tmp_path, judged_on=())
    found = {}
    for part in ("valid", "test"):
        data = Run(settings, tmp_path, Silent()).learning_data(part)
        brand = data.as_of(-1).graph.layers[0][-1]
        entity = data.n_items
        found[part] = brand.source[brand.offsets[entity] : brand.offsets[entity + 1]].tolist()
        assert data.shape.entities == 1

    assert found == {"valid": [0, 1], "test": [0, 1, 2]}
