"""Text files of all kinds: separators, quotation marks, encodings, and no row lost without a word."""

from __future__ import annotations

import gzip

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerec.data.readers import Reading, Source
from edgerec.data.text_files import Dialect
from edgerec.errors import DataError


def opened(tmp_path, content, name="log.csv", **dialect):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Source.open(str(path), Reading(Dialect(**dialect)))


def rows(source):
    return source.frame.collect().rows()


def test_a_mark_in_a_tsv_swallows_no_rows(tmp_path):
    body = "\n".join(f"u{i}\tsong {i}" for i in range(50))
    source = opened(tmp_path, f'user\ttitle\nu\t"Open\n{body}\nu\tclosed"\n', "log.tsv")

    assert len(rows(source)) == source.rows == 52
    assert rows(source)[0] == ("u", '"Open')
    assert "quotation marks are plain characters" in source.notes[0]


def test_a_title_with_marks_inside_does_not_make_a_csv_unreadable(tmp_path):
    source = opened(tmp_path, 'user,title\n1,"Heroes" (live)\n"2","plain"\n')

    assert rows(source) == [("1", '"Heroes" (live)'), ("2", "plain")]


def test_quoted_fields_with_separators_doubled_marks_and_line_ends_are_read_as_the_format_says(tmp_path):
    source = opened(tmp_path, 'user,title\n1,"a, ""b"""\n2,"two\nlines"\n3,c\n')

    assert rows(source) == [("1", 'a, "b"'), ("2", "two\nlines"), ("3", "c")]
    assert source.rows == 3
    assert source.notes == ("1 rows have fields of several lines",)


def test_a_mark_that_swallows_rows_of_a_csv_is_refused(tmp_path):
    body = "\n".join(f"{i},title" for i in range(20))

    with pytest.raises(DataError, match=r"row 1 .* has a field in quotation marks with \d+ rows of the file inside"):
        opened(tmp_path, f'user,title\n0,"a, b"\n1,"open\n{body}\n2,closed"\n')


@pytest.mark.parametrize(
    ("separator", "name"), [(";", "log.csv"), ("|", "log.txt"), ("\t", "log.dat"), ("::", "r.dat")]
)
def test_the_separator_is_found_and_said(tmp_path, separator, name):
    text = "\n".join(separator.join(row) for row in [("user", "price"), ("1", "2,5"), ("2", "3,5")])
    source = opened(tmp_path, text, name)

    assert rows(source) == [("1", "2,5"), ("2", "3,5")]
    assert source.notes and "separated by" in source.notes[0]


def test_a_file_without_a_header_needs_names(tmp_path):
    text = "1::1193::5\n1::661::3\n"

    with pytest.raises(DataError, match=r"first line, '1::1193::5', holds no names of columns.*header = "):
        opened(tmp_path, text, "ratings.dat")
    source = opened(tmp_path, text, "ratings.dat", header=("user", "item", "rating"))
    assert (source.rows, rows(source)[0]) == (2, ("1", "1193", "5"))
    assert list(source.schema) == ["user", "item", "rating"]


def test_a_first_line_that_is_mostly_numbers_is_no_header_and_columns_that_count_are(tmp_path):
    with pytest.raises(DataError, match=r"first line, 'u1,55,3,1700000000', holds no names of columns"):
        opened(tmp_path, "u1,55,3,1700000000\nu2,56,4,1700000060\n", "log.csv")
    assert list(opened(tmp_path, "item,0,1,2\nx,.1,.2,.3\n", "vectors.csv").schema) == ["item", "0", "1", "2"]


def test_other_encodings_are_read_by_name_and_named_when_they_fail(tmp_path):
    latin = "user,title\n1,café\n".encode("cp1252")

    assert rows(opened(tmp_path, latin, encoding="cp1252")) == [("1", "café")]
    assert rows(opened(tmp_path, gzip.compress(latin), "log.csv.gz", encoding="cp1252")) == [("1", "café")]
    assert rows(opened(tmp_path, "user,title\n1,café\n".encode("utf-16"), "log2.csv")) == [("1", "café")]
    with pytest.raises(DataError, match="not in UTF-8; name its encoding"):
        opened(tmp_path, latin, "log3.csv")


def test_a_byte_order_mark_and_carriage_returns_are_not_part_of_names_and_values(tmp_path):
    assert opened(tmp_path, b"\xef\xbb\xbfuser,item\r\n1,2\r\n").frame.collect().to_dicts() == [
        {"user": "1", "item": "2"}
    ]


def test_several_files_may_have_other_orders_of_columns(tmp_path):
    (tmp_path / "a.csv").write_text("user,item\n1,2\n")
    (tmp_path / "b.csv").write_text("item,user,more\n4,3,x\n")
    source = Source.open(str(tmp_path / "*.csv"))

    assert source.frame.select("user", "item").collect().rows() == [("1", "2"), ("3", "4")]
    assert source.rows == 2


def test_a_folder_of_partitioned_parquet_has_the_parts_as_columns(tmp_path):
    for month, price in (("01", 1), ("02", 2.5)):
        (tmp_path / "log" / f"month={month}").mkdir(parents=True)
        pl.DataFrame({"user": ["a"], "price": [price]}).write_parquet(tmp_path / "log" / f"month={month}" / "x.parquet")
    (tmp_path / "log" / "_SUCCESS").touch()
    source = Source.open(str(tmp_path / "log"))

    assert source.frame.select("price", "month").collect().rows() == [(1.0, "01"), (2.5, "02")]
    assert source.rows == 2


def test_nested_fields_are_columns_and_types_may_change_late(tmp_path):
    lines = ['{"user": {"id": "a"}, "price": null}'] * 11_000 + ['{"user": {"id": "b"}, "price": 2.5}']
    source = opened(tmp_path, "\n".join(lines), "log.jsonl")

    assert source.frame.select("user.id", "price").tail(1).collect().rows() == [("b", 2.5)]
    assert source.rows == 11_001


@pytest.mark.parametrize("ending", [".csv.gz", ".csv.zst"])
def test_packed_files_are_read(tmp_path, ending):
    frame = pl.DataFrame({"user": ["007"], "item": ["x"]})
    frame.lazy().sink_csv(
        tmp_path / f"log{ending}", compression=ending[5:].replace("gz", "gzip").replace("zst", "zstd")
    )

    assert rows(Source.open(str(tmp_path / f"log{ending}"))) == [("007", "x")]


FIELD = st.text(
    st.characters(codec="utf-8", exclude_characters="\x00\x1f\ufeff\r", exclude_categories=("Cc", "Cs")), min_size=1
)


@given(st.lists(st.tuples(FIELD, FIELD), min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_what_polars_writes_is_read_back(tmp_path_factory, pairs):
    path = tmp_path_factory.mktemp("csv") / "log.csv"
    frame = pl.DataFrame(pairs, schema=["first", "second"], orient="row")
    frame.write_csv(path, quote_style="always")
    source = Source.open(str(path))

    assert source.frame.collect().equals(frame)
    assert source.rows == len(frame)


def test_lines_with_more_fields_than_columns_are_counted_and_named(tmp_path):
    source = opened(tmp_path, "user,title\n1,a\n2,b, c\n")

    assert source.notes[0].startswith("1 lines have more fields than there are columns, the first is line 3")


def test_a_code_that_a_condition_compares_with_text_stays_text(tmp_path):
    source = opened(tmp_path, "user,code,n\n1,01,1\n2,02,2\n")

    assert source.with_numbers(["code = '01' AND n > 1"])[0].schema == {
        "user": pl.String, "code": pl.String, "n": pl.Int64
    }  # fmt: skip


def test_a_missing_header_is_asked_for(tmp_path):
    with pytest.raises(
        DataError, match=r"there is no column 'user'; its columns are u1, i1; if the file has no header"
    ):
        opened(tmp_path, "u1,i1\nu2,i2\n").expression("user", "[data] user")


@pytest.mark.parametrize(("text", "message"), [
    ("# shop 4.2\nu,i,t\na,b,c\nd,e,f\n", "'# shop 4.2', is a remark"),
    ("sep=;\nu;i;t\na;b;c\n", "'sep=;', is a remark"),
    ("u,i,t\n1,a,b,c\n2,d,e,f\n", "the header has 3 names, but the rows have 4 fields"),
    ("u,i,t\ra,b,c\rd,e,f\r", "lines end with CR alone"),
])  # fmt: skip
def test_what_stands_before_or_instead_of_the_header_is_named(tmp_path, text, message):
    (tmp_path / "log.csv").write_bytes(text.encode())
    with pytest.raises(DataError, match=message):
        Source.open(str(tmp_path / "log.csv"))


def test_utf_16_without_its_mark_is_read_and_a_nul_is_said(tmp_path):
    (tmp_path / "log.csv").write_bytes("user,item\nü1,a\n".encode("utf-16-le"))
    assert Source.open(str(tmp_path / "log.csv")).frame.collect().rows() == [("ü1", "a")]
    (tmp_path / "log.csv").write_bytes(b"user,item\nu1,a\x00\nu2,b\n")
    assert any("1 lines hold NUL" in note for note in Source.open(str(tmp_path / "log.csv")).notes)
