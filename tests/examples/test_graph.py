"""Edges as they were known at an as-of time; a draw of them is right in the mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from edgerec.ensemble.scoring import TorchScorer
from edgerec.examples.batches import JointBatches
from edgerec.examples.graph import GraphEdges, Knowledge, SparseRows
from edgerec.progress import Silent
from edgerec.stages.run import Run
from edgerec.training.checkpoint import load_weights, save_weights
from edgerec.training.job import LoopSettings, TrainingJob
from edgerec.training.loop import fit
from edgerec.training.teacher import batch_settings, build_teacher
from tests import tiny

NOTHING = Knowledge(0, ())
AS_OF_MS = np.array([0, 10, 20, 30])


def edges(log, knowledge=NOTHING, neighbours=0, has_sessions=False):
    return GraphEdges(log, np.ones(len(log), bool), 4, AS_OF_MS, knowledge, has_sessions, 2, neighbours)


def dense(adjacency):
    matrix = np.zeros((len(adjacency.offsets) - 1,) * 2, np.float32)
    owner = np.repeat(np.arange(len(matrix)), np.diff(adjacency.offsets))
    np.add.at(matrix, (owner, adjacency.source.numpy()), adjacency.weight.numpy())
    return matrix


def back(adjacency):
    return dense(replace(adjacency, offsets=adjacency.back_offsets, source=adjacency.back_source,
                         weight=adjacency.back_weight))  # fmt: skip


def test_users_and_items_are_joined_from_their_first_row_on():
    log = tiny.log_of([(0, 1, 5, 0), (0, 1, 15, 0), (1, 1, 15, 0), (1, 2, 20, 0)], n_users=2)
    found = [dense(edges(log).until(m).layers[0][0]) for m in range(4)]  # nodes: items 0-3, users 4, 5

    assert found[0].sum() == 0
    assert found[1][1, 4] == found[1][4, 1] == 1
    assert found[2][1, 4] == found[2][1, 5] == pytest.approx(1 / np.sqrt(2))
    assert found[2][2, 5] == 0  # its row is at the as-of time, not before it
    assert found[3][1, 5] == pytest.approx(1 / 2)
    assert found[3].sum() == pytest.approx(2 * (1 / 2 + 2 / np.sqrt(2)))


def test_a_later_row_changes_no_bit_of_an_earlier_graph():
    rows = [(user, user, time, 0) for user in range(3) for time in range(1, 28, 3)]
    other = [(user, item + (time >= 10), time, kind) for user, item, time, kind in rows]
    for sessions in (False, True):
        first, second = (edges(tiny.log_of(r, 3), has_sessions=sessions) for r in (rows, other))
        for a, b in zip(first.until(1).layers[0], second.until(1).layers[0], strict=True):
            assert all(torch.equal(getattr(a, name), getattr(b, name)) for name in vars(a))
        assert not torch.equal(first.until(2).layers[0][0].source, second.until(2).layers[0][0].source)


def test_items_of_one_session_are_joined_by_their_cosine():
    log = tiny.log_of([(0, 0, 1, 0), (0, 1, 1, 0), (1, 0, 2, 0), (1, 2, 15, 0), (1, 0, 15, 0)], n_users=2)
    log = replace(log, session=np.array([0, 0, 1, 2, 2]))
    graph = edges(log, has_sessions=True)

    assert dense(graph.until(1).layers[0][1])[0, 1] == 1  # alone with each other: nothing to share out
    later = dense(graph.until(2).layers[0][1])
    assert later[0, 1] == later[0, 2] == pytest.approx(1 / np.sqrt(2))
    assert later[1, 2] == 0


def test_each_relation_of_the_knowledge_graph_is_there_from_the_start():
    knowledge = Knowledge(1, ((np.array([3, 4]), np.array([4, 3])),))  # item 3 and entity 4
    graph = edges(tiny.log_of([(0, 1, 5, 0)], 1), knowledge)

    assert graph.relations == 2
    assert dense(graph.until(0).layers[0][1])[3, 4] == 1
    assert dense(graph.until(1).layers[0][0])[1, 5] == 1  # users stand behind the entities


def test_a_draw_has_no_more_neighbours_and_is_the_whole_in_the_mean():
    rng = np.random.default_rng(0)
    rows = SparseRows.of(np.repeat(np.arange(5), 4), np.tile(np.arange(4), 5), rng.random(20), 5)
    draws = [rows.draw(2, rng) for _ in range(4000)]
    mean = np.mean([dense(d.adjacency(d.turned())) for d in draws], axis=0)

    assert all((d.sizes() == 2).all() for d in draws)
    assert np.allclose(mean, dense(rows.adjacency(rows)), atol=0.05)
    assert np.array_equal(back(draws[0].adjacency(draws[0].turned())), dense(draws[0].adjacency(draws[0])).T)


def test_a_draw_takes_few_neighbours_all_and_each_once():
    rows = SparseRows.of(np.array([0, 0, 1]), np.array([1, 2, 0]), np.array([0.5, 0.25, 2.0]), 3)
    drawn = rows.draw(2, np.random.default_rng(0))

    assert np.array_equal(drawn.source, rows.source)
    assert np.array_equal(drawn.weight, rows.weight)


@pytest.fixture(scope="module")
def graph_config(tiny_config):
    return tiny_config.model_copy(update={"teacher": tiny_config.teacher.model_copy(update={"graph_layers": 2})})


def test_what_happens_later_changes_no_bit_of_the_items_at_an_earlier_as_of_time(graph_config, tiny_run):
    data = Run(graph_config, tiny_run, Silent()).learning_data("test")
    log, as_of_times = data.train_log, data.statistics.as_of_ms
    middle = len(as_of_times) // 2
    late = log.time_ms >= as_of_times[middle]
    altered = replace(log, item=np.where(late, (log.item + 1) % data.n_items, log.item))
    model = build_teacher(graph_config.teacher, graph_config.seed, data).eval()
    torch.nn.init.ones_(model.graph.gate)
    nothing = np.zeros(0, np.int64)
    knowledge = Knowledge(data.shape.entities, ((nothing, nothing),))

    def items(rows, as_of):
        graph = GraphEdges(rows, np.ones(len(rows), bool), data.n_items, as_of_times, knowledge, True, 2, 0).until(
            as_of
        )
        with torch.inference_mode():
            return model.encode_items(replace(data.as_of(as_of), graph=graph))[0]

    assert torch.equal(items(log, middle), items(altered, middle))
    assert not torch.equal(items(log, -1), items(altered, -1))


def test_a_step_sees_the_graph_of_its_moment_and_scoring_the_whole_one(graph_config, tiny_run):
    teacher = graph_config.teacher.model_copy(update={"graph_neighbours": 2})
    config = graph_config.model_copy(update={"teacher": teacher})
    data = Run(config, tiny_run, Silent()).learning_data("test")
    values = torch.from_numpy(data.statistics.values)
    most = 0
    for batch in JointBatches(data.train, batch_settings(config.teacher, data), seed=0):
        for part in filter(None, (batch.sessions, batch.impressions)):
            as_of = next(m for m in range(len(values)) if torch.equal(values[m], part.as_of.statistics))
            whole = data.as_of(as_of).graph.layers[0]
            for layer in part.as_of.graph.layers:
                for drawn, all_of_it in zip(layer, whole, strict=True):
                    sizes = np.diff(drawn.offsets)
                    assert np.array_equal(sizes, np.minimum(np.diff(all_of_it.offsets), 2))
                    most = max(most, int(np.diff(all_of_it.offsets).max()))
    assert most > 2
    for batch in JointBatches(data.evaluation, batch_settings(config.teacher, data), seed=0, train=False):
        assert np.diff(batch.sessions.as_of.graph.layers[0][0].offsets).max() > 2


@pytest.mark.parametrize("keys", [{"graph_layers": 2, "graph_neighbours": 4}, {"graph_layers": 1, "sequence": 6}])
def test_a_teacher_with_graph_and_sequence_trains_is_kept_and_scores(tiny_config, tiny_run, tmp_path, keys):
    config = tiny_config.model_copy(update={"teacher": tiny_config.teacher.model_copy(update=keys)})
    data = Run(config, tiny_run, Silent()).learning_data("test")
    model = build_teacher(config.teacher, config.seed, data)
    batches = JointBatches(data.train, batch_settings(config.teacher, data), seed=0)
    loop = LoopSettings(1, 1e-2, 0.01, None)
    fit(TrainingJob(model, batches, None, loop, tmp_path / "work", Silent(), "model"))
    save_weights(model, tmp_path / "model.safetensors")
    again = build_teacher(config.teacher, config.seed, data)
    load_weights(again, tmp_path / "model.safetensors")
    requests, rows = data.evaluation.sessions.requests, data.evaluation.impressions
    first, second = (TorchScorer([m.eval()], data) for m in (model, again))

    scores = first.log_probs(requests, np.arange(8))
    assert np.array_equal(scores, second.log_probs(requests, np.arange(8)))
    assert np.isfinite(scores).all()
    scores = first.rows(rows.requests, rows.item[:8], np.arange(8))
    assert np.isfinite(scores).all()
