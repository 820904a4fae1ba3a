"""A log from which nothing can be learned, or on which nothing can be judged, is refused before any training."""

from __future__ import annotations

import fcntl

import polars as pl
import pytest
from typer.testing import CliRunner

import edgerec
from edgerec.cli.main import app
from edgerec.config import Config
from edgerec.data import Dataset, prepare
from edgerec.data.doctor import examine
from edgerec.data.fitness import impossible
from edgerec.data.request_counts import count_requests
from edgerec.errors import DataError

DAY_MS = 86_400_000
T0 = 1_700_006_400_000
NEXT = {"name": "next", "kind": "retrieval"}


def dataset(folder, rows, tasks=(NEXT,), split=None, **data):
    """A prepared log of (user, item, day, ...), with the columns user, item, time and those of `data`."""
    folder.mkdir(exist_ok=True)
    names = ["user", "item", "time", *data.pop("more", ())]
    frame = pl.DataFrame([(u, i, T0 + day * DAY_MS, *more) for u, i, day, *more in rows], names, orient="row")
    frame.write_csv(folder / "log.csv")
    values = {"interactions": "log.csv", "user": "user", "item": "item", "time": "time", **data}
    values["split"] = split or {"by": "rows", "valid": 0.2, "test": 0.2}
    config = Config.of({"name": "log", "data": values, "task": list(tasks)}, folder=folder)
    prepare(config, folder / "run", judged_on=())
    return Dataset.open(folder / "run" / "dataset")


def problems(folder, rows, *arguments, **data):
    return list(impossible(dataset(folder, rows, *arguments, **data), ("valid", "test")))


def test_requests_are_counted_by_hand():
    rows = [
        ("a", 1, 0, 1),
        ("b", 1, 0, 1),
        ("a", 2, 0, 1),
        ("a", 1, 1, 0),
        ("a", 2, 1, 1),
        ("b", 2, 1, 1),
        ("c", 1, 1, 1),
    ]
    events = pl.DataFrame(rows, ["user", "item", "part", "click"], orient="row")
    judged = count_requests(events, 1)
    assert (judged.users, judged.with_past, judged.requests) == (3, 2, 2)
    assert count_requests(events, 1, pl.col("click") > 0).requests == 1  # the first row of a is no click
    assert count_requests(events, 1, new_only=True).requests == 1  # a comes back, b has 2 for the first time
    sessions = events.with_columns(session=pl.Series([0, 1, 2, 3, 3, 4, 5]))
    assert count_requests(sessions, 1, pl.col("click") > 0).requests == 2  # the session of a has a click


def test_one_event_a_user_is_refused(tmp_path):
    told = problems(tmp_path, [(f"u{k}", f"i{k % 9}", k) for k in range(60)])
    assert len(told) == 1 and told[0].startswith("each of the 60 users has one event, and none before it")


def test_a_call_from_python_refuses_what_the_command_refuses(tmp_path):
    rows = pl.DataFrame({"user": [f"u{k}" for k in range(60)], "item": [f"i{k % 9}" for k in range(60)],
                         "time": [T0 + k * DAY_MS for k in range(60)]})  # fmt: skip
    rows.write_csv(tmp_path / "log.csv")
    data = {"interactions": "log.csv", "user": "user", "item": "item", "time": "time"}
    config = Config.of({"name": "log", "data": data, "task": [NEXT]}, folder=tmp_path)
    with pytest.raises(DataError, match="each of the 60 users has one event"):
        prepare(config, tmp_path / "run")
    with pytest.raises(DataError, match="each of the 60 users has one event"):
        edgerec.prepare(rows, user="user", item="item", time="time", folder=tmp_path / "frame")


def test_a_part_without_a_user_who_has_a_past_is_refused(tmp_path):
    rows = [(f"u{k // 3}", f"i{k % 4}", k) for k in range(60)]  # users come one after another
    told = problems(tmp_path, rows)
    assert "cannot be judged on valid: none of its 4 users has an earlier row" in told[0]
    assert '"leave-last-out"' in told[0]
    assert problems(tmp_path / "b", rows, split={"by": "leave-last-out"}) == []


def test_impressions_whose_first_rows_are_not_taken_need_sessions(tmp_path):
    tasks = [NEXT | {"label": "click"}, {"name": "click", "kind": "binary", "label": "click"}]
    rows = [
        (f"u{u}", f"i{(u + k) % 9}", day + k / 100, int(k == 1), f"{u}-{day}")
        for day in range(20)
        for u in range(10)
        for k in range(2)
    ]
    split = {"by": "time", "valid": "3d", "test": "3d"}
    told = problems(tmp_path, rows, tasks, split, more=("click", "list"))
    assert "10 users, 10 with a past, none of whom begins it with a row that counts (click)" in told[0]
    assert "set session in [data]" in told[0]
    assert problems(tmp_path / "b", rows, tasks, split, more=("click", "list"), session="list") == []


def test_sessions_of_one_item_relate_nothing(tmp_path):
    rows = [(f"u{k % 6}", f"i{k % 5}", k, k) for k in range(120)]
    tasks = [NEXT, {"name": "related", "kind": "related"}]
    told = problems(tmp_path, rows, tasks, more=("basket",), session="basket")
    assert len(told) == 1 and "task related: no session of train has two different items" in told[0]


def test_everybody_coming_back_is_no_reason_to_refuse_but_doctor_tells(tmp_path):
    rows = [(f"u{k % 6}", f"i{k // 6 % 4}", k) for k in range(240)]
    found = dataset(tmp_path, rows, [NEXT, {"name": "new", "kind": "retrieval", "repeats": "exclude"}])
    assert list(impossible(found, ("valid", "test"))) == []
    assert any(f.level == "unfit" and f.name == "new" and "0 requests of test" in f.what for f in examine(found))


def test_the_command_refuses_before_training_and_doctor_sees_the_dataset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pl.DataFrame({"user": [f"u{k}" for k in range(60)], "item": [f"i{k % 9}" for k in range(60)],
                  "time": [T0 + k * DAY_MS for k in range(60)]}).write_csv("log.csv")  # fmt: skip
    assert "prepare will refuse this log" in CliRunner().invoke(app, ["init", "log.csv"]).stdout
    refused = CliRunner().invoke(app, ["run"])
    assert refused.exit_code == 2
    assert refused.stderr.splitlines()[-1].startswith("runs/log/dataset: each of the 60 users has one event")
    examined = CliRunner().invoke(app, ["doctor"])
    assert examined.exit_code == 1 and "each of the 60 users has one event" in examined.stderr
    assert "not finished; run: edgerec prepare" in CliRunner().invoke(app, ["train"]).stderr


# ---------------------------------------------------------------------------- doctor


def told(found):
    return [(f.level, f.what) for f in examine(found)]


def test_ids_that_read_like_missing_values_are_told_with_counts(tmp_path):
    rows = [(("NA", r"\N", "ann", "bob")[k % 4], f"i{k % 7}", k) for k in range(400)]
    found = told(dataset(tmp_path, rows))
    assert ("unfit", r"the user ids 'NA' (100 rows), '\\N' (100 rows) read like missing values, 50% of all rows") in [
        (level, what.replace("'\\\\N' (100 rows), 'NA' (100 rows)", "'NA' (100 rows), '\\\\N' (100 rows)"))
        for level, what in found
    ]


def test_a_third_of_the_rows_rejected_and_few_requests_are_unfit(tmp_path):
    rows = [(f"u{k % 10}" if k % 3 else "", f"i{k % 7}", k) for k in range(300)]
    found = told(dataset(tmp_path, rows))
    assert ("unfit", "33% of the rows were rejected (100 missing user)") in found
    assert any(
        level == "unfit" and "next can be judged by 10 requests of test (10 users," in what for level, what in found
    )


def test_what_has_the_split_already_is_not_advised(tmp_path):
    rows = [(f"u{k % 30}", f"i{k % 7}", k) for k in range(300)]
    for split, advised in (({"by": "leave-last-out"}, False), (None, True)):
        few = [f for f in examine(dataset(tmp_path, rows, split=split)) if "can be judged by" in f.what]
        assert few and all(("leave-last-out" in f.advice) == advised for f in few)


def test_a_guest_with_many_rows_and_twins_of_an_id_are_told(tmp_path):
    rows = [("guest" if k % 3 == 0 else f"u{k % 100}", f"{'0' * (k % 2)}{k % 50 // 2}", k) for k in range(3000)]
    found = told(dataset(tmp_path, rows))
    assert ("warn", "user 'guest' has 33% of all rows") in found
    assert any("item ids differ only in leading zeros, such as '01' and '1'" in what for _, what in found)


# ---------------------------------------------------------------------------- other refusals


def test_two_prepare_in_one_folder_are_told(tmp_path):
    rows = [(f"u{k % 6}", f"i{k % 5}", k) for k in range(120)]
    dataset(tmp_path, rows)
    with (tmp_path / "run" / ".edgerec-prepare.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="another edgerec prepare is at work here; wait for it, or name another"):
            dataset(tmp_path, rows)
    dataset(tmp_path, rows)  # the system frees the lock of a process that is gone


def test_lists_are_refused_as_a_text(tmp_path):
    frame = pl.DataFrame({"user": ["a", "b"], "item": ["x", "y"], "time": [T0, T0 + 1], "tags": [["p", "q"], ["p"]]})
    frame.write_parquet(tmp_path / "log.parquet")
    data = {"interactions": "log.parquet", "user": "user", "item": "item", "time": "time", "items": {"text": ["tags"]}}
    config = Config.of({"name": "log", "data": data, "task": [NEXT]}, folder=tmp_path)
    with pytest.raises(DataError, match=r"\[data.items\] text 'tags': expected one text in a row, got List\(String\)"):
        prepare(config, tmp_path / "run")
