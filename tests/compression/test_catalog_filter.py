"""Items that may never be shown: the rule, the smaller table, and a bundle without them."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from edgerec.cli.main import app
from edgerec.compression.catalog_filter import never_shown, without
from edgerec.compression.export import export_student
from edgerec.config import Config
from edgerec.errors import EdgerecError
from edgerec.evaluation.runtime_model import RuntimeModel
from edgerec.examples.evaluation_requests import find_evaluation_requests
from edgerec.models.student import Student, StudentSizes
from edgerec.progress import Silent
from edgerec.runtime import ArrayRecommender
from edgerec.stages.run import Run
from tests import tiny


def test_a_rule_sees_attributes_and_the_days_since_the_last_event(tiny_config, tiny_data):
    dataset, items = tiny_data.dataset, tiny_data.dataset.items()
    log = tiny_data.train_log
    by_price = never_shown("price > 8", dataset, "test", tiny_data.n_items)
    idle = never_shown("idle_days > 2", dataset, "test", tiny_data.n_items)
    last = np.array([log.time_ms[log.item == i].max() for i in range(tiny_data.n_items)])

    assert by_price.tolist() == np.flatnonzero(items["raw.price"].to_numpy()[: tiny_data.n_items] > 8).tolist() != []
    assert idle.tolist() == np.flatnonzero(log.time_ms.max() - last > 2 * tiny.DAY_MS).tolist() != []
    assert never_shown(None, dataset, "test", tiny_data.n_items).tolist() == []


@pytest.mark.parametrize(
    ("rule", "said"),
    [("pryce > 8", "its columns are id, .*price, .*idle_days"), ("price >", "neither"), ("price >= 0", "all 40 items")],
)
def test_a_rule_that_is_none_is_refused_and_says_what_there_is(tiny_config, tiny_data, rule, said):
    with pytest.raises(EdgerecError, match=said):
        never_shown(rule, tiny_data.dataset, "test", tiny_data.n_items)


def test_the_other_rows_stay_and_their_transitions_are_renumbered(tiny_data):
    student = Student(tiny_data.shape, tiny_data.features, 5, StudentSizes.of(8, 16, 2, transitions=2)).eval()
    whole = export_student(student, tiny_data.statistics.values[-1], tiny_data.tasks)
    whole.transitions[5] = [3, 7]
    whole.transition_weight[5] = [0.5, 0.25]
    less = without(whole, np.array([3, 4]))

    assert np.array_equal(less.table, np.delete(whole.table, [3, 4], axis=0))
    assert np.array_equal(less.prior, np.delete(whole.prior, [3, 4], axis=1))
    assert less.transitions[3].tolist() == [3, 5]  # item 5 is 3 now; its transition 3 is gone, 7 is 5
    assert less.transition_weight[3].tolist() == [0, 0.25]
    assert without(whole, np.zeros(0, np.int64)) is whole


@pytest.mark.slow
def test_a_bundle_holds_none_of_them_and_is_judged_by_the_right_items(tiny_chain, tmp_path):
    folder = tmp_path / "chain"
    shutil.copytree(tiny_chain, folder)
    (folder / "edgerec.toml").write_text(tiny.toml(tiny.settings(pruning={"never_shown": "price > 8"})))
    common = ["-c", str(folder / "edgerec.toml"), "--run-dir", str(folder / "run"), "--json"]
    result = CliRunner().invoke(app, ["run", *common], catch_exceptions=False)
    assert json.loads(result.stdout)["ran"] == ["prune", "quantize", "evaluate"]

    config = Config.load(folder / "edgerec.toml")
    data = Run(config, folder / "run", Silent()).learning_data("test")
    gone = set(never_shown(config.pruning.never_shown, data.dataset, "test", data.n_items).tolist())
    eval_requests, named = find_evaluation_requests(data), data.dataset.items()["id"].to_list()
    with ArrayRecommender.of(folder / "run" / "bundle") as rec:
        assert rec.bundle.manifest.n_items == data.n_items - len(gone) < data.n_items
        model = RuntimeModel(rec, data, eval_requests, Silent())
        lists = model.lists(data.tasks[0])
        shown = set(lists[lists >= 0].tolist())
        assert shown and not shown & gone
        first = [named[item] for item in lists[0][:3]]
        asked = next(iter(model.requests()))
        assert [rec.named(int(i))[0] for i in rec.rank(3, weights={"next": 1.0}, **asked).item] == first
        own = dict(zip(eval_requests.pasts[0].tolist(), model.own_items(data.tasks[0])[0], strict=True))
        assert all((p == 0) == (item in gone) for item, p in own.items())
        assert set(np.flatnonzero((model.related() < 0).all(axis=1)).tolist()) == gone
    report = json.loads((folder / "run" / "report" / "report.json").read_text())
    pruned, int8 = (report["metrics"][stage]["next"]["ndcg@10"]["value"] for stage in ("pruned", "int8"))
    assert int8 == pytest.approx(pruned, abs=0.05)
