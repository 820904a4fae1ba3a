"""`edgerec init` and `edgerec prepare`, as a user types them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgerec.cli.main import app
from edgerec.config import Config

SAMPLES = Path(__file__).resolve().parents[2] / "edgerec" / "samples"
VIDEO = SAMPLES / "video"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def edgerec(*arguments: str | os.PathLike[str]):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_retail_log_gives_settings_that_work():
    assert edgerec("init", SAMPLES / "retail" / "online_retail.parquet").exit_code == 0

    data = Config.load("edgerec.toml").data
    assert (data.user, data.item, data.time, data.session) == ("CustomerID", "StockCode", "InvoiceDate", "InvoiceNo")
    assert data.where == "Quantity > 0"
    assert (data.items.text, data.items.numeric, data.users.categorical) == (
        ("Description",),
        ("UnitPrice",),
        ("Country",),
    )
    done = edgerec("prepare", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["counts"]["in"] == 541_909


def test_the_video_log_gives_settings_that_work():
    tables = ("--items", VIDEO / "videos.parquet", "--users", VIDEO / "users.parquet")
    assert edgerec("init", VIDEO / "log.parquet", *tables).exit_code == 0

    config = Config.load("edgerec.toml")
    assert (config.data.user, config.data.item, config.data.time) == ("user_id", "video_id", "time_ms")
    assert {"click", "long_view", "like", "next"} <= {task.name for task in config.task}
    assert "play_time_ms" in config.data.after
    assert edgerec("prepare").exit_code == 0


def test_ratings_become_likes():
    lines = [f"{u},{m},{(u * m) % 5 + 1},{1_100_000_000 + u * m * 9_000_000}" for u in range(1, 9) for m in range(1, 9)]
    Path("ratings.csv").write_text("userId,movieId,rating,timestamp\n" + "\n".join(lines))

    assert edgerec("init", "ratings.csv").exit_code == 0

    data = Config.load("edgerec.toml").data
    assert (data.user, data.item, data.time, data.after) == ("userId", "movieId", "timestamp", ("rating",))
    assert [task.label for task in Config.load("edgerec.toml").task if task.name == "like"] == ["rating >= 4"]
    assert edgerec("prepare").exit_code == 0


def test_every_guess_says_why():
    edgerec("init", SAMPLES / "retail" / "online_retail.parquet")

    text = Path("edgerec.toml").read_text()
    assert 'user = "CustomerID"  # by its name' in text


def test_settings_are_not_overwritten_without_force():
    Path("edgerec.toml").write_text("mine")
    log = SAMPLES / "retail" / "online_retail.parquet"

    refused = edgerec("init", log)
    assert refused.exit_code == 2
    assert refused.stderr == "edgerec.toml: exists already; name another file with -o, or overwrite it with --force\n"
    assert Path("edgerec.toml").read_text() == "mine"
    assert edgerec("init", log, "--force").exit_code == 0


def test_a_log_without_a_time_is_told_so():
    Path("log.csv").write_text("user,item\na,x\nb,y\n")

    refused = edgerec("init", "log.csv")

    assert refused.exit_code == 2
    assert "without time: no column can be read as a time; if another one orders each user's events" in refused.stderr
    assert '# time = "..."  # fill in: ' in Path("edgerec.toml").read_text()
    told = edgerec("prepare")
    assert (
        told.exit_code == 2
        and "[data] time: expected a value, found none; add the column that says when" in told.stderr
    )


def test_a_log_whose_dates_may_be_read_two_ways_is_not_guessed():
    rows = "".join(f"u{k % 31},i{k % 37},{k % 12 + 1:02}/{k // 12 % 12 + 1:02}/2024\n" for k in range(144))
    Path("log.csv").write_text("user,item,time\n" + rows)

    refused = edgerec("init", "log.csv")

    assert refused.exit_code == 2
    assert "written, but without time_format: " in refused.stderr and "--force --time-format FORMAT" in refused.stderr
    told = edgerec("prepare")
    assert told.exit_code == 2 and 'set time_format = "' in told.stderr
    wrong = edgerec("init", "log.csv", "--force", "--time-format", "day first")
    assert wrong.exit_code == 2 and "--time-format day first: expected one such as" in wrong.stderr
    assert edgerec("init", "log.csv", "--force", "--time-format", "%d/%m/%Y").exit_code == 0
    assert edgerec("prepare").exit_code == 0


def test_a_log_with_an_order_alone_is_prepared_as_it_was_guessed():
    rows = "".join(f"u{u},i{(u * 7 + n * n) % 11},{n}\n" for u in range(60) for n in range(1, 5 + u % 3))
    Path("log.csv").write_text("user_id,product_id,order_number\n" + rows)

    assert edgerec("init", "log.csv").exit_code == 0
    assert 'time_format = "order"' in Path("edgerec.toml").read_text()
    assert edgerec("prepare").exit_code == 0


def test_prepare_tells_bad_settings_in_one_line():
    Path("edgerec.toml").write_text("nmae = 'x'\n")

    refused = edgerec("prepare")

    assert refused.exit_code == 2
    assert refused.stderr.startswith("edgerec.toml: has no key 'nmae'; did you mean 'name'?")


def test_prepare_shows_what_was_rejected():
    rows = "\n".join(f"u{i % 2},i{i % 3},2024-05-{i + 1:02}" for i in range(9))
    Path("log.csv").write_text(f"user,item,time\n{rows}\n,i1,2024-05-02\n")
    assert edgerec("init", "log.csv").exit_code == 0

    shown = edgerec("prepare")

    assert shown.exit_code == 0
    assert "rejected: missing user      1" in shown.stdout


def test_an_amount_with_two_different_values_is_not_taken_for_a_label():
    Path("log.csv").write_text("user,item,time,is_click,watched\nann,a,2024-05-01,1,3.5\nbob,b,2024-05-02,0,0\n")

    assert edgerec("init", "log.csv").exit_code == 0
    assert [task.name for task in Config.load("edgerec.toml").task if task.kind == "binary"] == ["click"]


def test_an_effort_is_written_into_the_settings(tmp_path):
    rows = (f"u{i % 7},i{i % 5},{1700000000 + i * 9000}\n" for i in range(50))
    (tmp_path / "log.csv").write_text("user,item,time\n" + "".join(rows))
    assert edgerec("init", "log.csv", "--effort", "quick").exit_code == 0
    assert Config.load("edgerec.toml").effort == "quick"
    wrong = edgerec("init", "log.csv", "--force", "--effort", "fast")

    assert wrong.exit_code == 2
    assert wrong.stderr == "--effort fast: expected quick, normal or full\n"
