"""The language of conditions, compared with SQLite where both know the same."""

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerec.bundle import Catalog, write_catalog
from edgerec.bundle.conditions import Condition
from edgerec.errors import ConfigError

ITEMS = [
    {"id": "a", "title": "Red mug", "price": 1.5, "stock": 3, "colour": "red", "size": "L"},
    {"id": "b", "title": "BLUE mug", "price": 2.0, "stock": 0, "colour": "Blue", "size": None},
    {"id": "c", "title": "50%_off", "price": None, "stock": 7, "colour": None, "size": "XL"},
    {"id": "d", "title": "", "price": -4.0, "stock": None, "colour": "red", "size": "red"},
    {"id": "e", "title": "Änne's tea", "price": 0.0, "stock": -1, "colour": "", "size": "S"},
]
COLUMNS = ["price", "stock", "colour", "size"]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("catalog") / "c.sqlite"
    write_catalog(path, ITEMS, COLUMNS)
    return path


@pytest.fixture(scope="module")
def catalog(path):
    return Catalog(path)


def met(catalog, text, **parameters):
    return ids_but(ITEMS, Condition.parse(text, catalog).failing(catalog, parameters))


def ids_but(items, failing):
    return "".join(item["id"] for index, item in enumerate(items) if index not in failing)


numbers = st.one_of(
    st.sampled_from(["price", "stock", "0", "1.5", "2e0", "-3", "NULL"]),
    st.sampled_from(["abs(price)", "length(colour)", "coalesce(price, 9.5)", "(stock + 1.5)", "price * 2.0", "-stock"]),
)
texts = st.sampled_from(
    ["colour", "size", "title", "'red'", "''", "'L'", "lower(colour)", "upper(size)", "coalesce(size, 'red')", "NULL"]
)
signs = st.sampled_from(["=", "==", "!=", "<>", "<", "<=", ">", ">="])
patterns = st.text("%_rmuRe50g'", max_size=5).map(lambda t: "'" + t.replace("'", "''") + "'")
leaves = st.one_of(
    st.tuples(numbers, signs, numbers).map(" ".join),
    st.tuples(texts, signs, texts).map(" ".join),
    st.tuples(texts, st.sampled_from(["LIKE", "NOT LIKE"]), patterns).map(" ".join),
    st.builds("{} {} ({}, {})".format, numbers, st.sampled_from(["IN", "NOT IN"]), numbers, numbers),
    st.builds("{} {} {} AND {}".format, numbers, st.sampled_from(["BETWEEN", "NOT BETWEEN"]), numbers, numbers),
    st.builds("{} {}".format, st.one_of(numbers, texts), st.sampled_from(["IS NULL", "IS NOT NULL"])),
    numbers,
)
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds("({} AND {})".format, inner, inner),
        st.builds("({} OR {})".format, inner, inner),
        st.builds("NOT ({})".format, inner),
        st.builds("{} OR {} AND NOT {}".format, inner, inner, inner),
    ),
    max_leaves=6,
)


@given(text=conditions)
def test_a_condition_means_what_it_means_in_sqlite(path, catalog, text):
    with closing(sqlite3.connect(path)) as db:
        wanted = [row[0] for row in db.execute(f"SELECT idx FROM items WHERE ({text}) IS NOT TRUE ORDER BY idx")]
    assert Condition.parse(text, catalog).failing(catalog, {}).tolist() == wanted


def test_a_parameter_is_a_value_and_never_a_part_of_the_text(catalog):
    assert met(catalog, "colour = :wish", wish="red") == "ad"
    assert met(catalog, "colour = :wish", wish="red' OR 'a' = 'a") == ""
    assert met(catalog, "price < :most AND stock >= :least", most=2, least=1) == "a"
    assert Condition.parse("price < :b OR price > :a", catalog).parameters == ("a", "b")


@pytest.mark.parametrize(
    ("text", "parameters", "wanted"),
    [
        ("price < :most", {}, ""),  # not given: unknown
        ("price < :most", {"most": "2"}, ""),  # a string against numbers: unknown
        ("NOT price < :most", {"most": "2"}, ""),
        ("price / stock = 0.5", {}, "a"),  # by zero: unknown
        ("price / 0 = price / 0", {}, ""),
        ("available AND price = :p", {"p": True}, ""),
        ("stock = :s", {"s": float("nan")}, ""),
        ("TITLE LIKE 'änne%' OR Colour = ''", {}, "e"),
        ('"price" >= 2', {}, "b"),
    ],
)
def test_what_cannot_be_compared_is_unknown(catalog, text, parameters, wanted):
    assert met(catalog, text, **parameters) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("abs(colour) = 1", "cannot calculate with a string"),
        ("length(price) = 1", "takes one string"),
        ("colour LIKE title", "expects a string in quotes"),
        ("price LIKE 'a'", "LIKE is for strings"),
        ("(price = 1) = 1", "a comparison is not a value"),
        ("coalesce(price, 'x') = 1", "two numbers or two strings"),
        ("price IN ()", r"did not expect '\)'"),
        ("price BETWEEN 1 OR 2", "expected 'AND', got 'OR'"),
        ("price = 1 2", "did not expect '2'"),
    ],
)
def test_what_is_not_a_condition_is_refused_in_one_line(catalog, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        Condition.parse(text, catalog)
    assert "\n" not in str(caught.value)


TAGGED = [
    {"id": "a", "title": "a", "tags": ["x", "y"], "one": "x"},
    {"id": "b", "title": "b", "tags": ["y"], "one": "x"},
    {"id": "c", "title": "c", "tags": None, "one": "y"},
    {"id": "d", "title": "d", "tags": ["Xx"], "one": None},
]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("tags = 'x'", "a"),
        ("'y' == tags", "ab"),
        ("tags != 'x'", "bd"),
        ("tags <> :what", "d"),
        ("tags IN ('x', 'Xx')", "ad"),
        ("tags NOT IN ('x', 'Xx')", "b"),
        ("tags LIKE 'x%'", "ad"),
        ("tags IS NULL", "c"),
        ("tags = one", "a"),
        ("tags = :nothing OR tags = :number", ""),
    ],
)
def test_a_column_of_lists_equals_each_of_its_strings(tmp_path, where, expected):
    write_catalog(tmp_path / "t.sqlite", TAGGED, ["tags", "one"])
    opened = Catalog(tmp_path / "t.sqlite")
    failing = Condition.parse(where, opened).failing(opened, {"what": "y", "number": 3})
    assert ids_but(TAGGED, failing) == expected


@pytest.mark.parametrize(
    "where", ["tags < 'x'", "tags", "NOT tags", "tags = 3", "tags + 1 > 2", "tags BETWEEN 'a' AND 'b'", "tags = tags"]
)
def test_nothing_else_is_asked_of_lists(tmp_path, where):
    write_catalog(tmp_path / "t.sqlite", TAGGED, ["tags"])
    with pytest.raises(ConfigError, match="a column with several values in a cell can be asked with"):
        Condition.parse(where, Catalog(tmp_path / "t.sqlite"))
