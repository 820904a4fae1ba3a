"""A bundle that ranks a task by popularity, since that ranked better than the student."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from edgerec.bundle import Bundle
from edgerec.cli.main import app
from edgerec.config import Config
from edgerec.distillation import fallback, rates
from edgerec.ensemble.scoring import TorchModel
from edgerec.evaluation.runtime_model import RuntimeModel
from edgerec.examples import held_out
from edgerec.examples.evaluation_requests import find_evaluation_requests
from edgerec.progress import Silent
from edgerec.runtime import ArrayRecommender
from edgerec.stages.pipeline import run as run_chain
from edgerec.stages.run import Run
from edgerec.tasks import scored_tasks
from tests import tiny


def popularity_alone(judged):
    """Popularity alone, whatever else would be better."""
    mix = fallback.PartMix(popularity=(3.0, 1.0))
    return mix, judged._ndcg(judged._scores(mix))


@pytest.mark.slow
def test_a_bundle_that_falls_back_lists_what_is_popular_and_says_so(tiny_chain, tmp_path, monkeypatch):
    monkeypatch.setattr(held_out, "LEAST", 10)
    monkeypatch.setattr(held_out, "LEAST_ASKED", 10)
    monkeypatch.setattr(fallback, "SIGMAS", -1e9)  # whatever a mix is worth, it wins
    monkeypatch.setattr(fallback, "DIFFERENT", 0)
    monkeypatch.setattr(rates, "SIGMAS", -1e9)
    monkeypatch.setattr(rates, "LEAST_OF_CLASS", 1)
    monkeypatch.setattr(fallback._Judged, "_grown", lambda judged, _: popularity_alone(judged))
    folder = shutil.copytree(tiny_chain, tmp_path / "chain")
    free = {"beat_baselines": False, "min_ndcg_retained": 0.0}
    settings = tiny.settings(pruning={"hidden": 0.5}, evaluation=free)
    (folder / "edgerec.toml").write_text(tiny.toml(settings))
    config = Config.load(folder / "edgerec.toml")
    run_chain(config, folder / "run", Silent())

    run = Run(config, folder / "run", Silent())
    data, manifest = run.learning_data(), Bundle.open(run.bundle).manifest
    entry = manifest.fallback["new"]  # without repeats: popularity alone
    assert (entry.baseline, entry.detail) == ("recent_popularity", "1 popularity of half-life 3 days")
    assert entry.used and not entry.with_student
    requests = find_evaluation_requests(data)
    task = next(t for t in data.tasks if t.name == "new")
    with ArrayRecommender.of(run.bundle) as recommender:
        lists = RuntimeModel(recommender, data, requests, Silent()).lists(task)
    column = data.statistics.names.index("popularity.3d")
    popular = data.statistics.values[-1][:, column]
    for top, past in zip(lists[:20], requests.pasts, strict=False):
        best = np.sort(np.delete(popular, past))[::-1][:5]
        assert popular[top[:5]] == pytest.approx(best, abs=0.05)  # a step of the INT8 prior

    # Rates, too: the quantized graphs and the engine say what the pruned student says in torch.
    told = {name: entry for name, entry in manifest.fallback.items() if entry.metric != "ndcg@10"}
    assert told.keys() == {"click", "watch"} and all(entry.used for entry in told.values())
    with ArrayRecommender.of(run.bundle) as recommender:
        bundle = RuntimeModel(recommender, data, requests, Silent()).rows()
    pruned = TorchModel(run.scorer("pruned", data), data, requests).rows()
    click, watch = ([t.name for t in scored_tasks(data.tasks)].index(name) for name in ("click", "watch"))
    assert bundle[:, click] == pytest.approx(pruned[:, click], abs=0.02)
    assert np.corrcoef(bundle[:, watch], pruned[:, watch])[0, 1] > 0.99

    shown = CliRunner().invoke(app, ["inspect", str(run.bundle)], catch_exceptions=False).stdout
    assert "new: ranked by recent popularity" in " ".join(shown.split())
    report = json.loads((run.report / "report.json").read_text("utf-8"))
    assert any(line.startswith("new: ranked by recent popularity") for line in report["verdict"]["because"])
    assert "ranked by recent popularity" in (run.report / "report.html").read_text("utf-8")
