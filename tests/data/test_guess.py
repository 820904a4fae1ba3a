"""What `edgerec init` makes of logs of many kinds: right, or left open for a person, never silently wrong."""

from __future__ import annotations

import json
import random
import tomllib
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from edgerec.config import Config
from edgerec.data.guess import GuessedSettings, guess_settings
from edgerec.data.readers import Source
from edgerec.data.sample import Sample
from edgerec.errors import DataError

T0 = 1_700_000_000
rng = random.Random(7)


def events(n=1500, users=300, items=60):
    """(user, item, seconds), the low items more often."""
    return [(rng.randrange(users), int(items * rng.random() ** 2), T0 + 1800 * k) for k in range(n)]


def guess(
    folder: Path, columns: dict[str, list], roles=None, time_format=None, **tables: dict[str, list]
) -> GuessedSettings:
    pl.DataFrame(columns).write_parquet(folder / "log.parquet")
    paths = {}
    for name, table in tables.items():
        pl.DataFrame(table).write_csv(folder / f"{name}.csv")
        paths[name] = folder / f"{name}.csv"
    return guess_settings(folder / "log.parquet", paths.get("items"), paths.get("users"), folder, roles, time_format)


def _csv(path: Path, columns: dict) -> str:
    pl.DataFrame({name: list(values) for name, values in columns.items()}).write_csv(path)
    return str(path)


def data_of(guessed: GuessedSettings):
    """The settings as they are checked."""
    return Config.of(tomllib.loads(guessed.toml)).data


def fates(guessed: GuessedSettings, path="log.parquet"):
    return {fate.column: fate.becomes for fate in guessed.columns[path]}


def test_an_item_is_never_the_user_and_an_id_goes_before_a_measure(tmp_path):
    log = events()
    plays = {
        "steamid": [9_000_000_000 + u for u, _, _ in log],
        "appid": [10 * i for _, i, _ in log],
        "playtime_forever": [rng.randrange(9000) for _ in log],
        "timestamp_created": [t for _, _, t in log],
    }
    data = data_of(guess(tmp_path, plays))
    assert (data.user, data.item, data.time, data.after) == (
        "steamid", "appid", "timestamp_created", ("playtime_forever",),
    )  # fmt: skip
    reviews = {
        "reviewerID": [f"A{u}" for u, _, _ in log],
        "asin": [f"B{i}" for _, i, _ in log],
        "overall": [float(rng.randint(1, 5)) for _ in log],
        "unixReviewTime": [t for _, _, t in log],
    }
    data = data_of(guess(tmp_path, reviews))
    assert (data.user, data.item) == ("reviewerID", "asin")


def test_a_feature_with_three_values_is_not_the_user(tmp_path):
    log = events()
    columns = {"customer": [("new", "back", "vip")[u % 3] for u, _, _ in log], "product": [f"p{i}" for _, i, _ in log],
               "ts": [t for _, _, t in log]}  # fmt: skip
    guessed = guess(tmp_path, columns)
    assert "user" in guessed.open_ and '# user = "..."  # fill in: ' in guessed.toml
    named = guess(tmp_path, columns | {"visitor_no": [u for u, _, _ in log]})
    assert data_of(named).user == "visitor_no"


def test_where_nothing_tells_the_line_is_left_open_until_a_person_says(tmp_path):
    log = events()
    columns = {"a": [f"x{u}" for u, _, _ in log], "b": [f"y{i}" for _, i, _ in log], "c": [t for _, _, t in log]}
    guessed = guess(tmp_path, columns)
    assert set(guessed.open_) == {"user", "item"} and "it may be one of: a, b" in guessed.open_["user"]
    data = data_of(guess(tmp_path, columns, {"user": "a", "item": "b"}))
    assert (data.user, data.item, data.time) == ("a", "b", "c")
    with pytest.raises(DataError, match="--role user=d: there is no such column; its columns are a, b, c"):
        guess(tmp_path, columns, {"user": "d"})


def impressions(**more):
    """Lists of five; one in ten places is clicked."""
    rows = [(s, rng.randrange(200), place, T0 + 3600 * s) for s in range(400) for place in range(5)]
    log = {
        "impression_id": [f"imp{s}" for s, _, _, _ in rows],
        "user_id": [s % 97 for s, _, _, _ in rows],
        "item_id": [i for _, i, _, _ in rows],
        "position": [place + 1 for _, _, place, _ in rows],
        "shown_at": [t for _, _, _, t in rows],
        "clicked": [int(rng.random() < 0.1) for _ in rows],
    }
    return log | more


def test_what_the_logging_system_decided_is_named_and_left_out(tmp_path):
    n = 2000
    guessed = guess(tmp_path, impressions(
        propensity_score=[rng.uniform(0.01, 0.3) for _ in range(n)], model_score=[rng.random() for _ in range(n)],
        is_rand=[rng.randrange(2) for _ in range(n)], pctr=[rng.random() for _ in range(n)],
    ))  # fmt: skip
    data = data_of(guessed)
    found = fates(guessed)
    assert data.propensity == "propensity_score" and data.session == "impression_id"
    assert {found[name] for name in ("position", "model_score", "is_rand", "pctr")} == {"left out"}
    assert "# left out: position: where the item was shown" in guessed.toml
    assert data.context.categorical == () and "score" not in str(Config.of(tomllib.loads(guessed.toml)).task)


def test_impressions_are_judged_by_what_was_clicked_and_lists_shown_at_one_time_are_sessions(tmp_path):
    log = impressions()
    del log["impression_id"]
    guessed = guess(tmp_path, log)
    config = Config.of(tomllib.loads(guessed.toml))
    assert config.data.session == "shown_at"
    assert {(t.name, t.kind, t.label) for t in config.task} == {
        ("clicked", "binary", "clicked"), ("next", "retrieval", "clicked"), ("related", "related", None),
    }  # fmt: skip


@pytest.mark.parametrize(("again", "repeats"), [(False, "exclude"), (True, "allow")])
def test_where_nobody_has_an_item_twice_lists_leave_out_what_the_user_had(tmp_path, again, repeats):
    log = [(u, (u + place % 4 if again else u + place) % 50, place) for u in range(60) for place in range(12)]
    columns = {
        "user_id": [f"u{u}" for u, _, _ in log],
        "item_id": [f"i{i}" for _, i, _ in log],
        "time": [T0 + 86_400 * place + u for u, _, place in log],
    }
    tasks = Config.of(tomllib.loads(guess(tmp_path, columns).toml)).task
    assert {t.name: t.repeats for t in tasks}["next"] == repeats


def test_yes_and_no_make_a_label(tmp_path):
    config = Config.of(tomllib.loads(guess(tmp_path, impressions(clicked=["no", "yes"] * 1000)).toml))
    assert {task.label for task in config.task} == {"clicked = 'yes'", None}


def test_an_empty_label_counts_as_nothing_and_loses_no_row(tmp_path):
    n = 2000
    log = impressions(clicked=[(1, 0, None)[k % 3] for k in range(n)], watch_ms=[(k, None)[k % 2] for k in range(n)])
    guessed = guess(tmp_path, log)
    labels = {task.name: task.label for task in Config.of(tomllib.loads(guessed.toml)).task}
    assert labels["clicked"] == labels["next"] == "COALESCE(clicked, 0)"
    assert labels["watch_ms"] == "COALESCE(watch_ms, 0)"


def test_an_id_of_one_user_and_one_time_is_a_session_whatever_its_name(tmp_path):
    log = impressions()
    log["bundle_uuid"] = log.pop("impression_id")
    assert data_of(guess(tmp_path, log)).session == "bundle_uuid"


def test_a_day_that_is_counted_is_an_order(tmp_path):
    rows = [(u, rng.randrange(60), 10 * k + u % 10) for u in range(250) for k in range(6)]
    columns = {"household_key": [u for u, _, _ in rows], "PRODUCT_ID": [i for _, i, _ in rows],
               "DAY": [day for _, _, day in rows]}  # fmt: skip
    data = data_of(guess(tmp_path, columns))
    assert (data.time, data.time_format) == ("DAY", "days")


def test_a_rare_click_is_no_attribute_of_items(tmp_path):
    log = impressions(clicked=[int(rng.random() < 0.01) for _ in range(2000)])
    assert "clicked" in data_of(guess(tmp_path, log)).after


def test_each_kind_of_event_has_a_task(tmp_path):
    log = events()
    kinds = [rng.choices(["view", "addtocart", "purchase"], [90, 7, 3])[0] for _ in log]
    columns = {"visitorid": [u for u, _, _ in log], "event": kinds, "itemid": [i for _, i, _ in log],
               "timestamp": [1000 * t for _, _, t in log]}  # fmt: skip
    config = Config.of(tomllib.loads(guess(tmp_path, columns).toml))
    labels = {task.name: task.label for task in config.task}
    assert labels["purchase"] == "event = 'purchase'" and "event" in config.data.after
    assert "view" not in labels and labels["next"] is None
    assert "next_purchase" not in labels  # only a user's first row of a part is judged, and few of them are purchases


def test_a_kind_of_event_is_ranked_if_enough_requests_can_judge_it(tmp_path):
    log = events(3000)
    kinds = ["view", "purchase", "view"] * 1000
    columns = {"visitorid": [u for u, _, _ in log], "event": kinds,
               "itemid": [i for _, i, _ in log], "timestamp": [1000 * t for _, _, t in log]}  # fmt: skip
    labels = {task.name: task.label for task in Config.of(tomllib.loads(guess(tmp_path, columns).toml)).task}
    assert labels["next_purchase"] == labels["purchase"] == "event = 'purchase'"


def test_likes_are_four_of_five_or_the_upper_third(tmp_path):
    log = events()

    def liked(ratings):
        columns = {"user": [f"u{u}" for u, _, _ in log], "item": [f"i{i}" for _, i, _ in log],
                   "time": [t for _, _, t in log], "rating": ratings}  # fmt: skip
        config = Config.of(tomllib.loads(guess(tmp_path, columns).toml))
        return next(task.label for task in config.task if task.name == "like")

    assert liked([1 + k % 5 for k in range(len(log))]) == "rating >= 4"
    assert liked([1 + k % 9 for k in range(len(log))]) == "rating >= 7"  # 7, 8 and 9 of 1 to 9
    assert (
        liked([5 if k % 3 else 3 + k % 2 + (k % 30 > 0) * (1 - k % 2) for k in range(len(log))]) == "rating >= 5"
    )  # at least 4 tells nothing


def test_a_split_with_too_few_requests_gives_way_to_one_with_more(tmp_path):
    once = [(u, i, T0 + 86_400 * u + 60 * k) for u in range(300) for k, i in enumerate(rng.sample(range(60), 5))]
    columns = {"user": [u for u, _, _ in once], "item": [i for _, i, _ in once], "time": [t for _, _, t in once]}
    guessed = guess(tmp_path, columns)
    assert data_of(guessed).split.by == "leave-last-out" and guessed.portrait.requests == (300, 300)
    assert "the last event of each user is test" in guessed.toml and "would leave" in guessed.toml
    log = events(12_000)
    columns = {"user": [u for u, _, _ in log], "item": [i for _, i, _ in log], "time": [t for _, _, t in log]}
    split = data_of(guess(tmp_path, columns)).split
    assert (split.by, split.valid, split.test) == ("time", "28d", "28d")  # of 250 days


def test_a_log_without_a_clock_is_ordered_by_its_counter(tmp_path):
    rows = [(u, rng.randrange(60), place) for u in range(250) for place in range(3 + u % 9)]
    columns = {"user": [u for u, _, _ in rows], "item": [i for _, i, _ in rows],
               "position": pl.Series([place for _, _, place in rows], dtype=pl.Int16)}  # fmt: skip
    guessed = guess(tmp_path, columns)
    data = data_of(guessed)
    assert (data.time, data.time_format, data.split.by) == ("position", "order", "leave-last-out")
    assert data.context.from_time == () and ("span", "no clock, only an order") in guessed.portrait.lines()


def test_a_counter_that_a_person_names_as_the_time_is_an_order(tmp_path):
    rows = [(u, rng.randrange(60), n) for u in range(250) for n in range(3 + u % 9)]
    columns = {"user": [u for u, _, _ in rows], "item": [i for _, i, _ in rows], "xq": [n for _, _, n in rows]}
    assert "time" in guess(tmp_path, columns).open_
    data = data_of(guess(tmp_path, columns, {"time": "xq"}))
    assert (data.time, data.time_format, data.context.from_time) == ("xq", "order", ())


def test_a_spreadsheets_days_are_asked_about_and_read_once_said(tmp_path):
    columns = {"user": [u for u, _, _ in events()], "item": [i for _, i, _ in events()]}
    columns["date"] = [44197 + n / 24 for n in range(len(columns["user"]))]
    assert "--role time=date --time-format excel" in guess(tmp_path, columns).open_["time"]
    data = data_of(guess(tmp_path, columns, {"time": "date"}, "excel"))
    assert (data.time, data.time_format) == ("date", "excel")
    assert data.context.from_time == ("hour", "weekday")


def test_where_day_and_month_fit_either_way_round_a_line_is_left_open(tmp_path):
    log = [(u, i, k % 12 + 1, k // 12 % 12 + 1) for k, (u, i, _) in enumerate(events())]
    columns = {"user": [u for u, *_ in log], "item": [i for _, i, *_ in log],
               "xq": [f"{a:02}/{b:02}/2024" for _, _, a, b in log]}  # fmt: skip
    guessed = guess(tmp_path, columns)
    assert data_of(guessed).time == "xq" and data_of(guessed).time_format is None and guessed.portrait is None
    assert "may be 2 January 2024 or 1 February 2024, and every row fits both" in guessed.open_["time_format"]
    assert '# time_format = "..."  # fill in: ' in guessed.toml
    said = guess_settings(tmp_path / "log.parquet", None, None, tmp_path, time_format="%m/%d/%Y")
    assert data_of(said).time_format == "%m/%d/%Y" and not said.open_ and said.portrait is not None


def test_the_order_of_day_and_month_is_found_however_late_it_shows(tmp_path):
    log = events()
    days = [f"{k % 12 + 1}/{k % 11 + 1}/2024" for k in range(len(log) - 1)] + ["5/31/2024"]
    columns = {"user": [u for u, *_ in log], "item": [i for _, i, _ in log], "xq": days}
    guessed = guess(tmp_path, columns)
    assert not guessed.open_ and 'time = "xq"  # by its values; text as %m/%d/%Y' in guessed.toml


def test_the_place_within_a_list_is_no_order_of_the_lists(tmp_path):
    log = impressions()
    del log["shown_at"]
    guessed = guess(tmp_path, log)
    assert "rename" not in guessed.open_["time"] and "name it: --role time=COLUMN" in guessed.open_["time"]


def test_a_session_stands_for_its_user_where_no_column_says_who(tmp_path):
    rows = sorted((rng.randrange(300), rng.randrange(60), T0 + 60 * k) for k in range(1500))
    columns = {"session_id": [s for s, _, _ in rows], "item_id": [i for _, i, _ in rows],
               "timestamp": [t for _, _, t in rows]}  # fmt: skip
    data = data_of(guess(tmp_path, columns))
    assert (data.user, data.session, data.split.by) == ("session_id", None, "leave-last-out")


def test_without_user_and_session_it_says_what_is_possible(tmp_path):
    log = events()
    guessed = guess(tmp_path, {"item_id": [i for _, i, _ in log], "time": [t for _, _, t in log]})
    assert "no column says who" in guessed.open_["user"] and "popularity" in guessed.open_["user"]


def test_date_and_time_of_the_day_may_be_two_columns(tmp_path):
    log = events()
    when = pl.from_epoch(pl.Series([t for _, _, t in log]))
    columns = {"user": [u for u, _, _ in log], "item": [i for _, i, _ in log], "date": when.dt.strftime("%Y-%m-%d"),
               "time": when.dt.strftime("%H:%M:%S")}  # fmt: skip
    guessed = guess(tmp_path, columns)
    assert data_of(guessed).time == "CONCAT(date, ' ', time)"
    assert guessed.portrait.last_ms == 1000 * max(t for _, _, t in log)


def test_dates_without_a_time_of_the_day_give_no_hour(tmp_path):
    log = events()
    when = pl.from_epoch(pl.Series([t for _, _, t in log]))
    columns = {"user": [u for u, _, _ in log], "item": [i for _, i, _ in log]}
    for dates in (when.dt.date(), when.dt.date().cast(pl.Datetime), when.dt.strftime("%Y-%m-%d")):
        assert data_of(guess(tmp_path, columns | {"date": dates})).context.from_time == ("weekday",)
    assert data_of(guess(tmp_path, columns | {"date": when})).context.from_time == ("hour", "weekday")


def test_a_first_line_of_values_is_no_header(tmp_path):
    (tmp_path / "u.tsv").write_text("196\t242\t3\t881250949\n186\t302\t3\t891717742\n")
    with pytest.raises(DataError, match="the first line"):
        guess_settings(tmp_path / "u.tsv", None, None, tmp_path)


def test_a_first_line_built_as_the_others_is_no_header_and_one_of_numbered_names_is(tmp_path):
    lines = [f"u{rng.randrange(20)}::i{k}::{('home', 'shop')[k % 2]}" for k in range(30)]
    (tmp_path / "u.dat").write_text("\n".join(lines))
    with pytest.raises(DataError, match="the first line"):
        guess_settings(tmp_path / "u.dat", None, None, tmp_path)
    columns = {"user1": [f"u{k % 9}" for k in range(40)], "item2": range(40), "time3": [T0 + k for k in range(40)]}
    assert Source.open(_csv(tmp_path / "named.csv", columns)).frame.collect().height == 40


def test_genres_are_several_values_in_a_cell_and_not_one_category_for_each_combination(tmp_path):
    log = events()
    genres = ["Action", "Drama", "Comedy", "Crime", "War"]
    table = {"item_id": list(range(60)), "title": [f"A film of {i} days" for i in range(60)],
             "genres": ["|".join(sorted(rng.sample(genres, 1 + i % 3))) for i in range(60)]}  # fmt: skip
    columns = {"user": [u for u, _, _ in log], "item_id": [i for _, i, _ in log], "time": [t for _, _, t in log]}
    guessed = guess(tmp_path, columns, items=table)
    found = data_of(guessed).items
    assert (found.multi, found.multi_separator) == (("genres",), "|")
    assert "genres" not in found.text + found.categorical


def test_lists_and_other_separators_are_several_values_of_items_and_users(tmp_path):
    log = events()
    tags = ["red", "green", "blue", "grey"]
    lists = [rng.sample(tags, 1 + i % 3) for i in range(60)]
    columns = {"user": [u for u, _, _ in log], "item": [i for _, i, _ in log], "time": [t for _, _, t in log],
               "item_tags": [lists[i] for _, i, _ in log]}  # fmt: skip
    users = {"user": list(range(300)), "hobbies": [";".join(rng.sample(tags, 1 + i % 3)) for i in range(300)],
             "as_text": [str(rng.sample(tags, 1 + i % 3)) for i in range(300)]}  # fmt: skip
    found = data_of(guess(tmp_path, columns, users=users))
    assert found.items.multi == ("item_tags",)
    assert (found.users.multi, found.users.multi_separator) == (("hobbies", "as_text"), ";")


def test_every_column_is_listed_with_what_became_of_it(tmp_path):
    log = events()
    columns = {"user": [u for u, _, _ in log], "item": [i for _, i, _ in log], "time": [t for _, _, t in log],
               "row_no": list(range(len(log))), "empty": [None] * len(log), "one": [1] * len(log),
               "updated_at": [t + 5 for _, _, t in log], "odd": [rng.randrange(50) for _ in log],
               "list": [[1, 2]] * len(log), "flagged": [rng.randrange(2) for _ in log]}  # fmt: skip
    guessed = guess(tmp_path, columns, users={"user": list(range(300)), "age": [20 + u % 50 for u in range(300)]})
    assert list(fates(guessed)) == list(columns)
    assert {name: becomes for name, becomes in fates(guessed).items() if becomes != "left out"} == {
        "user": "user", "item": "item", "time": "time",
    }  # fmt: skip
    assert fates(guessed, "users.csv") == {"user": "users id", "age": "users numeric"}
    json.dumps(guessed.to_json())


def test_an_items_table_that_lacks_ids_is_told_with_the_near_ones(tmp_path):
    log = events()
    columns = {"user": [u for u, _, _ in log], "item": [f"{i:04}" for _, i, _ in log], "time": [t for _, _, t in log]}
    table = {"item": [str(i) for i in range(40)], "title": [f"Thing number {i}" for i in range(40)]}
    told = guess(tmp_path, columns, items=table).notes
    assert "items.csv: 60 of 60 items of the log are not in it and have no attributes (100%)" in told[0]
    assert "40 of these differ only in leading zeros ('0000' in the log" not in told[1]  # "0" is left without a digit
    assert "39 of these differ only in leading zeros ('0001' in the log, '1' in the table)" in told[1]


def test_the_portrait_counts_what_the_log_holds(tmp_path):
    rows = [("a", "x", 0), ("a", "x", 1), ("a", "y", 2), ("b", "x", 3)] * 30
    columns = {"user": [u for u, _, _ in rows], "item": [i for _, i, _ in rows],
               "time": [T0 + 86_400 * d for _, _, d in rows]}  # fmt: skip
    told = dict(guess(tmp_path, columns, {"user": "user", "item": "item"}).portrait.lines("about 2 minutes"))
    assert told["rows"] == "120" and told["users"] == "2" and told["items"] == "2"
    assert told["span"] == "2023-11-14 to 2023-11-17, 3.0 days"
    assert told["events a user"] == "median 60; 90 % have at most 90"
    assert told["repeats"].startswith("97.5%")  # 3 different pairs in 120 rows
    assert told["head"].startswith("the top 1 % of the items have 75%") and told["training"] == "about 2 minutes"
    assert len(told) <= 10


def test_ids_with_and_without_letters_are_counted_together(tmp_path):
    (tmp_path / "log.csv").write_text("item\n" + "\n".join(["22423", "22086", "85123", "85123A", "22423"]) + "\n")

    assert Sample.open(tmp_path / "log.csv", "log.csv").values("item") == "4 different values"


# ---------------------------------------------------------------------------- columns that were read silently wrong


def plain_log(**columns):
    """A log of users, items and days, with further columns."""
    log = events()
    start = datetime(2024, 1, 3)
    table = {"user_id": [f"u{u}" for u, _, _ in log], "item_id": [f"sku-{i}" for _, i, _ in log],
             "timestamp": [start + timedelta(minutes=97 * k) for k in range(len(log))]}  # fmt: skip
    return table | {name: [make(k) for k in range(len(log))] for name, make in columns.items()}


def labels_of(guessed: GuessedSettings):
    return {task.name: task.label for task in Config.of(tomllib.loads(guessed.toml)).task}


@pytest.mark.parametrize(("value", "label"), [
    ("Y", "COALESCE(clicked = 'Y', FALSE)"), (1, "COALESCE(clicked = 1, FALSE)"),
    (True, "COALESCE(clicked = True, FALSE)"),
])  # fmt: skip
def test_a_flag_that_is_blank_for_no_is_one(tmp_path, value, label):
    labels = labels_of(guess(tmp_path, plain_log(clicked=lambda k: value if k * 7 % 3 == 0 else None)))

    assert labels["clicked"] == labels["next"] == label


def test_a_time_that_most_rows_lack_tells_whether_it_happened_and_is_not_the_time(tmp_path):
    at = datetime(2024, 1, 3)
    guessed = guess(tmp_path, plain_log(clicked_at=lambda k: at + timedelta(minutes=97 * k) if k % 4 == 0 else None))

    assert data_of(guessed).time == "timestamp"
    assert labels_of(guessed)["next"] == "clicked_at IS NOT NULL"


@pytest.mark.parametrize("mark", ["|", ", "])
def test_a_basket_in_a_cell_is_no_item(tmp_path, mark):
    log = plain_log()
    items = log.pop("item_id")
    log["items"] = [mark.join(items[k : k + 1 + k % 3]) for k in range(len(items))]
    guessed = guess(tmp_path, log)

    assert guessed.open_["item"].startswith("a cell of items holds several items, such as ")
    assert "one row per item is needed" in guessed.open_["item"]
    assert data_of(guess(tmp_path, log, {"item": "items"})).item == "items"  # a person may know better


def test_a_list_of_items_is_no_item(tmp_path):
    log = plain_log()
    log["items"] = [[item, "sku-1"] for item in log.pop("item_id")]

    assert "one row per item is needed" in guess(tmp_path, log).open_["item"]


def test_what_items_are_sorted_by_is_not_the_item(tmp_path):
    log = plain_log(product_category_id=lambda k: k * 13 % 30)
    log["product_name"] = [f"Nice thing {item}" for item in log.pop("item_id")]

    assert data_of(guess(tmp_path, log)).item == "product_name"


def test_no_task_rewards_what_was_undone(tmp_path):
    kinds = ("product_viewed", "product_viewed", "order_placed", "order_cancelled", "removed_from_cart")
    labels = labels_of(guess(tmp_path, plain_log(event=lambda k: kinds[k * 7 % 5])))

    assert not {"order_cancelled", "removed_from_cart"} & {*labels, *(name.removeprefix("next_") for name in labels)}
    assert "NOT event = 'order_cancelled'" in labels["next"] and "NOT event = 'removed_from_cart'" in labels["next"]


@pytest.mark.parametrize(("column", "good", "bad"), [
    ("feedback", "like", "dislike"), ("thumb", "up", "down"), ("status", "completed", "cancelled"),
    ("Aktion", "gekauft", "storniert"),
])  # fmt: skip
def test_of_two_values_the_wanted_one_is_the_task(tmp_path, column, good, bad):
    labels = labels_of(guess(tmp_path, plain_log(**{column: lambda k: good if k * 7 % 3 else bad})))

    assert f"{column} = '{good}'" in labels.values()
    assert f"{column} = '{bad}'" not in labels.values()


def test_returned_rows_are_not_taken_and_a_return_is_no_task(tmp_path):
    labels = labels_of(guess(tmp_path, plain_log(returned=lambda k: "Yes" if k * 7 % 5 == 0 else "No")))

    assert labels["next"] == "NOT returned = 'Yes'" and "returned" not in labels


def test_of_two_dates_the_earlier_one_is_taken_and_that_is_said(tmp_path):
    day = datetime(2024, 1, 3)
    log = plain_log(handed=lambda k: day + timedelta(days=k // 9 + 3 + k * 7 % 20))
    log["placed_day"] = [day + timedelta(days=k // 9) for k in range(len(log["user_id"]))]
    log["handed_day"] = log.pop("handed")
    del log["timestamp"]
    guessed = guess(tmp_path, log)

    assert data_of(guessed).time == "placed_day"
    log["ship_day"] = log.pop("handed_day")
    assert data_of(guess(tmp_path, log)).time == "placed_day"


def test_stars_in_words_are_ratings(tmp_path):
    labels = labels_of(guess(tmp_path, plain_log(rating=lambda k: f"{1 + k * 7 % 5} stars")))

    assert labels["like"] == "COALESCE(rating IN ('4 stars', '5 stars'), FALSE)"


def test_a_decimal_comma_in_a_file_with_semicolons_is_set(tmp_path):
    log = plain_log(rating=lambda k: f"{1 + k * 7 % 5},5")
    pl.DataFrame(log).write_csv(tmp_path / "log.csv", separator=";")
    guessed = guess_settings(tmp_path / "log.csv", None, None, tmp_path)

    assert data_of(guessed).decimal == "," and labels_of(guessed)["like"].startswith("rating >= ")


def test_a_column_named_like_an_outcome_that_nothing_explains_is_said(tmp_path):
    words = ("foo", "bar", "baz")
    notes = guess(tmp_path, plain_log(event=lambda k: words[k * 7 % 3])).notes

    assert any(note.startswith("event looks like what users did ('bar', 'baz', 'foo')") for note in notes)


def test_a_clock_that_may_be_apples_is_said(tmp_path):
    log = plain_log()
    log["timestamp"] = [int(at.timestamp()) - 978_307_200 for at in log["timestamp"]]

    assert 'time = "timestamp + 978307200"' in "".join(guess(tmp_path, log).notes)


def test_a_column_of_offsets_beside_the_time_is_said(tmp_path):
    log = plain_log(utc_offset=lambda k: "-08:00" if k % 2 else "+01:00")
    log["timestamp"] = [str(at) for at in log["timestamp"]]

    assert 'time = "CONCAT(timestamp, utc_offset)"' in "".join(guess(tmp_path, log).notes)


def test_a_time_that_only_a_named_format_reads_is_asked_for_with_the_format(tmp_path):
    log = plain_log()
    log["timestamp"] = [at.strftime("%d/%b/%Y:%H:%M:%S +0100") for at in log["timestamp"]]
    assert '--role time=timestamp --time-format "%d/%b/%Y:%H:%M:%S %z"' in guess(tmp_path, log).open_["time"]


def test_whole_decimals_are_ids_and_rounded_floats_are_refused(tmp_path):
    log = pl.DataFrame(plain_log(number=lambda k: 4_900_000_000_000_000 + k * 7 % 300)).drop("user_id")
    decimal = log.rename({"number": "user_id"}).cast({"user_id": pl.Decimal(20, 0)})
    assert (
        data_of(guess(tmp_path, decimal.to_dict(as_series=False) | {"user_id": decimal["user_id"]})).user == "user_id"
    )

    rounded = decimal.with_columns(pl.col("user_id").cast(pl.Float64) * 10)
    with pytest.raises(DataError, match=r"user = 'user_id': ids such as .* are rounded"):
        guess(tmp_path, rounded.to_dict(as_series=False))
