"""The teacher as an ensemble and as networks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgerec.data.splits import Boundaries
from edgerec.ensemble.ensemble import Ensemble
from edgerec.ensemble.members import Members
from edgerec.ensemble.scoring import EnsembleScorer, TorchModel, TorchScorer
from edgerec.ensemble.weights import network_alone
from edgerec.examples.evaluation_requests import find_evaluation_requests
from edgerec.tasks import scored_tasks
from edgerec.training.teacher import build_teacher


@pytest.fixture(scope="module")
def scorers(tiny_config, tiny_data):
    network = build_teacher(tiny_config.teacher, tiny_config.seed, tiny_data).eval()
    ensemble = Ensemble(tiny_config.ensemble.candidates, tiny_data, [network], Members(), network_alone(tiny_data))
    return EnsembleScorer(ensemble), TorchScorer([network], tiny_data)


def test_a_network_alone_ranks_as_its_ensemble(tiny_data, scorers):
    requests, chosen = tiny_data.evaluation.sessions.requests, np.array([6, 0, 3])
    retrieval = [i for i, t in enumerate(scored_tasks(tiny_data.tasks)) if t.kind == "retrieval"]
    one, other = (s.log_probs(requests, chosen) for s in scorers)

    assert one.shape == other.shape
    assert one[:, retrieval] == pytest.approx(other[:, retrieval], abs=1e-4)


def test_a_network_alone_scores_rows_as_its_ensemble_in_their_units(tiny_data, scorers):
    rows, chosen = tiny_data.evaluation.impressions, np.array([8, 1, 4, 5])
    scored = [i for i, t in enumerate(scored_tasks(tiny_data.tasks)) if t.kind != "retrieval"]
    one, other = (s.rows(rows.requests, rows.item[chosen], chosen)[:, scored] for s in scorers)

    assert one == pytest.approx(other, rel=1e-3)
    assert ((one[:, :2] > 0) & (one[:, :2] < 1)).all()
    assert (one[:, 2] > 100).all()  # milliseconds


def test_without_a_split_by_time_a_teacher_answers_as_of_the_requests_time(tiny_config, tiny_data, scorers):
    meta = tiny_data.dataset.meta
    left_out = replace(meta, boundaries_ms=Boundaries(None, None, None))
    data = replace(tiny_data, dataset=replace(tiny_data.dataset, meta=left_out))
    ensemble = scorers[0].ensemble
    by_user = EnsembleScorer(
        Ensemble(tiny_config.ensemble.candidates, data, ensemble.networks, ensemble.members, ensemble.weights)
    )
    requests = tiny_data.train.sessions.requests
    early = np.flatnonzero(requests.as_of == 1)[:2]
    first = replace(requests, as_of=np.zeros_like(requests.as_of))

    now, then = (s.log_probs(first, early) for s in (scorers[0], by_user))
    assert not np.allclose(now, then)
    assert then[:, :2] == pytest.approx(ensemble.log_probs(requests, early), abs=1e-5)


def test_a_network_alone_scores_related_items_as_its_ensemble(scorers):
    query = np.array([5, 0])
    one, other = (s.related(query) for s in scorers)

    assert (one[[0, 1], query] == -np.inf).all() and (other[[0, 1], query] == -np.inf).all()
    rest = np.isfinite(other)
    for row in range(2):  # log-probabilities and logits differ by a constant
        assert np.ptp(one[row, rest[row]] - other[row, rest[row]]) == pytest.approx(0, abs=1e-4)


def test_lists_that_were_kept_are_those_that_were_made(tiny_data, scorers, tmp_path, monkeypatch):
    requests, kept = find_evaluation_requests(tiny_data), tmp_path / "answers.npz"
    made = TorchModel(scorers[0], tiny_data, requests, kept)
    retrieval = [t for t in scored_tasks(tiny_data.tasks) if t.kind == "retrieval"]
    lists, own = ({t.name: ask(t) for t in retrieval} for ask in (made.lists, made.own_items))
    monkeypatch.setattr(EnsembleScorer, "log_probs", lambda *_: pytest.fail("asked twice"))
    again = TorchModel(scorers[0], tiny_data, requests, kept)

    for task in retrieval:
        assert np.array_equal(again.lists(task), lists[task.name])
        for one, other in zip(again.own_items(task), own[task.name], strict=True):
            assert np.array_equal(one, other)
