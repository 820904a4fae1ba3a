"""What `tools/benchmark teacher` stores, compares and prints."""

from __future__ import annotations

import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgerec.config import Config
from edgerec.errors import DataError
from edgerec.metrics import mean
from tools.benchmarks import teacher
from tools.benchmarks.__main__ import main
from tools.benchmarks.shared import comparison as comparisons
from tools.benchmarks.shared import datasets, results
from tools.benchmarks.shared.comparison import Comparison

RATINGS = "userId,movieId,rating,timestamp\n1,7,4.0,100\n1,8,3.5,200\n"
FILMS = 'movieId,title,genres\n7,"Heat (1995)",Action|Crime\n8,No year,(no genres listed)\n'
NDCG = ("next", "ndcg@10")


def metrics(*values: float, metric: str = "ndcg@10") -> results.Metrics:
    return {"next": {metric: mean(np.array(values))}}


def retail_comparison(folder: Path, seeds: tuple[int, ...]) -> Comparison:
    return Comparison("retail", retail() | {"evaluation": {"part": "test"}}, datasets.SAMPLES, folder, seeds)


def retail() -> dict:
    return tomllib.loads((datasets.SAMPLES / "retail" / "edgerec.toml").read_text("utf-8"))


@pytest.mark.parametrize("place", ["folder", "folder above", "zip", "folder of the zip"])
def test_movielens_is_found_unpacked_or_zipped(tmp_path, place):
    inside = tmp_path / "ml-latest-small"
    if "zip" in place:
        with zipfile.ZipFile(tmp_path / "ml-latest-small.zip", "w") as archive:
            archive.writestr("ml-latest-small/ratings.csv", RATINGS)
            archive.writestr("ml-latest-small/movies.csv", FILMS)
    else:
        inside.mkdir()
        (inside / "ratings.csv").write_text(RATINGS)
        (inside / "movies.csv").write_text(FILMS)
    given = {"folder": inside, "zip": tmp_path / "ml-latest-small.zip"}.get(place, tmp_path)
    log = datasets.movielens_log(given)

    assert log["title"].to_list() == ["Heat (1995)", "No year"]
    assert log["words"].to_list() == ["Action Crime", "(no genres listed)"]
    assert log["year"].to_list() == [1995, None]


def test_films_are_joined_to_each_genre_and_their_decade(tmp_path):
    (tmp_path / "ratings.csv").write_text(RATINGS)
    (tmp_path / "movies.csv").write_text(FILMS)
    edges = datasets.film_graph(datasets.movielens_log(tmp_path)).rows()

    assert edges[:2] == [(7, "genre", "Action"), (7, "genre", "Crime")]
    assert edges[3:] == [(7, "decade", "1990s")]


def test_without_movielens_one_line_says_what_to_give(tmp_path, capsys):
    assert main(["teacher", "movielens", "--out", str(tmp_path)]) == 2
    assert main(["teacher", "movielens", "--out", str(tmp_path), "--data", str(tmp_path)]) == 2
    lines = capsys.readouterr().err.splitlines()

    assert lines[0].startswith("movielens is not shipped; give --data")
    assert "expected ratings.csv and movies.csv" in lines[1]


@pytest.mark.parametrize(("option", "line"), [("--set=teacher.dim", "--set"), ("--seeds=0,one", "--seeds")])
def test_a_mistake_on_the_command_line_is_one_line(tmp_path, capsys, option, line):
    assert main(["teacher", "retail", "--out", str(tmp_path), option]) == 2
    (printed,) = capsys.readouterr().err.splitlines()
    assert line in printed


def test_other_rows_than_the_published_ones_are_refused():
    datasets.check_rows("movielens", {"train": 89_054, "valid": 610, "test": 610})
    with pytest.raises(DataError, match="movielens: its splits hold"):
        datasets.check_rows("movielens", {"train": 89_053, "valid": 610, "test": 610})


def test_movielens_settings_are_valid():
    assert [task.name for task in Config.of(tomllib.loads(datasets.MOVIELENS)).tasks] == ["next", "like"]


def test_ablations_leave_out_what_is_on_and_add_what_is_off():
    values = retail()
    values.setdefault("teacher", {}).update(graph_layers=0, sequence=20)
    made = dict(datasets.variants(values))

    assert {"without text", "with graph", "without sequence", "without ensemble"} <= made.keys()
    assert made["without ensemble"]["ensemble"]["members"] == []
    assert "text" not in made["without text"]["data"]["items"] and "text" in values["data"]["items"]
    assert [task["name"] for task in made["new alone"]["task"]] == ["new"]
    assert "related alone" not in made  # recommends nothing to a user
    for changed in made.values():
        Config.of(changed)


def test_the_relations_of_a_graph_are_left_out_where_there_is_a_graph():
    values = tomllib.loads(datasets.MOVIELENS)
    off, on = dict(datasets.variants(values)), dict(datasets.variants(values | {"teacher": {"graph_layers": 2}}))

    assert off["with graph but its relations"]["teacher"]["graph_layers"] == 2
    assert "graph" not in off["with graph but its relations"]["data"]
    assert "without knowledge graph" in on and "without knowledge graph" not in off
    assert "with graph but its relations" not in on
    assert "with graph but its relations" not in dict(datasets.variants(retail()))


def test_ablations_are_compared_with_the_full_teacher_of_the_same_kind(tmp_path):
    comparison = retail_comparison(tmp_path, (0,))
    stored = {"teacher": metrics(0.3, 0.5), "without text": metrics(0.2, 0.4), "next alone": metrics(0.4, 0.4)}
    for name, values in teacher.variants(comparison):
        assert comparison.config(values).evaluation.part == "valid"
        if name in stored:
            path = teacher.ablation_result(comparison, name)
            results.store(path, name, comparison.config(values), teacher.LEARNED, stored[name], {})
    *_, (title, _, rows) = teacher.tables(comparison)

    assert "one network on the valid split" in title
    assert [row[:2] for row in rows] == [
        ["teacher", "0.4000 ±0.1000"],
        ["without text", "-0.1000 ±0.0000"],
        ["each task alone", "+0.0000 ±0.1000"],
    ]


def test_a_task_alone_needs_no_other():
    values = tomllib.loads((datasets.SAMPLES / "video" / "edgerec.toml").read_text("utf-8"))
    alone = dict(datasets.variants(values))["ctcvr alone"]

    assert Config.of(alone).tasks[0].after is None


def test_a_result_is_finished_for_its_own_settings_only(tmp_path):
    values = retail()
    path = tmp_path / "teacher-0.json"
    results.store(path, "teacher", Config.of(values), teacher.LEARNED, metrics(0, 1), {})

    assert results.finished(path, Config.of(values | {"student": {"dim": 8}}))
    assert not results.finished(path, Config.of(values | {"teacher": {"dim": 8}}))
    assert not results.finished(path, Config.of(values | {"seed": 1}))
    assert not results.finished(tmp_path / "teacher-1.json", Config.of(values))


def test_differences_stay_paired_on_disk(tmp_path):
    path = tmp_path / "a.json"
    results.store(path, "a", Config.of(retail()), comparisons.ROWS, metrics(0, 1, 0, 1), {})
    again = results.metrics_of(path)

    gap = again["next"]["ndcg@10"].minus(metrics(0.5, 1.5, 0.5, 1.5)["next"]["ndcg@10"])
    assert (gap.value, gap.se) == (-0.5, 0)


def test_the_mean_over_seeds_has_the_error_over_requests_and_the_spread_is_of_the_seeds():
    seeds = [metrics(0, 2), metrics(1, 3)]

    assert results.mean_of_seeds(seeds, NDCG).value == 1.5
    assert results.mean_of_seeds(seeds, NDCG).se == pytest.approx(1)  # not smaller for more seeds of the same requests
    assert results.spread(seeds, NDCG) == pytest.approx(np.sqrt(0.5))
    assert np.isnan(results.spread(seeds[:1], NDCG))
    assert results.difference(seeds, metrics(0, 2), NDCG).se == pytest.approx(0)


def test_the_best_baseline_has_the_highest_figure_or_the_lowest_error():
    both = {"a": metrics(0, 1), "b": metrics(1, 1)}
    errors = {"a": metrics(0, 1, metric="mae"), "b": metrics(1, 1, metric="mae")}

    assert results.best_baseline(both, NDCG) == "b"
    assert results.best_baseline(errors, ("next", "mae")) == "a"
    assert results.best_baseline(both, ("like", "auc")) is None


def test_a_required_figure_is_met_or_below(tmp_path):
    comparison = retail_comparison(tmp_path, (0, 1))
    for seed in comparison.seeds:
        config = comparison.config(comparison.values, seed)
        values = metrics(0.3, 0.4) | {"new": {"ndcg@10": mean(np.array([0.1, 0.2]))}}
        results.store(teacher.result(comparison, seed), "teacher", config, teacher.LEARNED, values, {})
    path, config = tmp_path / "baselines" / "x.json", comparisons.baseline_config(comparison)
    results.store(path, "x", config, comparisons.ROWS, metrics(0.2, 0.3), {})
    models, required = teacher.tables(comparison)

    assert models[2][0][:3] == ["teacher", "0.3500 ±0.0500", "0.1500 ±0.0500"]
    assert models[2][-1][:2] == ["teacher - best baseline", "+0.1000 ±0.0000"]
    assert [row[:4] for row in required[2][:2]] == [
        ["next ndcg@10", "0.345", "0.3500 ±0.0500", "met"],
        ["new ndcg@10", "0.155", "0.1500 ±0.0500", "below"],
    ]
