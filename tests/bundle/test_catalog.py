import sqlite3
from contextlib import closing, suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerec.bundle import Catalog, write_catalog
from edgerec.errors import BundleError, ConfigError
from tests import toy


@pytest.fixture
def catalog(tmp_path):
    write_catalog(tmp_path / "c.sqlite", toy.items(6), ["price", "colour"])
    opened = Catalog(tmp_path / "c.sqlite")
    yield opened
    opened.close()


def test_items_are_found_by_id_and_by_index(catalog):
    assert catalog.index_of("i3") == 3
    assert catalog.index_of("nowhere") is None
    assert catalog.named(3) == ("i3", "Item 3")
    assert catalog.attributes(3) == {"price": 3.0, "colour": "blue"}


@pytest.mark.parametrize(
    ("where", "failing"),
    [
        ("price < 2", [2, 3, 4, 5]),
        ("colour = 'red'", [0, 1, 3, 5]),  # item 0 has no colour: NULL is not true
        ("price < 4 AND lower(colour) LIKE 'r%'", [0, 1, 3, 4, 5]),
        ("price < 2 -- cheap", [2, 3, 4, 5]),
        ("price IN (1, 2.5, 4)", [0, 2, 3, 5]),
    ],
)
def test_a_condition_names_the_items_that_fail_it(catalog, where, failing):
    assert catalog.failing(where).tolist() == failing


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("prize < 2", "no such column: prize, did you mean 'price'"),
        ("price <", "ends too early"),
        ("1); DROP TABLE items; --", "did not expect"),
        ("load_extension('x')", "no function load_extension; these may be used: abs"),
        ("price IN (SELECT 1)", "no such column: SELECT"),
        ("price < ?", "did not expect"),
        ("price = 'red'", "compares a number with a string"),
        ("colour", "neither true nor false"),
        ("(" * 99 + "price" + ")" * 99, "nested deeper than 40"),
        ("1 = " * 5000 + "1", "longer than 4096"),
        ("", "ends too early"),
        ("a\0b", "did not expect"),
    ],
)
def test_a_bad_condition_is_one_clear_line(catalog, where, message):
    with pytest.raises(ConfigError, match=message) as caught:
        catalog.failing(where)
    assert "\n" not in str(caught.value)


@given(where=st.text(alphabet="price colour()<>=';-*/\"0\n\0\ud800%", max_size=20))
def test_any_text_is_a_condition_or_a_config_error(tmp_path_factory, where):
    path = tmp_path_factory.getbasetemp() / "any.sqlite"
    if not path.exists():
        write_catalog(path, toy.items(3), ["price", "colour"])
    catalog = Catalog(path)
    with suppress(ConfigError):
        assert set(catalog.failing(where).tolist()) <= {0, 1, 2}
    assert catalog.index_of("i1") == 1
    catalog.close()


def test_equal_items_give_equal_bytes(tmp_path):
    for name in ("a", "b"):
        write_catalog(tmp_path / name, toy.items(500), ["price", "colour"])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_attributes_named_like_our_own_columns_get_an_underscore(tmp_path):
    write_catalog(tmp_path / "c", [{"id": "x", "title": "X", "ID": 7}], ["ID", "title"])
    assert Catalog(tmp_path / "c").attributes(0) == {"ID_": 7, "title_": "X"}


def test_unavailable_items_are_listed(tmp_path):
    items = [{"id": str(i), "title": "", "available": i != 1} for i in range(3)]
    write_catalog(tmp_path / "c", items, [])
    assert np.array_equal(Catalog(tmp_path / "c").unavailable(), [1])


def test_an_id_that_occurs_twice_is_refused(tmp_path):
    with pytest.raises(BundleError, match=r"UNIQUE.*items\.id"):
        write_catalog(tmp_path / "c", [{"id": "x", "title": ""}] * 2, [])


def test_columns_that_differ_only_in_case_are_refused(tmp_path):
    with pytest.raises(BundleError, match="one name"):
        write_catalog(tmp_path / "c", [], ["Price", "price"])


def test_another_file_is_no_catalogue(tmp_path):
    (tmp_path / "c").write_bytes(b"x" * 5000)
    with pytest.raises(BundleError, match="not a catalogue"):
        Catalog(tmp_path / "c")


def test_a_table_whose_name_is_no_text_is_a_bundle_error(tmp_path):
    write_catalog(tmp_path / "c", toy.items(8), ["price", "colour"])
    content = (tmp_path / "c").read_bytes()
    assert content.count(b"tableitemsitems") == 1
    changed = content.replace(b"tableitemsitems", b"table\x80temsitems").replace(
        b"CREATE TABLE items", b"CREATE TABLX items"
    )
    (tmp_path / "c").write_bytes(changed)
    with pytest.raises(BundleError, match="not a catalogue"):
        Catalog(tmp_path / "c")


@given(flips=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=30))
def test_any_bytes_are_a_catalogue_or_a_bundle_error(tmp_path_factory, flips):
    home = tmp_path_factory.getbasetemp()
    whole, path = home / "whole.sqlite", home / "flipped.sqlite"
    if not whole.exists():
        write_catalog(whole, toy.items(300), ["price", "colour"])
    content = bytearray(whole.read_bytes())
    for at, value in flips:
        content[at % len(content)] = value
    path.write_bytes(content)
    with suppress(BundleError, ConfigError):
        catalog = Catalog(path)
        for read in (
            catalog.unavailable,
            lambda: catalog.index_of("i7"),
            lambda: catalog.named(7),
            lambda: catalog.attributes(299),
            lambda: catalog.nearest("x"),
            lambda: catalog.failing("price < 3 OR colour = 'red' OR title LIKE '%1%'"),
        ):
            with suppress(BundleError, ConfigError):
                read()
        catalog.close()


def test_lists_come_back_as_lists_and_bytes_that_are_none_are_missing(tmp_path):
    items = [{"id": "a", "title": "A", "tags": ["x", "y|z"]}, {"id": "b", "title": "B", "tags": None}]
    write_catalog(tmp_path / "l.sqlite", items, ["tags"])
    with closing(sqlite3.connect(tmp_path / "l.sqlite")) as db:
        assert db.execute("SELECT value FROM items, json_each(tags)").fetchall() == [("x",), ("y|z",)]
        db.execute("INSERT INTO items VALUES (2, 'c', 'C', 1, '[1, [')")
        db.commit()
    with closing(Catalog(tmp_path / "l.sqlite")) as opened:
        assert opened.kind_of("tags") == "list"
        assert [opened.attributes(i)["tags"] for i in range(3)] == [["x", "y|z"], None, None]
        assert opened.failing("tags = 'x'").tolist() == [1, 2]
