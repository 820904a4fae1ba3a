"""The public tables: what is held out, how lists are scored, and that nothing of test reaches a bundle."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from edgerec.errors import DataError
from edgerec.files import read_json
from tools.benchmarks import public as command
from tools.benchmarks.published import report
from tools.benchmarks.published.chain import HOME, Chain, Lists
from tools.benchmarks.published.score import score
from tools.benchmarks.published.sets import END_MS, PARTS, SETS, PublicSet

SMALL = {
    "teacher": {"dim": 8, "hidden": 16, "heads": 2, "experts": 2, "epochs": 1, "folds": 2, "sequence": 0},
    "ensemble": {"members": ["popularity", "transitions", "reranker"], "requests": 60, "candidates": 10, "trees": 3},
    "student": {"dim": 8, "hidden": 16, "heads": 2, "transitions": 4},
    "distillation": {"epochs": 1},
    "pruning": {"epochs": 1},
    "quantization": {"conformance": 6},
}


def write(folder: Path, name: str, **columns: list[int]) -> None:
    pl.DataFrame(columns).write_parquet(folder / f"{name}.parquet")


@pytest.fixture
def walks(tmp_path: Path) -> Path:
    """Folder of a "beauty": 40 users walk 9 steps over 24 items from places of their own, and stray now and then."""
    rng = np.random.default_rng(0)
    rows = [(u, (u + s) % 20 if rng.random() > 0.2 else 20 + s % 4, s) for u in range(40) for s in range(9)]
    rows = list({(u, i): (u, i, s) for u, i, s in rows}.values())  # nobody has an item twice
    user, item, position = (list(column) for column in zip(*rows, strict=True))
    write(tmp_path, "beauty", user=user, item=item, position=position)
    items = pl.DataFrame({"item": range(24), "text": [f"thing {i % 5} of colour {i % 3}" for i in range(24)]})
    items.write_parquet(tmp_path / "beauty.items.parquet")
    return tmp_path


# ------------------------------------------------------------------------------------------------ what is held out


def test_the_last_step_of_a_user_is_test_and_the_one_before_it_valid(tmp_path):
    write(tmp_path, "beauty", user=[1, 1, 1, 1, 2], item=[5, 6, 7, 8, 5], position=[0, 1, 2, 3, 0])
    rows = PublicSet.read("beauty", tmp_path).rows

    assert rows["part"].to_list() == [0, 0, 1, 2, 0]


def test_a_basket_is_held_out_whole(tmp_path):
    write(tmp_path, "tafeng", user=[1] * 6, basket=[0, 0, 4, 9, 9, 9], item=[1, 2, 1, 1, 2, 3])
    public = PublicSet.read("tafeng", tmp_path)

    assert [public.of_part("test")["item"].to_list(), public.of_part("valid")["item"].to_list()] == [[1, 2, 3], [1]]


def test_edgerecs_own_split_finds_the_parts_of_the_protocol(walks):
    public = PublicSet.read("beauty", walks)
    chain = Chain.of(public, "train", 0, walks / "out", [SMALL])
    (walks / "out" / "beauty").mkdir(parents=True)
    public.log().write_parquet(walks / "out" / "beauty" / "log.parquet")
    public.catalogue().write_parquet(walks / "out" / "beauty" / "items.parquet")
    from edgerec.data.prepare import prepare

    prepare(chain.config, chain.folder)
    users, items = (pl.read_parquet(chain.folder / "dataset" / f"{name}.parquet")["id"] for name in ("users", "items"))
    for index, part in enumerate(PARTS[:2]):
        ours = pl.read_parquet(chain.folder / "dataset" / f"{part}.parquet")
        found = sorted(zip(users[ours["user"]].cast(int), items[ours["item"]].cast(int), strict=True))
        theirs = public.rows.filter(pl.col("part") == index)
        assert found == sorted(zip(theirs["user"], theirs["item"], strict=True))


@pytest.mark.parametrize("name", ["beauty", "gowalla"])
def test_the_log_holds_an_item_that_its_user_does_not_have_in_place_of_test(tmp_path, name):
    if name == "beauty":
        write(tmp_path, name, user=[1, 1, 1, 2, 2, 2], item=[5, 6, 9, 5, 7, 9], position=[0, 1, 2, 0, 1, 2])
    else:
        for part, items in {"train": [5, 5], "valid": [6, 7], "test": [9, 9]}.items():
            write(tmp_path, f"{name}.{part}", user=[1, 2], item=items)
    log = PublicSet.read(name, tmp_path).log()
    last = log.filter(pl.col("time") == END_MS)

    assert "9" not in log["item"].to_list()
    assert dict(last.select("user", "item").iter_rows()) == {"1": "7", "2": "6"}  # 5 is the most frequent, both have it


def test_times_fall_back_from_one_end_and_keep_the_order(tmp_path):
    n = 300
    write(tmp_path, "beauty", user=[1] * n + [2] * 3, item=[*range(n), 0, 1, 2], position=[*range(n), 0, 1, 2])
    log = PublicSet.read("beauty", tmp_path).log()
    of_user = log.filter(pl.col("user") == "1").sort("time")
    step_ms = SETS["beauty"].step_ms

    assert of_user["item"].to_list()[:-1] == [str(i) for i in range(n - 1)]
    assert of_user["time"].n_unique() == n and of_user["time"].diff().drop_nulls().max() == step_ms
    assert log.filter(pl.col("user") == "2")["time"].to_list() == [END_MS - 2 * step_ms, END_MS - step_ms, END_MS]


def test_lines_of_text_are_read_whether_a_user_has_one_or_many(tmp_path):
    (tmp_path / "beauty.txt").write_text("1 5 6 7\n2 5 6 8\n")
    (tmp_path / "ml1m.txt").write_text("1 5\n1 6\n1 7\n2 5\n2 6\n2 8\n")

    assert PublicSet.read("beauty", tmp_path).rows.equals(PublicSet.read("ml1m", tmp_path).rows)


def test_a_missing_file_or_column_is_one_line(tmp_path):
    with pytest.raises(DataError, match=r"tafeng\.parquet: no such file; expected one with user, item, basket"):
        PublicSet.read("tafeng", tmp_path)
    write(tmp_path, "tafeng", user=[1], item=[1])
    with pytest.raises(DataError, match=r"tafeng\.parquet: has no column 'basket'"):
        PublicSet.read("tafeng", tmp_path)


@pytest.mark.parametrize("users", [[], [1, None], ["a", "b"], [1.0, float("nan")]])
def test_a_user_that_is_no_whole_number_is_one_line(tmp_path, users):
    write(tmp_path, "beauty", user=users, item=[1] * len(users), position=[1] * len(users))
    with pytest.raises(DataError, match=r"beauty\.parquet: column 'user': expected a whole number in each row"):
        PublicSet.read("beauty", tmp_path)


def test_a_file_that_is_no_parquet_is_one_line(tmp_path):
    (tmp_path / "beauty.parquet").touch()
    with pytest.raises(DataError, match=r"beauty\.parquet: cannot be read as Parquet"):
        PublicSet.read("beauty", tmp_path)


# ------------------------------------------------------------------------------------------------ how lists are scored


@pytest.mark.parametrize("whole_ideal", [False, True])
def test_scores_are_those_of_the_definition(whole_ideal):
    rng = np.random.default_rng(1)
    lists = np.stack([rng.permutation(60)[:20] for _ in range(50)])
    lists[0, 3:] = -1
    truth = [rng.choice(60, rng.integers(1, 16), replace=False) for _ in range(50)]
    for k in (5, 10, 20):
        recall, ndcg = [], []
        for row, true in zip(lists.tolist(), truth, strict=True):
            hits = [item in set(true.tolist()) for item in row[:k]]
            ideal = len(true) if whole_ideal else min(k, len(true))
            recall.append(sum(hits) / len(true))
            ndcg.append(
                sum(hit / math.log2(rank + 2) for rank, hit in enumerate(hits))
                / sum(1 / math.log2(rank + 2) for rank in range(ideal))
            )
        figures = score(lists, truth, None, 60, (k,), whole_ideal)
        for name, values in {"recall": recall, "ndcg": ndcg}.items():
            assert figures[f"{name}@{k}"].value == pytest.approx(np.mean(values))
            assert figures[f"{name}@{k}"].se == pytest.approx(np.std(values, ddof=1) / 50**0.5)


def test_a_list_with_a_seen_item_is_refused():
    with pytest.raises(ValueError, match="request 1: its list holds a excluded item"):
        score(np.array([[3, 4], [3, 4]]), [np.array([3])] * 2, [np.array([5]), np.array([4])], 9, (2,), False)


def test_a_user_without_a_list_scores_nothing(tmp_path):
    write(tmp_path, "beauty", user=[1] * 3 + [2] * 3, item=[1, 2, 3, 1, 2, 4], position=[0, 1, 2] * 2)
    public = PublicSet.read("beauty", tmp_path)
    lists = Lists(np.array([2]), {"int8": np.array([[4, 3]])}, 1.0)

    assert lists.figures(public, "test")["int8"]["recall@10"].value == 0.5
    assert lists.figures(public, "valid")["int8"]["recall@10"].n == 2


# ------------------------------------------------------------------------------------------------ the whole way


@pytest.mark.slow
def test_every_stage_of_both_lines_is_in_the_table_and_a_second_call_trains_nothing(walks, monkeypatch, capsys):
    monkeypatch.setattr(command, "_store", stored := _Counting(command._store))
    changes = [f"--set={section}.{key}={json.dumps(v)}" for section, of in SMALL.items() for key, v in of.items()]
    arguments = ["beauty", "--data", str(walks), "--out", str(walks / "out"), "--seeds", "0", *changes]

    assert command.main([*arguments, "--stages", "int8"]) == 0
    assert "our teacher" not in capsys.readouterr().out
    assert command.main(arguments) == 0
    assert stored.stages == [["int8"], ["int8"], ["teacher", "student", "pruned"], ["teacher", "student", "pruned"]]
    assert command.main([*arguments, "--show"]) == command.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(stored.stages) == 4
    assert sum("our bundle, INT8 by the native engine" in line for line in lines) == 6
    files = list((walks / "out" / "beauty").glob("test-*.npz"))
    assert len(files) == 2 and all(set(np.load(f).files) == {"user", *report.STAGES} for f in files)


class _Counting:
    def __init__(self, function):
        self.function, self.stages = function, []

    def __call__(self, *arguments):
        self.stages.append(list(arguments[3]))
        self.function(*arguments)


@pytest.mark.slow
def test_a_bundle_is_the_same_byte_for_byte_whatever_the_test_items_are(walks, monkeypatch, capsys):
    changes = [f"--set={section}.{key}={json.dumps(v)}" for section, of in SMALL.items() for key, v in of.items()]
    arguments = ["beauty", "--data", str(walks), "--out", str(walks / "out"), "--planted", *changes]

    assert command.main(arguments) == 0
    assert capsys.readouterr().out.count("are the same with random test items") == 2

    def with_test(public: PublicSet) -> pl.DataFrame:  # what must not be
        rows = log(public)
        items = public.of_part("test").sort("user")["item"].cast(pl.String)
        last = rows.filter(pl.col("time") == END_MS).sort("user").with_columns(item=items)
        return pl.concat([rows.filter(pl.col("time") < END_MS), last, last.with_columns(time=pl.col("time") - 1)])

    log = PublicSet.log
    monkeypatch.setattr(PublicSet, "log", with_test)
    assert command.main(arguments) == 1
    assert "the test items reach train" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------ what is committed


@pytest.mark.parametrize("name", list(SETS))
def test_the_settings_of_each_set_are_valid_and_leave_nothing_to_the_machine(tmp_path, name):
    public = PublicSet(name, SETS[name], pl.DataFrame(), None)

    assert Chain.of(public, "train", 3, tmp_path).config.effort == "full"
    assert Chain.of(public, "train and valid", 3, tmp_path).config.evaluation.part == "test"


def test_the_page_holds_the_tables_of_the_results_that_are_kept():
    page = report.PAGE.read_text("utf-8")

    assert report.with_tables(page) == page
    for name, rows in read_json(report.KEPT).items():
        assert f"<!-- table: {name} -->" in page and all(f"| {' | '.join(row)} |" in page for row in rows)


def test_every_settings_file_belongs_to_a_set():
    assert {path.stem for path in HOME.glob("*.toml")} == {p.settings or name for name, p in SETS.items()}
