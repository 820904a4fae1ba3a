"""Checks a dataset before training, without a model: leaks, constant labels, wrong clocks, too little data, odd ids.

A column leaks if it alone predicts a label in nearly every case: that of its own row (a copy, or something that
happened later), or that of the user's next row (a label that slipped by one row). An attribute of items or users is the
same in all their rows, so it cannot be a copy: it is reported, but does not stop the training. The check reads whole
users of train, a sample of them, and takes seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from edgerec import metrics
from edgerec.data.cleaning import DUPLICATE, NOT_WHERE
from edgerec.data.dataset import Dataset
from edgerec.data.fitness import impossible
from edgerec.data.ids import mix, reads_as_missing
from edgerec.data.near import near_twins
from edgerec.data.request_counts import judged_tasks
from edgerec.data.splits import PARTS
from edgerec.errors import DataError

__all__ = ["Finding", "examine", "leaks", "refuse_leaks"]

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

SAMPLE: Final = 60_000
"""Rows of the sample."""
LEAK: Final = 0.98
"""AUC of a single column from which it is a leak."""
SUSPECT: Final = 0.93
"""AUC of a single column from which it is reported."""
FEW_REQUESTS: Final = 200
"""Fewer evaluation requests of a task are reported."""
LEAST_REQUESTS: Final = 50
"""With fewer, a log is unfit: chance alone moves a share by more than a seventh."""
FEW_PAST: Final = 0.1
"""A part is reported in which a smaller share of the users has a past."""
MUCH_REJECTED: Final = 0.05
"""A larger share of rows that were rejected as unreadable or incomplete is reported."""
MOST_REJECTED: Final = 0.3
"""From this share on, the log is unfit."""
MUCH_REPEATED: Final = 0.1
"""A larger share of duplicates is reported."""
ONE_USER: Final = 0.05
"""A user with a larger share of all rows is reported."""
MUCH_MISSING: Final = 0.1
"""From this share of rows of ids that read like missing values on, a log is unfit."""
LEAST_USERS: Final = 200
"""Fewer users in train are reported."""
LEAST_POSITIVES: Final = 100
"""Fewer positives of a task in a part are reported."""
GAP_PART: Final = 0.25
"""A gap without a row that is longer than this part of the whole span is reported."""


@dataclass(frozen=True)
class Finding:
    """A problem of a dataset.

    Attributes:
        level: "stop" ends `edgerec train` unless the column is allowed by name; "unfit": nothing can be said of what is
            trained; "warn" is for a person to judge.
        name: the column or task. what: the problem in one sentence. advice: what to do.
    """

    level: Literal["stop", "unfit", "warn"]
    name: str
    what: str
    advice: str


def examine(dataset: Dataset) -> list[Finding]:
    """All findings, those that stop the training first."""
    rows = _sample(dataset)
    findings = [
        *(
            Finding("stop", "split", problem, "edgerec prepare refuses it")
            for problem in impossible(dataset, ("valid", "test"))
        ),
        *leaks(dataset, rows),
        *_requests(dataset),
        *_rejected(dataset),
        *_ids(dataset),
        *_labels(dataset),
        *_columns(dataset, rows),
        *_clock(dataset),
        *_sizes(dataset),
    ]
    return sorted(findings, key=lambda f: ("stop", "unfit", "warn").index(f.level))


def leaks(dataset: Dataset, rows: pl.DataFrame | None = None) -> Iterator[Finding]:
    """Columns that alone predict a label of their row, or of the user's next row."""
    rows = _sample(dataset) if rows is None else rows
    columns = dict(_features(dataset, rows))
    own = {c.partition(".")[2] for c in rows.columns}
    user = rows["user"].to_numpy()
    for name in [c for c in rows.columns if c.startswith("label.")]:
        task, label = name.partition(".")[2], rows[name].to_numpy().astype(np.float64)
        positive = label > (0 if set(np.unique(label)) <= {0, 1} else np.median(label))
        for column, (kind, values) in columns.items():
            for whose, of, known in (("of its own row", positive, np.ones(len(user), bool)), _next(positive, user)):
                area = _auc_alone(values[known], of[known], user[known], kind)
                if area >= SUSPECT:
                    yield _leak(column, task, whose, area, column in own)
                    break


def _leak(column: str, task: str, whose: str, area: float, of_the_row: bool) -> Finding:
    sure = area >= LEAK and of_the_row
    return Finding(
        "stop" if sure else "warn",
        column,
        f"{column} alone tells {task} {whose} apart (AUC {area:.3f})" + ("" if sure else ", which is unusually well"),
        f"leave {column} out, or name it in after of [data] if it is known only later; if it is known before the item "
        f'is shown, allow it: allow_leaks = ["{column}"] in [training]',
    )


def _next(positive: Array, user: Array) -> tuple[str, Array, Array]:
    """The label of the user's next row, and where there is one."""
    known = np.r_[user[1:] == user[:-1], False]
    return "of the user's next row", np.r_[positive[1:], False], known


def _auc_alone(values: Array, positive: Array, user: Array, kind: str) -> float:
    """AUC of a column in either direction; of a category by its rate of positives in the other half of the users."""
    if not positive.any() or positive.all() or len(np.unique(values)) < 2:
        return 0.5
    if kind == "number":
        missing = np.isnan(values)
        filled = np.where(missing, np.nanmin(values) - 1 if not missing.all() else 0.0, values)
        return max(max(area, 1 - area) for area in (metrics.auc(positive, v) for v in (filled, missing * 1.0)))
    half = user % 2 == 0
    score = np.zeros(len(values))
    n = int(values.max()) + 1
    for own in (half, ~half):
        count = np.bincount(values[~own], minlength=n)
        rate = (np.bincount(values[~own], positive[~own], n) + positive.mean()) / (count + 1)
        score[own] = rate[values[own]]
    return metrics.auc(positive, score)


def _sample(dataset: Dataset) -> pl.DataFrame:
    """Whole users of the train part, in the order of user and time."""
    keep = min(SAMPLE / max(dataset.meta.rows["train"], 1), 1.0)
    chosen = mix("key") % pl.lit(2**32, pl.UInt64) < pl.lit(int(keep * 2**32), pl.UInt64)
    part = dataset.part("train").with_columns(pl.col("user").cast(pl.UInt64).alias("key"))
    return part.filter(chosen).drop("key").collect(engine="streaming").sort("user", "time", "row")


def _features(dataset: Dataset, rows: pl.DataFrame) -> Iterator[tuple[str, tuple[str, Array]]]:
    """Every feature column: its name, its kind ("category" or "number"), and its value in each of `rows`."""
    tables = [(rows, np.arange(len(rows)))]
    tables += [(dataset.items(), rows["item"].to_numpy()), (dataset.users(), rows["user"].to_numpy())]
    for table, at in tables:
        for column in table.columns:
            prefix, _, name = column.partition(".")
            if prefix == "cat" and name not in ("hour", "weekday"):
                yield name, ("category", table[column].to_numpy()[at].astype(np.int64))
            elif prefix == "num":
                yield name, ("number", table[column].to_numpy()[at].astype(np.float64))


def _labels(dataset: Dataset) -> Iterator[Finding]:
    for task in dataset.meta.tasks:
        name = f"label.{task.name}"
        for part in ("train", "valid", "test"):
            frame = dataset.part(part)
            if name not in frame.collect_schema().names():
                continue
            low, high, positives = (
                frame.select(
                    pl.col(name).min().alias("low"),
                    pl.col(name).max().alias("high"),
                    (pl.col(name) > 0).sum().alias("n"),
                )
                .collect()
                .row(0)
            )
            if low == high:
                yield Finding(
                    "warn", task.name, f"{task.name} is {low} in every row of {part}",
                    "look at its label in the settings: nothing can be learned or evaluated there",
                )  # fmt: skip
            elif positives < LEAST_POSITIVES:
                yield Finding(
                    "warn", task.name, f"{task.name} has {positives} positives in {part}",
                    f"its figures there will be imprecise; use a longer log or a longer {part}",
                )  # fmt: skip


def _columns(dataset: Dataset, rows: pl.DataFrame) -> Iterator[Finding]:
    for name, (kind, values) in _features(dataset, rows):
        empty = np.isnan(values).all() if kind == "number" else len(values) and values.max() == 0
        if len(values) and (empty or len(np.unique(values[~np.isnan(values)] if kind == "number" else values)) == 1):
            what = "is empty in every row" if empty else "has one value in every row"
            yield Finding("warn", name, f"{name} {what}", f"leave {name} out of the settings, or look at its source")


def _clock(dataset: Dataset) -> Iterator[Finding]:
    time = dataset.part("train").select("time").collect(engine="streaming")["time"].sort().to_numpy()
    if not len(time):
        return
    first, last, now = int(time[0]), int(time[-1]), int(datetime.now(UTC).timestamp() * 1000)
    if first < datetime(1990, 1, 1, tzinfo=UTC).timestamp() * 1000 or last > now:
        yield Finding(
            "warn", "time", f"rows lie between {_day(first)} and {_day(last)}",
            "expected times since 1990 and before now: look at the unit and the zone of [data] time",
        )  # fmt: skip
    steps = np.diff(time)
    span = last - first
    if span and steps.max() > GAP_PART * span:
        at = int(steps.argmax())
        yield Finding(
            "warn", "time", f"no row between {_day(int(time[at]))} and {_day(int(time[at + 1]))}",
            "a part of the log is missing, or the clock jumped: what is learned before may not hold after",
        )  # fmt: skip
    if len(time) > 1000 and np.unique(time).size < 0.01 * len(time):
        yield Finding(
            "warn", "time", f"{len(time):,} rows have only {np.unique(time).size:,} times",
            "the time may be a date, or that of a batch job: the order of a user's rows is unknown; use a finer time",
        )  # fmt: skip


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d")


def _sizes(dataset: Dataset) -> Iterator[Finding]:
    users = dataset.part("train").select(pl.col("user").n_unique()).collect().item()
    if users < LEAST_USERS:
        yield Finding(
            "warn", "users", f"train has {users} users",
            f"with fewer than {LEAST_USERS} users figures are imprecise, and one user teaches little about others",
        )  # fmt: skip
    for part in ("valid", "test"):
        if not dataset.meta.rows[part]:
            yield Finding("warn", part, f"{part} has no row", "look at split in [data]")


def _requests(dataset: Dataset) -> Iterator[Finding]:
    """Parts with too few requests to tell one model from another."""
    for part, judged in judged_tasks(dataset).items():
        for task, counts in judged.items():
            if counts.requests < FEW_REQUESTS and counts.with_past:
                level: Literal["unfit", "warn"] = "unfit" if counts.requests < LEAST_REQUESTS else "warn"
                what = (
                    f"{task.name} can be judged by {counts.requests:,} requests of {part} "
                    f"({counts.users:,} users, {counts.with_past:,} with a past)"
                )
                error = 1 / math.sqrt(max(counts.requests, 1))
                more = "more users that come back are needed to know them better"
                if dataset.meta.boundaries_ms.valid is not None:
                    more = f"take a longer {part}, or split by leave-last-out"
                advice = f"shares are known to about ±{error:.0%} at best; {more}"
                yield Finding(level, task.name, what, advice)
        some = next(iter(judged.values()), None)
        if some is not None and some.requests >= FEW_REQUESTS and some.with_past < FEW_PAST * some.users:
            yield Finding(
                "warn", part, f"{some.with_past:,} of {some.users:,} users of {part} have a past",
                "figures are of these alone; others get what a new user gets",
            )  # fmt: skip


def _rejected(dataset: Dataset) -> Iterator[Finding]:
    """Rows that are lost for no wish of the settings."""
    counts = dataset.meta.counts
    wished = sum(n for why, n in counts.rejected.items() if why == NOT_WHERE or why.startswith("outside"))
    rows = counts.rows_in - wished
    repeated = sum(n for why, n in counts.rejected.items() if why.startswith(DUPLICATE))
    lost = {w: n for w, n in counts.rejected.items() if w != NOT_WHERE and not w.startswith(("outside", DUPLICATE))}
    share = sum(lost.values()) / max(rows, 1)
    if share >= MUCH_REJECTED:
        level: Literal["unfit", "warn"] = "unfit" if share >= MOST_REJECTED else "warn"
        named = ", ".join(f"{n:,} {why}" for why, n in lost.items())
        yield Finding(
            level, "rows", f"{share:.0%} of the rows were rejected ({named})",
            "look at rejected.parquet and mend [data]; what is left may be another log than the one that you have",
        )  # fmt: skip
    if repeated >= MUCH_REPEATED * rows:
        yield Finding(
            "warn", "rows", f"{repeated / rows:.0%} of the rows repeat another one",
            "if they are events of their own, give them a finer time or a session",
        )  # fmt: skip


def _ids(dataset: Dataset) -> Iterator[Finding]:
    """Ids that stand for nobody, and ids that are one thing in two spellings."""
    events = pl.concat([dataset.part(name) for name in PARTS]).select("user", "item")  # type: ignore[arg-type]
    for role, table in (("user", dataset.users()), ("item", dataset.items())):
        rows = events.group_by(role).len().collect(engine="streaming")
        ids = table.select("id", pl.col("index").alias(role)).join(rows, on=role)
        total = max(int(ids["len"].sum()), 1)
        words = ids.filter(reads_as_missing(pl.col("id")))
        if words.height:
            yield _missing_words(role, words, total)
        typical = float(ids["len"].median() or 0)  # type: ignore[arg-type]
        largest = ids.sort("len", descending=True).row(0, named=True)
        if role == "user" and largest["len"] > max(ONE_USER * total, 20 * typical) and not words.height:
            yield Finding(
                "warn", "user", f"user {largest['id']!r} has {largest['len'] / total:.0%} of all rows",
                "if it stands for everybody without an account, leave it out with where in [data]",
            )  # fmt: skip
        twins = near_twins(ids["id"])
        if twins is not None:
            n, difference, first, second = twins
            yield Finding(
                "warn", role, f"{n:,} {role} ids differ only in {difference}, such as {first!r} and {second!r}",
                f"if they are one {role}, make them alike with an SQL expression in {role} of [data]",
            )  # fmt: skip


def _missing_words(role: str, words: pl.DataFrame, total: int) -> Finding:
    """The finding on ids that read like a missing value."""
    share = int(words["len"].sum()) / total
    top = words.sort("len", descending=True)
    named = ", ".join(f"{word!r} ({n:,} rows)" for word, n in top.select("id", "len").head(5).iter_rows())
    return Finding(
        "unfit" if share >= MUCH_MISSING else "warn",
        role,
        f"the {role} id {named} reads like a missing value, {share:.0%} of all rows"
        if words.height == 1
        else f"the {role} ids {named} read like missing values, {share:.0%} of all rows",
        "list what stands for nobody in missing of [data], such as missing = ['NA']; these rows are rejected then",
    )


def refuse_leaks(dataset: Dataset, allowed: Sequence[str]) -> None:
    """Raises DataError for columns that leak a label and are not allowed by name."""
    stops = [f for f in leaks(dataset) if f.level == "stop" and f.name not in allowed]
    if stops:
        others = "".join(f"; so does {f.name}" for f in stops[1:] if f.name != stops[0].name)
        raise DataError(f"{stops[0].what}{others}: a leak; {stops[0].advice}")
