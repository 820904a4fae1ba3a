"""What becomes of a log: rows kept, rejected with a reason, ordered, indexed and encoded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgerec.config import Config
from edgerec.data import Dataset, prepare
from edgerec.errors import DataError

DAY_MS = 86_400_000
BASE_MS = 1_700_006_400_000  # 2023-11-15 00:00 UTC, a Wednesday


def write(folder: Path, rows: dict[str, list[Any]] | str, name: str = "log.csv") -> None:
    if isinstance(rows, str):
        (folder / name).write_text(rows)
    else:
        pl.DataFrame(rows, strict=False).write_csv(folder / name)


def config(folder: Path, tasks: list[dict[str, Any]] | None = None, **data: Any) -> Config:
    values = {
        "name": "log",
        "data": {"interactions": "log.csv", "user": "user", "item": "item", "time": "time"}
        | {"split": {"valid": "1d", "test": "1d"}}
        | data,
        "task": tasks or [{"name": "next", "kind": "retrieval"}],
    }
    return Config.of(values, folder=folder)


def log(**changes: list[Any]) -> dict[str, list[Any]]:
    """Six events on six days, two users, three items."""
    rows: dict[str, list[Any]] = {
        "user": ["a", "b", "a", "b", "a", "b"],
        "item": ["x", "y", "z", "x", "y", "z"],
        "time": [BASE_MS + i * DAY_MS for i in range(6)],
    }
    return rows | changes


def run(folder: Path, rows: dict[str, list[Any]] | str, tasks: Any = None, **data: Any) -> Dataset:
    write(folder, rows)
    return Dataset.open(prepare(config(folder, tasks, **data), folder, judged_on=()).folder)


def rejected(dataset: Dataset) -> list[tuple[int, str]]:
    return pl.read_parquet(dataset.folder / "rejected.parquet").select("row", "reason").rows()


BINARY = [{"name": "next", "kind": "retrieval"}, {"name": "like", "kind": "binary", "label": "like"}]


# ---------------------------------------------------------------------------- parts and indices


def test_days_count_back_from_the_midnight_after_the_last_event(tmp_path):
    dataset = run(tmp_path, log())

    assert dataset.meta.rows == {"train": 4, "valid": 1, "test": 1}
    assert dataset.meta.boundaries_ms.end == BASE_MS + 6 * DAY_MS
    assert dataset.meta.boundaries_ms.test == BASE_MS + 5 * DAY_MS


def test_midnight_is_local(tmp_path):
    dataset = run(tmp_path, log(), timezone="Asia/Shanghai")

    assert dataset.meta.boundaries_ms.end == BASE_MS + 5 * DAY_MS + 16 * 3_600_000  # 00:00 of the 21st at UTC+8


def test_a_day_is_a_calendar_day_when_summer_time_begins(tmp_path):
    days = [f"2024-03-{day} 12:00" for day in (28, 29, 30, 31)] + ["2024-04-01 12:00"]  # 31 March has 23 hours
    rows = log(user=list("ababa"), item=list("xyzxy"), time=days)

    cuts = run(tmp_path, rows, timezone="Europe/Berlin").meta.boundaries_ms

    assert cuts.test is not None and cuts.valid is not None
    assert (cuts.end - cuts.test, cuts.test - cuts.valid) == (DAY_MS, DAY_MS - 3_600_000)


def test_leave_last_out_takes_the_last_two_events_of_each_user(tmp_path):
    dataset = run(tmp_path, log(), split={"by": "leave-last-out"})

    assert dataset.part("test").collect()["row"].to_list() == [4, 5]
    assert dataset.part("valid").collect()["row"].to_list() == [2, 3]
    assert dataset.meta.boundaries_ms.test is None


def test_items_are_numbered_by_first_appearance_so_a_catalogue_is_a_prefix(tmp_path):
    rows = log(item=["z", "y", "z", "y", "x", "w"])

    dataset = run(tmp_path, rows)

    assert dataset.items()["id"].to_list() == ["z", "y", "x", "w"]
    assert dataset.meta.catalog == {"train": 2, "valid": 3, "test": 4}


def test_the_catalogue_is_a_prefix_for_leave_last_out_too(tmp_path):
    rows = log(user=["a", "a", "a", "b", "b", "b"], item=["p", "q", "r", "s", "t", "u"])

    dataset = run(tmp_path, rows, split={"by": "leave-last-out"})

    assert dataset.meta.catalog == {"train": 2, "valid": 4, "test": 6}
    assert dataset.items()["id"].to_list() == ["p", "s", "q", "t", "r", "u"]


def test_ids_keep_their_leading_zeros_and_whole_floats_lose_their_point(tmp_path):
    rows = log(item=["007", "7", "007", "7", "007", "7"])
    dataset = run(tmp_path, rows)
    assert dataset.items()["id"].to_list() == ["007", "7"]

    pl.DataFrame(log(user=[1.0, 2.0, 1.0, 2.0, 1.0, 2.0])).write_parquet(tmp_path / "log.parquet")
    report = prepare(config(tmp_path, interactions="log.parquet"), tmp_path)
    assert Dataset.open(report.folder).users()["id"].to_list() == ["1", "2"]


def test_an_item_may_be_an_expression(tmp_path):
    dataset = run(tmp_path, log(item=["x", "X", "y", "Y", "x", "y"]), item="UPPER(item)")

    assert dataset.items()["id"].to_list() == ["X", "Y"]


# ---------------------------------------------------------------------------- rejected rows


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("user", None, "missing user"),
        ("item", "  ", "missing item"),
        ("time", None, "missing time"),
        ("time", 0, "impossible time"),
        ("time", 9 * 10**18, "impossible time"),
        ("like", None, "missing label like"),
        ("like", float("nan"), "missing label like"),
        ("like", 2, "label like not 0 or 1"),
    ],
)
def test_a_bad_value_rejects_its_row_and_says_why(tmp_path, column, value, reason):
    rows = log(like=[0, 1, 0, 1, 0, 1])
    rows[column][2] = value

    dataset = run(tmp_path, rows, BINARY)

    assert rejected(dataset) == [(2, reason)]
    assert dataset.meta.counts.to_json() == {"in": 6, "kept": 5, "rejected": {reason: 1}}


def test_unreadable_text_among_times_is_rejected(tmp_path):
    days = [f"2024-05-0{i} 10:00:00" for i in range(1, 7)]
    days[1] = "yesterday"

    assert rejected(run(tmp_path, log(time=days))) == [(1, "unreadable time")]


def test_rows_outside_where_are_rejected_with_all_their_columns(tmp_path):
    dataset = run(tmp_path, log(n=[1, -1, 1, None, 1, 1]), where="n > 0")

    table = pl.read_parquet(dataset.folder / "rejected.parquet")
    assert table.columns == ["row", "reason", "user", "item", "time", "n"]
    assert rejected(dataset) == [(1, "not where"), (3, "not where")]


def test_a_source_that_has_a_column_called_row_keeps_it(tmp_path):
    dataset = run(tmp_path, log(row=[9, 8, 7, 6, 5, 4]), where='"row" <> 8')

    assert pl.read_parquet(dataset.folder / "rejected.parquet").row(0)[:3] == (1, "not where", "b")
    assert pl.read_parquet(dataset.folder / "rejected.parquet")["source.row"].to_list() == ["8"]


def test_of_repeated_rows_the_one_with_the_largest_label_stays(tmp_path):
    rows = log(ms=[5, 1, 2, 3, 4, 6])
    for column, value in (("user", "a"), ("item", "x"), ("time", BASE_MS), ("ms", 9)):
        rows[column].append(value)
    tasks = [{"name": "next", "kind": "retrieval"}, {"name": "watch", "kind": "regression", "label": "ms"}]

    dataset = run(tmp_path, rows, tasks)

    assert rejected(dataset) == [(0, "duplicate")]
    assert dataset.part("train").collect()["label.watch"].to_list() == [9, 1, 2, 3]


def test_an_item_counts_once_in_a_session(tmp_path):
    rows = log(s=[1, 2, 3, 4, 5, 6])
    for column, value in (("user", "a"), ("item", "x"), ("time", BASE_MS + 60_000), ("s", 1)):
        rows[column].append(value)

    dataset = run(tmp_path, rows, session="s")

    assert dataset.meta.counts.rejected == {"duplicate": 1}
    assert dataset.part("train").collect()["time"][0] == BASE_MS


def test_a_session_is_not_cut_by_the_split(tmp_path):
    rows = log(s=[1, 2, 3, 4, 5, 6])
    for column, value in (("user", "a"), ("item", "z"), ("time", BASE_MS + 5 * DAY_MS), ("s", 5)):
        rows[column].append(value)

    dataset = run(tmp_path, rows, session="s")

    assert dataset.part("valid").collect()["row"].sort().to_list() == [4, 6]
    assert dataset.part("test").collect()["row"].to_list() == [5]


def test_one_session_id_of_two_users_is_two_sessions(tmp_path):
    dataset = run(tmp_path, log(s=[1, 1, 2, 2, 3, 3]), session="s")

    sessions = pl.concat([dataset.part(name).collect() for name in ("train", "valid", "test")])["session"]
    assert sessions.to_list() == [0, 1, 2, 3, 4, 5]


def test_the_core_names_what_it_leaves_out(tmp_path):
    rows = {
        "user": ["a", "a", "a", "b", "b", "b", "c"],
        "item": ["x", "y", "z", "x", "y", "z", "x"],
        "time": [BASE_MS + i for i in range(7)],
    }
    dataset = run(tmp_path, rows, split={"by": "leave-last-out", "core": 2})

    assert rejected(dataset) == [(6, "outside the 2-core")]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", ""]),
            st.sampled_from(["x", "y", "z", ""]),
            st.sampled_from([None, 0, BASE_MS, BASE_MS + DAY_MS, BASE_MS + 2 * DAY_MS]),
            st.sampled_from([0, 1, 2, None]),
        ),
        max_size=25,
    )
)
def test_no_row_is_lost_and_none_is_there_twice(tmp_path, extra):
    rows = log(like=[0, 1, 0, 1, 0, 1])
    for user, item, time, like in extra:
        for column, value in (("user", user), ("item", item), ("time", time), ("like", like)):
            rows[column].append(value)

    dataset = run(tmp_path, rows, BINARY)

    kept = [row for name in ("train", "valid", "test") for row in dataset.part(name).collect()["row"]]
    assert sorted(kept + [row for row, _ in rejected(dataset)]) == list(range(6 + len(extra)))


# ---------------------------------------------------------------------------- times


@pytest.mark.parametrize(
    "times",
    [
        [BASE_MS // 1000 + i * 86_400 for i in range(6)],
        [(BASE_MS + i * DAY_MS) * 1000 for i in range(6)],
        [f"2023-11-{15 + i}" for i in range(6)],
        [f"2023-11-{15 + i}T00:00:00Z" for i in range(6)],
        [f"2023-11-{15 + i}T01:00:00+01:00" for i in range(6)],
        [f"11/{15 + i}/2023 00:00" for i in range(6)],
        [f"{15 + i}.11.2023 00:00" for i in range(6)],
        [20231115 + i for i in range(6)],
    ],
)
def test_times_are_read_in_many_forms(tmp_path, times):
    dataset = run(tmp_path, log(time=times))

    assert dataset.part("train").collect()["time"].to_list() == [BASE_MS + i * DAY_MS for i in range(4)]


def test_times_without_a_zone_are_local(tmp_path):
    dataset = run(tmp_path, log(time=[f"2023-11-{15 + i} 08:00" for i in range(6)]), timezone="Asia/Shanghai")

    assert dataset.part("train").collect()["time"][0] == BASE_MS


# ---------------------------------------------------------------------------- features


def test_hour_and_weekday_are_local_and_one_based(tmp_path):
    context = {"from_time": ["hour", "weekday"]}
    train = run(tmp_path, log(), context=context, timezone="Asia/Shanghai").part("train").collect()

    assert train["cat.hour"].to_list() == [9, 9, 9, 9]  # 08:00
    assert train["cat.weekday"].to_list() == [3, 4, 5, 6]  # Wednesday is 2


def test_a_value_first_seen_after_train_is_unknown(tmp_path):
    rows = log(tab=["b", "a", "b", None, "c", "a"], price=[1.0, 3.0, None, 2.0, 100.0, 5.0])
    context = {"categorical": ["tab"], "numeric": ["price"]}

    dataset = run(tmp_path, rows, context=context)

    assert dataset.meta.context.categorical[0].values == ("b", "a")
    assert dataset.part("train").collect()["cat.tab"].to_list() == [1, 2, 1, 0]
    assert dataset.part("valid").collect()["cat.tab"].to_list() == [0]
    assert dataset.meta.context.numeric[0].mean == 2.0
    assert dataset.part("train").collect()["num.price"].is_nan().to_list() == [False, False, True, False]


def test_kind_is_a_bit_for_each_positive_binary_task(tmp_path):
    rows = log(click=[0, 1, 1, 0, 1, 1], like=[0, 0, 1, 1, 1, 1])
    tasks = [{"name": name, "kind": "binary", "label": name} for name in ("click", "like")]

    assert run(tmp_path, rows, tasks).part("train").collect()["kind"].to_list() == [0, 1, 3, 2]


def test_watch_time_is_clipped_at_its_quantile_of_train(tmp_path):
    tasks = [{"name": "watch", "kind": "regression", "label": "ms", "clip": 0.5}]
    dataset = run(tmp_path, log(ms=[1, 2, 3, 4, 50, 60]), tasks)

    assert dataset.meta.clips == {"watch": 2.5}
    assert dataset.part("train").collect()["label.watch"].to_list() == [1, 2, 2.5, 2.5]
    assert dataset.part("test").collect()["label.watch"].to_list() == [2.5]


def test_item_numbers_from_the_log_are_medians_of_train_rows(tmp_path):
    rows = log(
        item=["x", "x", "x", "y", "x", "z"],
        price=[1.0, 2.0, 9.0, 5.0, 100.0, 7.0],
        name=[None, "X", "other", "Y", "late", "Z"],
    )
    table = run(tmp_path, rows, items={"text": ["name"], "numeric": ["price"]}).items()

    assert table["raw.price"].to_list() == [2.0, 5.0, 7.0]
    assert table["title"].to_list() == ["X", "Y", "Z"]


def test_items_only_in_the_items_file_come_last(tmp_path):
    write(tmp_path, {"id": ["w", "z", "x"], "name": ["W", "Z", None], "kind": ["k", "l", "k"]}, "items.csv")
    items = {"path": "items.csv", "id": "id", "text": ["name"], "categorical": ["kind"]}

    dataset = run(tmp_path, log(), items=items)

    table = dataset.items()
    assert table["id"].to_list() == ["x", "y", "z", "w"]
    assert table["title"].to_list() == ["x", "y", "Z", "W"]  # without a name, the id
    assert table["raw.kind"].to_list() == ["k", None, "l", "k"]
    assert table["cat.kind"].to_list() == [1, 0, 2, 1]
    assert dataset.meta.n_items == 4 and dataset.meta.catalog["test"] == 3


def test_what_a_users_file_lacks_or_has_too_much_is_noted(tmp_path):
    write(tmp_path, log())
    write(tmp_path, {"id": ["a", "a", "q"], "land": ["UK", "FR", "DE"]}, "users.csv")

    report = prepare(config(tmp_path, users={"path": "users.csv", "id": "id", "categorical": ["land"]}), tmp_path)

    notes = " | ".join(report.notes)
    assert "1 rows repeat an id" in notes
    assert "1 of 2 users of the log are not in it" in notes
    assert "1 users are never in the log" in notes
    assert Dataset.open(report.folder).users()["cat.land"].to_list() == [1, 0]


# ---------------------------------------------------------------------------- the whole


def test_jsonl_parquet_and_a_glob_of_csv_give_the_same_dataset(tmp_path):
    frame = pl.DataFrame(log())
    frame.head(3).write_csv(tmp_path / "part-1.csv")
    frame.tail(3).write_csv(tmp_path / "part-2.csv")
    frame.write_parquet(tmp_path / "log.parquet")
    frame.write_ndjson(tmp_path / "log.jsonl")

    frames = []
    for name in ("part-*.csv", "log.parquet", "log.jsonl"):
        report = prepare(config(tmp_path, interactions=name), tmp_path)
        frames.append(Dataset.open(report.folder).training_frame("test").collect())

    assert frames[0].equals(frames[1]) and frames[0].equals(frames[2])


def test_the_order_of_the_file_changes_only_the_row_numbers(tmp_path):
    rows = log(time=[BASE_MS + DAY_MS * (i // 2) for i in range(6)])
    forward = run(tmp_path, rows)
    before = [forward.part(name).collect().drop("row") for name in ("train", "valid", "test")]

    backward = run(tmp_path, {name: column[::-1] for name, column in rows.items()})

    assert all(
        a.equals(backward.part(n).collect().drop("row"))
        for a, n in zip(before, ("train", "valid", "test"), strict=True)
    )


def test_preparing_twice_writes_the_same_bytes(tmp_path):
    rows = log(tab=["b", "a", "b", "a", "c", "a"])
    context = {"categorical": ["tab"], "from_time": ["hour"]}
    first = {f.name: f.read_bytes() for f in run(tmp_path, rows, context=context).folder.iterdir()}
    second = {f.name: f.read_bytes() for f in run(tmp_path, rows, context=context).folder.iterdir()}

    assert first == second
    assert set(first) == {"train.parquet", "valid.parquet", "test.parquet", "items.parquet", "users.parquet"} | {
        "rejected.parquet",
        "dataset.json",
    }


def test_a_failed_run_leaves_the_old_dataset_whole(tmp_path):
    old = run(tmp_path, log()).meta
    with pytest.raises(DataError):
        run(tmp_path, "user,item,time\n")

    assert Dataset.open(tmp_path / "dataset").meta == old
    assert not (tmp_path / "dataset.new").exists()


# ---------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("content", "data", "message"),
    [
        ("", {}, r"log.csv: is empty; expected a header and rows"),
        ("user,item,time\n", {}, r"log.csv: has no rows; expected at least one"),
        (log(), {"interactions": "lgo.csv"}, r"lgo.csv: no such file"),
        (log(), {"user": "usr"}, r"log.csv: \[data\] user = 'usr': there is no column 'usr'; did you mean 'user'\?"),
        (log(), {"where": "nn > 0"}, r"\[data\] where = 'nn > 0': there is no column 'nn'"),
        (log(), {"where": "user"}, r"\[data\] where = 'user': expected a condition, got String"),
        (log(), {"where": "user >"}, r"neither a column nor SQL"),
        (log(time=["soon"] * 6), {}, r"\[data\] time = 'time': 'soon' is not a time; expected dates such as"),
        (log(time=[1, 2, 3, 4, 5, 6]), {}, r"\[data\] time = 'time': 1 is not a time since 1970"),
        (log(time=[None] * 6), {}, r"\[data\] time = 'time': is empty in all rows"),
        (log(user=[None] * 6), {}, r"no row is left of 6: 6 missing user"),
        (log(item=["x"] * 6), {}, r"all rows are about one item \(x\); ranking needs at least two"),
        (log(time=[BASE_MS] * 6), {}, r"the split leaves no rows for train and valid \(0 train, 0 valid, 6 test\)"),
        (log(), {"context": {"numeric": ["item"]}}, r"numeric 'item': expected numbers, got text such as 'x'"),
        (log(), {"context": {"categorical": ["tab"]}}, r"there is no column 'tab'"),
        (log(), {"items": {"path": "none.csv", "id": "id"}}, r"none.csv: no such file"),
    ],
)
def test_bad_input_is_one_clear_line(tmp_path, content, data, message):
    with pytest.raises(DataError, match=message) as caught:
        run(tmp_path, content, **data)

    assert "\n" not in str(caught.value)


def test_a_label_of_words_is_refused_with_a_way_out(tmp_path):
    with pytest.raises(
        DataError, match=r"\[\[task\]\] like label = 'like': expected 0 or 1, got String; write a condition"
    ):
        run(tmp_path, log(like=["yes", "no"] * 3), BINARY)

    tasks = [{"name": "like", "kind": "binary", "label": "like = 'yes'"}]
    assert run(tmp_path, log(like=["yes", "no"] * 3), tasks).part("train").collect()["label.like"].to_list() == [
        1,
        0,
        1,
        0,
    ]


def test_an_items_file_of_other_ids_is_refused(tmp_path):
    write(tmp_path, {"id": ["1", "2"], "name": ["a", "b"]}, "items.csv")

    with pytest.raises(DataError, match=r"items.csv: knows none of the log's items \(such as 'x'\)"):
        run(tmp_path, log(), items={"path": "items.csv", "id": "id", "text": ["name"]})


def test_a_value_of_the_wrong_type_far_down_a_csv_is_missing_and_named(tmp_path):
    rows = log(like=[0, 1, 0, 1, 0, 1])
    many = {name: column * 3000 for name, column in rows.items()}
    many["like"][-1] = "maybe"

    write(tmp_path, many)
    report = prepare(config(tmp_path, BINARY), tmp_path)

    assert any("1 of 18,000 values of 'like' are no numbers, such as 'maybe'" in note for note in report.notes)
    assert rejected(Dataset.open(report.folder))[-1] == (17_999, "missing label like")


def test_one_user_is_enough(tmp_path):
    assert run(tmp_path, log(user=["a"] * 6)).meta.n_users == 1


def test_a_folder_without_a_dataset_says_what_to_run(tmp_path):
    with pytest.raises(DataError, match="run: edgerec prepare"):
        Dataset.open(tmp_path)
