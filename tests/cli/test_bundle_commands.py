import json

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from edgerec.cli.main import app
from edgerec.runtime import Events, Recommender

LOG = """customer,product,when,is_click,is_like,watched,tab,country,age
ann,i5,2023-11-14 10:00:00,1,0,3.5,home,DE,31
bob,i2,2023-11-14 11:00:00,0,0,0,search,FR,
ann,i6,2023-11-14 12:00:00,1,1,9.0,home,DE,31
ann,gone,2023-11-14 13:00:00,0,0,0,home,DE,31
,i1,2023-11-14 13:00:00,0,0,0,home,DE,31
"""
ROWS = """customer,product,when,tab,note
ann,i5,2023-11-14 12:00:00,home,second
ann,i6,2023-11-14 20:00:00,home,third
carl,i1,2023-11-14 20:00:00,moon,new user
bob,gone,2023-11-14 20:00:00,home,unknown item
"""


def ms(text):
    return int(np.datetime64(text, "ms").astype(np.int64))


def edgerec(*arguments):
    """Run a command; the result has exit_code, stdout and stderr."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def good(*arguments):
    result = edgerec(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments):
    result = edgerec(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1 and "Traceback" not in result.output
    return result.stderr


@pytest.fixture
def log(tmp_path):
    (tmp_path / "log.csv").write_text(LOG)
    return tmp_path / "log.csv"


@pytest.fixture
def rows(tmp_path):
    (tmp_path / "rows.csv").write_text(ROWS)
    return tmp_path / "rows.csv"


def test_recommend_prints_product_names_and_reasons(toy_bundle):
    out = good("recommend", toy_bundle, "-k", 3, "--explain")
    assert "Item 0" in out and "popular now" in out

    out = good("recommend", toy_bundle, "--history-items", "i5", "-k", 8, "--explain")
    assert "had before" in out and "Item 5" in out


def test_recommend_to_a_user_of_a_log_is_asked_as_of_its_end(toy_bundle, log):
    answer = json.loads(good("recommend", toy_bundle, "--user", "ann", "--history", log, "-k", 3, "--json"))

    with Recommender.open(toy_bundle) as rec:
        times = np.array([ms("2023-11-14T10:00"), ms("2023-11-14T12:00")])
        past = Events(["i5", "i6"], np.array([1, 3]), times)
        expected = rec.recommend(3, history=past, now=ms("2023-11-14T13:00"), user={"country": "DE", "age": 31})
    assert [item["item"] for item in answer["items"]] == [r.item for r in expected]
    assert answer["items"][0]["utility"] == pytest.approx(expected[0].utility)


def test_recommend_says_why_fewer_come_back(toy_bundle):
    out = good("recommend", toy_bundle, "--where", "price < 2", "--exclude", "i0")
    assert "only 1: the catalog has 8, of these lost to: 1 excluded, 6 where" in out


def test_score_gives_each_row_its_probabilities_by_the_past_before_it(toy_bundle, log, rows, tmp_path):
    good("score", toy_bundle, "--rows", rows, "--history", log, "-o", tmp_path / "out.parquet")
    out = pl.read_parquet(tmp_path / "out.parquet")

    assert out.columns == [*pl.read_csv(rows).columns, "utility", "p.next", "p.click", "p.like", "p.watch"]
    assert out["note"].to_list() == ["second", "third", "new user", "unknown item"]
    with Recommender.open(toy_bundle) as rec:
        past = Events(["i5"], np.array([1]), np.array([ms("2023-11-14T10:00")]))  # the row at 12:00 is not in its past
        expected = rec.score(["i5"], history=past, now=ms("2023-11-14T12:00"), context={"tab": "home"})[0]
    assert out["p.like"][0] == pytest.approx(expected.probability["like"])
    assert out["p.click"][3] is None


def test_score_tells_how_many_items_it_does_not_know(toy_bundle, rows, tmp_path):
    out = good("score", toy_bundle, "--rows", rows, "-o", tmp_path / "out.parquet")
    assert "4 rows; 1 have an item that is not in the catalog" in out


def test_recommend_many_writes_a_row_per_request_and_rank(toy_bundle, log, rows, tmp_path):
    good("recommend", toy_bundle, "--users", rows, "--history", log, "-k", 3, "-o", tmp_path / "out.parquet")
    out = pl.read_parquet(tmp_path / "out.parquet")

    assert out.height == 4 * 3
    assert out["rank"].to_list() == [1, 2, 3] * 4
    assert out.filter(pl.col("customer") == "carl")["item"].to_list() == ["i0", "i1", "i2"]
    assert {"customer", "when", "item", "rank", "utility", "p.next"} <= set(out.columns)


def test_a_result_is_replaced_only_with_force(toy_bundle, rows, tmp_path):
    out = tmp_path / "out.parquet"
    out.write_text("mine")
    assert "exists; add --force" in refused("score", toy_bundle, "--rows", rows, "-o", out)
    assert out.read_text() == "mine"
    good("score", toy_bundle, "--rows", rows, "-o", out, "--force")


def test_similar_inspect_verify_and_devices_print(toy_bundle):
    assert "Item 3" in good("similar", toy_bundle, "i3", "-k", 2)
    assert len(json.loads(good("similar", toy_bundle, "i3", "-k", 2, "--json"))["items"]) == 2
    inspected = good("inspect", toy_bundle)
    assert all(word in inspected for word in ("toy, version 1", "weights.bin", "retrieval", "tab (context)"))
    assert json.loads(good("inspect", toy_bundle, "--json"))["n_items"] == 8
    assert "OK, 9 files whole, 1 conformance requests" in good("verify", toy_bundle)
    assert "kiosk-x86" in good("devices")
    assert "p95_ms" in good("devices", "kiosk-x86")
    assert json.loads(good("devices", "kiosk-x86", "--json"))["threads"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("recommend", "BUNDLE", "--weights", "clik=1"), "no task 'clik'"),
        (("recommend", "BUNDLE", "--weights", "click=x"), "expected TASK=NUMBER"),
        (("recommend", "BUNDLE", "--weights", "click"), "expected NAME=VALUE"),
        (("recommend", "BUNDLE", "--where", "prize < 2"), "did you mean 'price'"),
        (("recommend", "BUNDLE", "-k", "0"), "k must be at least 1"),
        (("recommend", "BUNDLE", "--context", "tap=home"), "did you mean 'tab'"),
        (("recommend", "BUNDLE", "--user", "ann"), "--user needs --history"),
        (("recommend", "BUNDLE", "--users", "LOG"), "go together"),
        (("recommend", "BUNDLE", "--user", "zoe", "--history", "LOG"), "its users are such as ann, bob"),
        (("recommend", "BUNDLE", "--users", "LOG", "-o", "out.csv"), "ends in .parquet"),
        (("score", "BUNDLE", "--rows", "nowhere.csv", "-o", "out.parquet"), "nowhere.csv: no such file"),
        (("similar", "BUNDLE", "i99"), "no item 'i99'"),
        (("similar", "nowhere", "i1"), "no bundle here"),
        (("verify", "nowhere"), "no bundle here"),
        (("devices", "kiosk"), "did you mean 'kiosk-x86'"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(toy_bundle, log, arguments, message):
    places = {"BUNDLE": toy_bundle, "LOG": log}
    assert message in refused(*(places.get(a, a) for a in arguments))


def test_rows_without_a_column_or_a_time_are_one_line(toy_bundle, tmp_path):
    (tmp_path / "a.csv").write_text("customer,product\nann,i1\n")
    assert "when" in refused("score", toy_bundle, "--rows", tmp_path / "a.csv", "-o", tmp_path / "o.parquet")
    (tmp_path / "b.csv").write_text("customer,product,when\nann,i1,2023-11-14\nann,i1,soon\n")
    assert "1 rows have no readable 'when', the first is row 1" in refused(
        "score", toy_bundle, "--rows", tmp_path / "b.csv", "-o", tmp_path / "o.parquet"
    )
    assert not (tmp_path / "o.parquet").exists()


def test_a_damaged_bundle_fails_verification(toy_bundle):
    with (toy_bundle / "weights.bin").open("r+b") as file:
        file.write(b"\xff")
    assert "weights.bin: damaged" in refused("verify", toy_bundle)
