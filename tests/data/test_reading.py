"""A log is read right or refused: numbers, categories, missing words, times, and what `prepare` says of them."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerec.config import Config
from edgerec.data import Dataset, prepare
from edgerec.data.cleaning import duplicates
from edgerec.data.numbers import number_of
from edgerec.data.readers import Source
from edgerec.errors import ConfigError, DataError
from tests.data.test_prepare import BINARY, config, log, rejected, run, write


def read_numbers(values, decimal="."):
    return pl.DataFrame({"t": values}).select(number_of(pl.col("t"), decimal)).to_series().to_list()


def prepared(folder, rows, tasks=None, **data):
    write(folder, rows)
    report = prepare(config(folder, tasks, **data), folder, judged_on=())
    return Dataset.open(report.folder), "\n".join(report.notes)


# ---------------------------------------------------------------------------- numbers


def test_a_minus_behind_and_brackets_are_a_minus():
    assert read_numbers(["1-", "(1)", "(1,100.5)", "2", "-3", "4--", "()"]) == [
        -1.0,
        -1.0,
        -1100.5,
        2.0,
        -3.0,
        None,
        None,
    ]


def test_groups_of_digits_and_a_decimal_comma():
    assert read_numbers(["1,100.50", "1100.5", "12,50", "-", "nan", " 7 "]) == [1100.5, 1100.5, None, None, None, 7.0]
    assert read_numbers(["1.100,50", "12,50", "12.50", "5"], ",") == [1100.5, 12.5, None, 5.0]


@given(st.floats(-1e12, 1e12), st.sampled_from([".", ","]))
def test_a_number_is_read_back_in_both_spellings(value, decimal):
    text = f"{value:,.3f}"
    if decimal == ",":
        text = text.translate(str.maketrans(",.", ".,"))

    assert read_numbers([text], decimal) == [float(f"{value:.3f}")]


def test_text_that_is_no_number_is_refused_from_the_log_as_from_a_file(tmp_path):
    rows = log(price=["1,50", "2,50", "3,50"] * 2)
    with pytest.raises(
        DataError, match=r"numeric 'price': expected numbers, got text such as '1,50'; set decimal = \",\""
    ):
        run(tmp_path, rows, items={"numeric": ["price"]})

    dataset = run(tmp_path, rows, items={"numeric": ["price"]}, decimal=",")
    assert sorted(dataset.items()["num.price"].to_list()) == [1.5, 2.5, 3.5]


def test_single_values_that_are_no_numbers_are_missing_and_counted(tmp_path):
    rows = log(price=["1,100.50", "-", "2", "1", "3", "4"])
    dataset, notes = prepared(tmp_path, rows, context={"numeric": ["price"]})

    assert dataset.part("train").collect()["num.price"].to_list()[0] == 1100.5
    assert "1 of 6 values of 'price' are no numbers, such as '-'; they count as missing" in notes


def test_a_late_fraction_in_a_label_widens_it_and_an_unused_column_never_matters(tmp_path):
    rows = {name: column * 2_000 for name, column in log(rating=[4, 5, 3, 4, 5, 3], odd=[1, 2, 3, 4, 5, 6]).items()}
    rows["rating"][-1], rows["odd"][-1] = 4.5, "-"
    task = [{"name": "like", "kind": "binary", "label": "rating >= 4"}]

    assert run(tmp_path, rows, task).meta.counts.rejected.keys() == {"duplicate"}


# ---------------------------------------------------------------------------- categories


def test_categories_are_the_text_of_the_file_and_true_is_spelled_one_way(tmp_path):
    rows = log(store=["01", "02", "01", "02", "01", "02"], promo=["True", "FALSE", "true", "4.0", "4", "x"])
    dataset = run(tmp_path, rows, context={"categorical": ["store", "promo"]})
    values = {column.name: set(column.values) for column in dataset.meta.context.categorical}

    assert values == {"store": {"01", "02"}, "promo": {"true", "false", "4"}}


def test_a_category_of_whole_numbers_is_a_number_in_the_catalogue_unless_a_zero_leads(tmp_path):
    rows = log(item=["x", "y", "z", "x", "y", "z"], year=[1999, 2001, 2003] * 2, dept=["001", "002", "003"] * 2)
    items = run(tmp_path, rows, items={"categorical": ["year", "dept"]}).items()

    assert items["raw.year"].to_list() == [1999, 2001, 2003]
    assert items["raw.dept"].to_list() == ["001", "002", "003"]


# ---------------------------------------------------------------------------- ids and missing words


def test_ids_that_read_like_nothing_are_told_with_their_rows(tmp_path):
    rows = log(user=["NA", "b", "NA", "b", "\\N", "b"])
    dataset, notes = prepared(tmp_path, rows)

    assert "the user 'NA' has 2 rows and reads like a missing value" in notes
    assert "the user '\\\\N' has 1 rows" in notes
    assert dataset.meta.counts.kept == 6


def test_missing_words_of_the_settings_are_missing(tmp_path):
    dataset, notes = prepared(tmp_path, log(user=["NA", "b", "a", "b", "a", "b"]), missing=["NA"])

    assert rejected(dataset) == [(0, "missing user")]
    assert "reads like" not in notes


# ---------------------------------------------------------------------------- times


def test_the_format_of_the_log_is_kept_with_the_dataset(tmp_path):
    days = ["10/04/2024", "11/04/2024", "12/04/2024", "13/04/2024", "14/04/2024", "15/04/2024"]

    assert run(tmp_path, log(time=days)).meta.time_format == "%d/%m/%Y"


def test_a_time_that_cannot_be_read_is_quoted(tmp_path):
    days = ["2024-04-10", "2024-04-11", "soon", "2024-04-13", "2024-04-14", "2024-04-15"]
    dataset, notes = prepared(tmp_path, log(time=days))

    assert rejected(dataset) == [(2, "unreadable time")]
    assert "1 times cannot be read as %Y-%m-%d, such as 'soon' in row 2" in notes


def test_a_log_with_only_an_order_is_prepared_and_has_no_clock(tmp_path):
    rows = log(time=[1, 2, 3, 4, 5, 6])
    split = {"by": "leave-last-out"}

    assert run(tmp_path, rows, time_format="order", split=split).meta.rows["test"] == 2
    with pytest.raises(DataError, match="has no clock; leave from_time out"):
        run(tmp_path, rows, time_format="order", split=split, context={"from_time": ["hour"]})
    with pytest.raises(ConfigError, match="time_format = 'day first' is none; expected one such as"):
        config(tmp_path, time_format="day first")


# ---------------------------------------------------------------------------- what prepare says


def test_two_events_in_one_second_are_not_repeats_if_each_says_something_of_its_own():
    events = pl.DataFrame(
        {"row": [0, 1, 2, 3], "user": [1] * 4, "item": [1] * 4, "time": [5] * 4}
        | {"label.like": [1.0, 0.0, 0.0, 1.0], "label.share": [0.0, 1.0, 0.0, 0.0]}
    )

    assert sorted(duplicates(events, ["label.like", "label.share"])) == [0, 2]


def test_it_says_how_many_requests_each_task_has_and_why_others_are_left_out(tmp_path):
    rows = log(user=["a", "a", "b", "a", "a", "c"], item=["x", "y", "x", "z", "x", "y"])
    tasks = [*BINARY, {"name": "new", "kind": "retrieval", "repeats": "exclude"}]
    _, notes = prepared(tmp_path, rows | {"like": [1, 0, 1, 0, 1, 0]}, tasks)

    assert "test: next is judged on 0 requests of 1 users; of the others 1 have no past" in notes
    assert "valid: next is judged on 1 requests of 1 users\n" in notes
    assert "valid: like is judged on 1 rows, 1 of them positive" in notes
    assert "valid: new is judged on 0 requests of 1 users; of the others 1 have no item there that counts" in notes


def test_an_item_that_only_the_items_table_knows_is_not_judged(tmp_path):
    (tmp_path / "items.csv").write_text("id,kind\nx,p\ny,p\nz,q\n")
    rows = log(user=["a", "b", "a", "b", "a", "b"], item=["x", "y", "x", "y", "z", "z"])
    _, notes = prepared(tmp_path, rows, items={"path": "items.csv", "id": "id", "categorical": ["kind"]})

    assert "of the others 1 have no item there that counts and is known from the parts before" in notes


def test_rejected_rows_are_written_also_when_the_split_fails(tmp_path):
    rows = log(time=[1_700_006_400_000 + i for i in range(6)], user=[None, "b", "a", "b", "a", "b"])
    with pytest.raises(DataError, match=r"leaves no rows for .*; rejected rows are in .*rejected.parquet"):
        run(tmp_path, rows)

    assert pl.read_parquet(tmp_path / "rejected.parquet").select("row", "reason").rows() == [(0, "missing user")]


def test_a_share_and_the_key_stand_beside_rejected_duplicates(tmp_path):
    rows = {name: [*column, column[0]] for name, column in log().items()}
    write(tmp_path, rows)
    report = prepare(config(tmp_path), tmp_path)

    assert report.lines()[0].startswith("1 rows (14.3 %) rejected: duplicate, the same user, item and time")


def test_a_graph_that_no_layer_reads_is_said(tmp_path):
    write(tmp_path, log())
    write(tmp_path, {"head": ["x"], "relation": ["by"], "tail": ["p"]}, "edges.csv")
    values = config(tmp_path, graph={"edges": "edges.csv"}).model_dump(exclude_unset=True)
    report = prepare(Config.of(values | {"teacher": {"graph_layers": 0}}, folder=tmp_path), tmp_path)

    assert "[data.graph] is not used: graph_layers of [teacher] is 0" in report.notes


def test_settings_with_a_byte_order_mark_are_read(tmp_path):
    text = 'name = "x"\n[data]\ninteractions = "l.csv"\nuser = "u"\nitem = "i"\ntime = "t"\n'
    (tmp_path / "edgerec.toml").write_text(text + '[[task]]\nname = "next"\nkind = "retrieval"\n', "utf-8-sig")

    assert Config.load(tmp_path / "edgerec.toml").name == "x"


def test_an_array_of_json_objects_is_refused_and_the_way_out_named(tmp_path):
    (tmp_path / "log.json").write_text('[{"user": 1}]')
    with pytest.raises(DataError, match=r"got \.json; write one object of the array a line, as \.jsonl$"):
        Source.open(tmp_path / "log.json")
