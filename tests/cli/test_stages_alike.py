"""`score` and `recommend` give, from plain files, what `evaluate` judges: the bundle and the stages before it."""

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from edgerec.cli.main import app
from edgerec.config import Config
from edgerec.data.dataset import Dataset
from edgerec.ensemble.scoring import STAGES, TorchModel
from edgerec.evaluation.runtime_model import RuntimeModel
from edgerec.examples.evaluation_requests import find_evaluation_requests
from edgerec.progress import Silent
from edgerec.runtime import ArrayRecommender
from edgerec.stages import pipeline
from edgerec.stages.run import Run
from tests import tiny

pytestmark = pytest.mark.slow
POINTWISE = ["click", "liked", "watch"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny run whose users have a table of their own, judged on valid; and its log cut into two files."""
    folder = tmp_path_factory.mktemp("tiny")
    log = pl.DataFrame(tiny.rows())
    log.select("user", "country", "age").unique("user").write_csv(folder / "users.csv")
    log = log.drop("country", "age")
    log.write_csv(folder / "log.csv")
    members = ["ease", "popularity", "reranker", "boosting"]
    settings = tiny.settings(evaluation={"part": "valid"}, ensemble={"members": members, "trees": 20})
    settings["data"]["users"] |= {"path": "users.csv"}
    config = Config.of(settings, folder=folder)
    pipeline.run(config, folder, Silent(), until="quantize")
    dataset = Dataset.open(folder / "dataset")
    for part in ("train", "valid"):
        kept = dataset.part(part).select("row").collect()
        log.with_row_index("row").join(kept, on="row", how="semi").write_csv(folder / f"{part}.csv")
    pl.read_csv(folder / "valid.csv").drop("item").write_csv(folder / "requests.csv")
    return config, folder


@pytest.fixture(scope="module")
def data(run):
    config, folder = run
    return Run(config, folder, Silent()).learning_data("valid")


def good(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


def table(run, command, file_option, file, *arguments):
    """What a command writes for the valid rows, with the train rows as the past."""
    _, folder = run
    result = good(
        command, folder / "bundle", file_option, folder / file, "--history", folder / "train.csv",
        "-o", folder / "out.parquet", "--force", *arguments,
    )  # fmt: skip
    assert result.stderr.count("no attributes") == 0
    return pl.read_parquet(folder / "out.parquet")


def by_row(data, scores):
    rows = data.evaluation.impressions
    return scores[np.argsort(rows.row)], np.sort(rows.row)


def test_score_gives_the_rows_that_evaluate_judges(run, data):
    _, folder = run
    with ArrayRecommender.of(folder / "bundle") as rec:
        expected, rows = by_row(data, RuntimeModel(rec, data, find_evaluation_requests(data), Silent()).rows())
        at = [rec.tasks.index(task) for task in POINTWISE]
    found = table(run, "score", "--rows", "valid.csv").filter(pl.col("row").is_in(rows)).sort("row")

    assert found.height == len(rows)
    assert np.array_equal(found.select(f"p.{t}" for t in POINTWISE).to_numpy(), expected[:, at].astype(np.float32))


@pytest.mark.parametrize("stage", STAGES)
def test_score_by_a_stage_gives_the_rows_that_evaluate_judges(run, data, stage):
    config, folder = run
    model = TorchModel(Run(config, folder, Silent()).scorer(stage, data), data, find_evaluation_requests(data))
    expected, rows = by_row(data, model.rows())
    found = table(run, "score", "--rows", "valid.csv", "--stage", stage).filter(pl.col("row").is_in(rows)).sort("row")
    at = [model.scorer.tasks.index(next(t for t in model.scorer.tasks if t.name == name)) for name in POINTWISE]

    np.testing.assert_allclose(found.select(f"p.{t}" for t in POINTWISE).to_numpy(), expected[:, at], rtol=1e-4)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("task", ["next", "new"])
def test_recommend_by_a_stage_lists_what_evaluate_judges(run, data, stage, task):
    config, folder = run
    eval_requests = find_evaluation_requests(data)
    model = TorchModel(Run(config, folder, Silent()).scorer(stage, data), data, eval_requests)
    lists = model.lists(next(t for t in model.scorer.tasks if t.name == task))[:, :3]
    found = table(run, "recommend", "--users", "requests.csv", "--stage", stage, "-k", 3, "--weights", f"{task}=1")
    ids, users = data.dataset.items()["id"], data.dataset.users()["id"]
    asked = data.evaluation.sessions.requests.user[eval_requests.rows]
    wrong = 0
    for user, expected in zip(asked, lists, strict=True):
        mine = found.filter(pl.col("user") == users[int(user)]).sort("time", "row", "rank")["item"][:3].to_list()
        wrong += mine != [ids[int(i)] for i in expected]

    assert wrong == 0


def test_a_stage_that_is_not_of_this_bundle_is_refused(run, toy_bundle, tmp_path):
    _, folder = run
    for arguments, message in [
        (["--stage", "int4"], "--stage int4: there is no such stage; expected one of teacher, student, pruned"),
        (["--stage", "student", "--run-dir", str(tmp_path)], "run: edgerec prepare"),
        (["--run-dir", str(folder)], "give both or none"),
    ]:
        out = tmp_path / "o.parquet"
        command = ["score", folder / "bundle", "--rows", folder / "valid.csv", "-o", out, *arguments]
        result = CliRunner().invoke(app, [str(argument) for argument in command])
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
        assert message in result.stderr
        assert not out.exists()


def test_it_is_reported_when_the_users_have_no_table(run, tmp_path):
    _, folder = run
    (tmp_path / "bundle").symlink_to(folder / "bundle")
    (tmp_path / "rows.csv").write_bytes((folder / "valid.csv").read_bytes())
    result = good("score", tmp_path / "bundle", "--rows", tmp_path / "rows.csv", "-o", tmp_path / "o.parquet")

    assert f"users.csv is not beside {tmp_path / 'rows.csv'}: users have no attributes" in result.stderr
