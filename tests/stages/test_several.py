"""Columns with several values in a cell, of items and users, from the log to the device."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from edgerec.bundle.columns_file import COLUMNS, columns_file
from edgerec.cli.main import app
from edgerec.config import Config
from edgerec.data import prepare
from edgerec.ensemble.encodings import Encoder
from edgerec.errors import ConfigError
from edgerec.evaluation.segments import find_segments
from edgerec.examples.evaluation_requests import find_evaluation_requests
from edgerec.progress import Silent
from edgerec.runtime import Recommender
from edgerec.stages.run import Run
from tests import tiny

CAMPS = ("even", "odd")


def settings(**sections) -> dict:
    values = tiny.settings(**sections)
    values["data"]["users"] |= {"multi": ["tastes"]}
    values["data"]["items"] |= {"multi": ["tags"]}
    return values


def write(folder: Path, strangers: bool = False) -> None:
    """The tiny log; tastes name the user's camp and something of the user's own, tags the item's camp and its shelf.

    `strangers`: each user comes back as another one after every second session, so that tastes tell what no past does.
    """
    log = tiny.rows()
    users, items = ([int(name[1:]) for name in log[of]] for of in ("user", "item"))
    log["tastes"] = [f"{CAMPS[u % 2]}|t{u % 5}" if u else None for u in users]
    log["tags"] = [f"{CAMPS[i % 2]} | {'xyz'[i % 3]}" for i in items]
    if strangers:
        lives = [min(int(name.split("-")[1]) // 2, 2) for name in log["session"]]
        log["user"] = [f"u{100 * life + user}" for life, user in zip(lives, users, strict=True)]
    tiny.write(folder, log)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    write(folder)
    values = settings(teacher={"graph_layers": 1})
    config = Config.of(values, folder=folder)
    run = prepare(config, folder / "run").folder.parent
    return Run(config, run, Silent()).learning_data("test")


def test_training_and_device_give_a_user_s_values_the_same_numbers(data):
    impressions, names = data.evaluation.impressions, data.encoder.numeric_names
    rows = np.flatnonzero(impressions.requests.user > 0)[:20]
    batch = impressions.requests.batch(rows).numeric.numpy()
    for row, user in zip(batch, impressions.requests.user[rows].tolist(), strict=True):
        number = int(data.dataset.users()["id"][user][1:])
        told = {"tastes": [CAMPS[number % 2], f"t{number % 5}"]}
        own = data.encoder.numbers(data.encoder.past((), (), ()), 0, told)[
            -sum(len(c.values) for c in data.encoder.multi) :
        ]
        values = dict(zip(names, row.tolist(), strict=True))
        assert values[f"tastes={CAMPS[number % 2]}"] == values[f"tastes=t{number % 5}"] == 0.5
        assert row[-len(own) :].tolist() == own.tolist()


def test_items_have_the_mean_of_their_values_and_the_graph_knows_these(data):
    parts, shares = data.features.parts.numpy(), data.features.shares.numpy()
    assert data.shape.item_parts == 5 and shares.sum(axis=1).tolist() == [1.0] * data.n_items
    values = data.dataset.meta.items.multi[0].values
    for index, item in enumerate(data.dataset.items()["id"].head(data.n_items)):
        number = int(item[1:])
        assert {values[p] for p in parts[index]} == {CAMPS[number % 2], "xyz"[number % 3]}
    assert data.shape.entities == 3 + 5  # a shelf and a tag each


def test_trees_see_the_share_of_each_value_of_an_item(data):
    encoder = Encoder(data, max_crosses=0)
    impressions = data.train.impressions
    matrix = encoder.train_rows(np.arange(20))
    columns = matrix[:, [i for i, name in enumerate(encoder.names) if name.startswith("part.")]]
    assert sorted(columns[0].tolist()) == [0.0, 0.0, 0.0, 0.5, 0.5]
    ids = data.dataset.items()["id"]
    odd = np.array([int(ids[i][1:]) % 2 for i in impressions.item[:20].tolist()])
    assert any(np.array_equal(2 * column, odd) for column in columns.T)


def test_a_user_with_two_values_is_in_the_segment_of_each(data):
    requests = find_evaluation_requests(data)
    segments = {s.name: s for s in find_segments(data, requests, ["tastes"], min_size=1) if "tastes" in s.name}
    users = data.evaluation.impressions.requests.user
    ids = data.dataset.users()["id"]
    of_first = np.array([ids[u] != "u0" and int(ids[u][1:]) % 5 == 0 for u in users.tolist()])
    assert segments["tastes has t0"].impressions.tolist() == of_first.tolist()
    assert sum(s.impressions.sum() for s in segments.values()) == 2 * sum(ids[u] != "u0" for u in users.tolist())


@pytest.fixture(scope="module")
def chain(tmp_path_factory) -> Path:
    """A run of the whole chain, with a table of users to ask for."""
    folder = tmp_path_factory.mktemp("several-chain")
    write(folder, strangers=True)
    sections = {"teacher": {"epochs": 6}, "distillation": {"epochs": 40, "min_ndcg_retained": 0.0, "max_auc_drop": 1.0}}
    (folder / "edgerec.toml").write_text(tiny.toml(settings(**sections)))
    arguments = ["run", "-c", str(folder / "edgerec.toml"), "--run-dir", str(folder / "run")]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code in (0, 1), result.stderr  # gates do not matter here
    return folder


@pytest.mark.slow
def test_a_user_s_tastes_move_the_scores_to_the_own_camp_and_a_list_is_the_text(chain):
    with Recommender.open(chain / "run" / "bundle") as rec:
        now = tiny.START_MS + 36 * tiny.DAY_MS
        items = [f"i{i}" for i in range(tiny.ITEMS)]

        def odd_less_even(given: object) -> float:
            """By how much the odd camp's items are clicked more than the even camp's."""
            rows = {r.item: r.probability["click"] for r in rec.score(items, user={"tastes": given}, now=now)}
            return float(np.mean([rows[f"i{i}"] * (2 * (i % 2) - 1) for i in range(tiny.ITEMS)]))

        assert odd_less_even(["even", "t1"]) == odd_less_even("even|t1") == odd_less_even(np.array(["t1", "even"]))
        assert odd_less_even(["even"]) < odd_less_even(["odd"]) - 0.2
        with pytest.raises(ConfigError, match=r"user: country has one value, got \['DE'\]"):
            rec.recommend(3, user={"country": ["DE"]})
        with pytest.raises(ConfigError, match=r"user: tastes must be a list of texts or numbers; it holds \{\}"):
            rec.recommend(3, user={"tastes": [{}]})


@pytest.mark.slow
def test_conditions_ask_whether_a_tag_is_among_an_item_s(chain):
    with Recommender.open(chain / "run" / "bundle") as rec:
        found = rec.recommend(100, where="tags = 'odd' AND tags != 'x'", now=tiny.START_MS + 36 * tiny.DAY_MS)
        assert {r.item for r in found} == {f"i{i}" for i in range(tiny.ITEMS) if i % 2 and i % 3}
        assert all(sorted(r.attributes["tags"]) == sorted(["odd", "xyz"[int(r.item[1:]) % 3]]) for r in found)


@pytest.mark.slow
def test_rows_of_a_file_have_the_log_s_own_cells(chain, tmp_path):
    rows = {"user": ["p", "q"], "time": [tiny.START_MS + 36 * tiny.DAY_MS] * 2, "tastes": ["even|t1", "odd"]}
    pl.DataFrame(rows).write_csv(tmp_path / "users.csv")
    out = tmp_path / "out.parquet"
    arguments = ["recommend", str(chain / "run" / "bundle"), "--users", str(tmp_path / "users.csv"), "-o", str(out)]
    result = CliRunner().invoke(app, [*arguments, "-k", "10"], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    items = pl.read_parquet(out).group_by("user").agg("item").sort("user")["item"].to_list()
    with Recommender.open(chain / "run" / "bundle") as rec:
        for found, tastes in zip(items, (["even", "t1"], ["odd"]), strict=True):
            asked = rec.recommend(10, user={"tastes": tastes}, now=rows["time"][0])
            assert found == [r.item for r in asked]


@pytest.mark.slow
def test_the_catalogue_for_javascript_has_the_lists(chain):
    columns = json.loads(columns_file(chain / "run" / "bundle" / "catalog.sqlite"))["columns"]
    (tags,) = (c for c in columns if c["name"] == "tags")
    assert COLUMNS == "catalog.json" and sorted(map(sorted, tags["lists"]))[0] == ["even", "x"]
