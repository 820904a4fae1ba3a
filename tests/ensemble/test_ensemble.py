"""The blended members: weights, log-probabilities, and that no label depends on its own outcome."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import sparse
from scipy.special import log_softmax

from edgerec import metrics
from edgerec.ensemble.ensemble import Ensemble
from edgerec.ensemble.members import FITTED_BY_VIEW, Members
from edgerec.ensemble.reranker import Reranker
from edgerec.ensemble.signals import Snapshot
from edgerec.ensemble.snapshots import Snapshots
from edgerec.ensemble.views import Views
from edgerec.ensemble.weights import Blend, choose_weights, network_alone, relative_weights
from edgerec.examples import load
from edgerec.examples.folds import fold_of
from edgerec.examples.held_out import HeldOut
from edgerec.examples.requests import FOREVER, Ragged
from edgerec.progress import Silent
from edgerec.stages.run import Run, ensemble_settings
from edgerec.training.predictions import network_log_probs

NONE = Members()
EVERYONE = {
    "network": 0.3, "ease": 5.0, "als": 2.0, "transitions": 3.0, "popularity.24h": 1.0, "own": 1.0, "reranker": 1.0,
}  # fmt: skip


def alone(config):
    return config.model_copy(update={"ensemble": config.ensemble.model_copy(update={"members": ()})})


def blend_of(data, weights):
    return replace(network_alone(data), catalog={"next": weights, "new": weights})


@pytest.fixture(scope="module")
def chosen(small_config, tiny_data, members, network, tmp_path_factory):
    """Weights that were chosen, and the file that keeps them."""
    path = tmp_path_factory.mktemp("weights") / "weights.json"
    return choose_weights(ensemble_settings(small_config), tiny_data, [network], members, path, Silent()), path


def test_without_members_the_network_is_alone(small_config, tiny_data, network, tmp_path):
    config, path = alone(small_config), tmp_path / "weights.json"
    weights = choose_weights(ensemble_settings(config), tiny_data, [network], NONE, path, Silent())
    ensemble = Ensemble(config.ensemble.candidates, tiny_data, [network], NONE, weights)
    requests, four = tiny_data.evaluation.sessions.requests, np.arange(4)

    assert path.exists()  # the teacher stage takes it from there
    assert weights.catalog == {"next": {"network": 1.0}, "new": {"network": 1.0}}
    expected = network_log_probs([network], tiny_data, requests, four)
    assert ensemble.log_probs(requests, four) == pytest.approx(expected, abs=1e-5)
    assert ensemble.views is None


def test_probabilities_sum_to_one(small_config, tiny_data, members, network):
    ensemble = Ensemble(
        small_config.ensemble.candidates, tiny_data, [network, network], members, blend_of(tiny_data, EVERYONE)
    )
    probs = np.exp(ensemble.log_probs(tiny_data.evaluation.sessions.requests, np.arange(6), fold=1))

    assert probs.shape == (6, 2, tiny_data.n_items)
    assert probs.sum(axis=2) == pytest.approx(1, abs=1e-5)


def test_the_blend_is_no_worse_than_its_best_member_and_weights_are_not_negative(chosen):
    weights, _ = chosen

    for task in ("next", "new", "related"):
        judged = dict(weights.judged[task])
        assert judged.pop("blend") >= max(judged.values())
        of_task = (weights.catalog | weights.related)[task]
        assert min(of_task.values()) >= 0
        assert sum(of_task.values()) > 0
    assert weights.judged["next"]["ease"] > weights.judged["next"]["network"]  # which is not trained
    assert len(weights.lines()) == len(weights.judged)
    assert sum(relative_weights(weights.rows["click"]).values()) in (0, pytest.approx(1))


def test_weights_are_chosen_once(small_config, tiny_data, chosen):
    weights, path = chosen

    assert choose_weights(ensemble_settings(small_config), tiny_data, [], NONE, path, Silent()) == weights


def test_without_an_outcome_on_valid_the_network_is_alone(small_config, tiny_data, members, network, tmp_path):
    sessions = tiny_data.evaluation.sessions
    nothing = Ragged.empty(len(sessions.requests))
    evaluation = replace(tiny_data.evaluation, sessions=replace(sessions, truth=dict.fromkeys(sessions.truth, nothing)))
    data = replace(tiny_data, evaluation=evaluation)
    weights = choose_weights(
        ensemble_settings(small_config), data, [network], members, tmp_path / "weights.json", Silent()
    )

    assert weights.catalog == {"next": {"network": 1.0}, "new": {"network": 1.0}}


def test_a_member_that_knows_no_related_item_does_not_list_the_item_itself(
    small_config, tiny_data, network, tmp_path, monkeypatch
):
    n, baskets, related = tiny_data.n_items, [], metrics.related_metrics
    monkeypatch.setattr(metrics, "related_metrics", lambda b, top: baskets.extend(b) or related(b, top))
    empty = sparse.csr_matrix((n, n), dtype=np.float32)
    silent = SimpleNamespace(last=Snapshot(n, None, None, empty, empty, np.zeros((n, 0), np.float32)))
    log = tiny_data.evaluation_log
    item = log.item.copy()
    item[:5] = item[0]  # a session that holds one item five times
    data = replace(
        tiny_data,
        evaluation=replace(tiny_data.evaluation, tasks=(), sessions=None, impressions=None),
        train=replace(tiny_data.train, tasks=tuple(t for t in tiny_data.tasks if t.kind == "related")),
        evaluation_log=replace(log, item=item),
    )
    members = Members(silent)
    weights = choose_weights(
        ensemble_settings(small_config), data, [network], members, tmp_path / "weights.json", Silent()
    )

    assert weights.related["related"]["transitions"] == 0
    assert weights.related["related"]["network"] > 0
    assert all(len(set(b.tolist())) == len(b) > 1 for b in baskets)


def test_rows_of_the_network_alone_stay_as_they_are(small_config, tiny_data):
    ensemble = Ensemble(small_config.ensemble.candidates, tiny_data, [], NONE, network_alone(tiny_data))
    network = np.log(np.array([[1, 1, 0.5, 0.5 * 0.25, 3.0], [1, 1, 0.9, 0.9 * 0.1, 0.1]], np.float32))
    blended = ensemble.blend_rows({"network": network})

    assert blended[:, 2:] == pytest.approx(network[:, 2:], abs=1e-5)
    assert not blended[:, :2].any()


def test_rows_are_blended_as_logits_and_regression_targets_as_they_are(small_config, tiny_data):
    rows = {name: {"network": 1.0, "boosting": 0.5, "offset": 0.25} for name in ("click", "liked", "watch")}
    ensemble = Ensemble(small_config.ensemble.candidates, tiny_data, [], NONE, Blend({}, {}, rows, {}))
    network, boosting = (np.array([[0, 0, np.log(p), np.log(p), 2.0]], np.float32) for p in (0.8, 0.5))
    blended = ensemble.blend_rows({"network": network, "boosting": boosting})

    logit = np.log(0.8 / 0.2) + 0.5 * 0 + 0.25
    assert np.exp(blended[0, 2]) == pytest.approx(1 / (1 + np.exp(-logit)))
    assert blended[0, 4] == pytest.approx(2.0 + 0.5 * 2.0 + 0.25)


def test_a_conditional_task_is_at_most_as_probable_as_its_condition(small_config, tiny_data):
    rows = {name: {"network": 1.0, "offset": 0.0} for name in ("click", "liked", "watch")}
    rows["liked"]["offset"] = 9.0
    ensemble = Ensemble(small_config.ensemble.candidates, tiny_data, [], NONE, Blend({}, {}, rows, {}))
    blended = ensemble.blend_rows({"network": np.array([[0, 0, np.log(0.3), np.log(0.1), 2.0]], np.float32)})

    assert np.exp(blended[0, 2:4]) == pytest.approx([0.3, 0.3], abs=1e-5)


def test_related_items_are_scored_by_the_members_of_the_settings(small_config, tiny_data, members, network, tmp_path):
    few = small_config.ensemble.model_copy(update={"members": ("transitions",)})
    config = small_config.model_copy(update={"ensemble": few})
    weights = choose_weights(
        ensemble_settings(config), tiny_data, [network], members, tmp_path / "weights.json", Silent()
    )

    assert set(weights.related["related"]) == {"network", "transitions"}  # the tiny log has no texts


def test_closed_form_members_learn_from_what_was_consumed(small_config, tiny_data, tmp_path):
    clicks = [replace(t, label="is_click") for t in tiny_data.tasks if t.name == "next"]
    log = replace(tiny_data.train_log, labels={"next": (tiny_data.train_log.item != 3).astype(np.float32)})
    data = replace(tiny_data, train=replace(tiny_data.train, tasks=tuple(clicks)), train_log=log)
    views = Views.of(ensemble_settings(small_config), data)
    last = Snapshots.fit(views, data, tmp_path, 0, Silent()).last

    assert last.transitions[4].nnz > 0
    assert not last.transitions[3].nnz  # item 3 was shown and never clicked


def test_what_labels_a_student_knows_nothing_of_what_is_held_out(small_config, tiny_data, tmp_path, monkeypatch):
    views = Views.of(ensemble_settings(small_config), tiny_data)
    some = np.full(len(tiny_data.train_log.offsets) - 1, views.cuts_ms[-1])

    def fitted(name, since):
        monkeypatch.setattr(HeldOut, "of", lambda data, seed: HeldOut(since))
        return Snapshots.fit(views, tiny_data, tmp_path / name, 0, Silent(), ())

    unaware, aware = fitted("held", some), fitted("not", np.full_like(some, FOREVER))
    before = aware.of(len(views) - 1).transitions

    assert (unaware.last.transitions != before).nnz == 0 and (aware.last.transitions != before).nnz


def test_related_items_have_probabilities_and_the_item_itself_is_last(small_config, tiny_data, members, network):
    weights = replace(network_alone(tiny_data), related={"related": {"transitions": 2.0, "ease": 1.0, "network": 0.0}})
    ensemble = Ensemble(small_config.ensemble.candidates, tiny_data, [network], members, weights)
    query = np.array([3, 0, 7])
    related = ensemble.related(query)

    assert np.exp(related).sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert (related[np.arange(3), query] == related.min(axis=1)).all()
    last = members.snapshots.last
    raw = 2 * np.sqrt(last.cosine[query].toarray()) + np.sqrt(np.maximum(last.ease[query].astype(np.float32), 0))
    raw[np.arange(3), query] = 0
    assert related == pytest.approx(log_softmax(raw, axis=1), abs=0.01)


def test_members_read_again_score_the_same(small_config, tiny_data, members, members_folder, network):
    again = Members.load(ensemble_settings(small_config), tiny_data, members_folder)
    requests, weights = tiny_data.evaluation.sessions.requests, blend_of(tiny_data, EVERYONE)
    scores, scores_again = (
        Ensemble(small_config.ensemble.candidates, tiny_data, [network], m, weights).log_probs(requests, np.arange(6))
        for m in (members, again)
    )

    assert np.array_equal(scores, scores_again)
    assert again.boosting is None


def test_a_label_does_not_change_with_the_outcome_that_it_labels(
    small_config, tiny_config, tiny_run, tiny_data, members, members_folder, network, monkeypatch, tmp_path
):
    requests, log = tiny_data.train.sessions.requests, tiny_data.train_log
    r = int(np.flatnonzero(members.snapshots.views.serving(requests) == 0)[0])
    session = (log.user == requests.user[r]) & (log.time_ms == requests.time_ms[r])
    assert session.sum() == 5
    read = load.load_log

    def changed(*arguments):
        log_read = read(*arguments)
        log_read.item.setflags(write=True)
        mine = np.isin(log_read.row, log.row[session])
        log_read.item[mine] = (log_read.item[mine] + 3) % tiny_data.n_items
        return log_read

    monkeypatch.setattr(load, "load_log", changed)
    data = Run(tiny_config, tiny_run, Silent()).learning_data("test")
    fitted = Members.fit(
        ensemble_settings(
            small_config.model_copy(
                update={"ensemble": small_config.ensemble.model_copy(update={"members": FITTED_BY_VIEW})}
            )
        ),
        data,
        tmp_path,
        range(2),
        None,
        Silent(),
    )
    # Boosters of the fold know nothing of this user's outcomes but through what later requests of others saw.
    fitted = replace(fitted, reranker=Reranker.load(data, range(2), members_folder))
    fold = int(fold_of(requests.user[r : r + 1], 2)[0])

    def labels(of_data, of_members, view):
        ensemble = Ensemble(
            small_config.ensemble.candidates, of_data, [network] * 2, of_members, blend_of(of_data, EVERYONE)
        )
        return ensemble.log_probs(of_data.train.sessions.requests, np.array([r]), view, fold)

    assert np.array_equal(data.train.sessions.requests.user, requests.user)
    assert not np.array_equal(data.train.sessions.items.row(r), tiny_data.train.sessions.items.row(r))
    assert np.array_equal(labels(data, fitted, 0), labels(tiny_data, members, 0))
    for view in (1, -1):  # the members of a later view have seen it
        assert not np.allclose(labels(data, fitted, view), labels(tiny_data, members, view))


def test_matrices_between_all_items_are_fitted_only_for_members_that_read_them(small_config, tiny_data, tmp_path):
    few = small_config.ensemble.model_copy(update={"members": ("popularity", "own")})
    settings = ensemble_settings(small_config.model_copy(update={"ensemble": few}))
    fitted = Members.fit(settings, tiny_data, tmp_path, [0], None, Silent())

    assert fitted.snapshots is not None
    assert fitted.snapshots.last.ease is None and fitted.snapshots.last.als is None


@pytest.mark.parametrize(
    ("weights", "again"),
    [
        ({"network": 1.0, "popularity.24h": 0.5, "ease": 0.0}, ("popularity",)),
        ({"network": 0.0, "reranker": 1.0}, ("ease", "als", "popularity", "reranker")),
        ({"network": 1.0, "boosting": 0.3, "offset": 2.0}, ("boosting",)),
    ],
)
def test_only_members_with_a_weight_are_fitted_again_and_what_the_reranker_reads(weights, again):
    blend = Blend({"next": weights}, {}, {}, {})

    assert blend.worth_fitting(("ease", "als", "popularity", "reranker", "boosting")) == again
