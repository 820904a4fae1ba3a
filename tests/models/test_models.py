"""One suite for every model: it learns a checkerboard, padding counts nothing, a row's score is the catalogue's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from edgerec.ensemble.transition_lists import transition_lists
from edgerec.examples.batches import BatchSettings, JointBatches
from edgerec.examples.held_out import HeldOut
from edgerec.models.blocks import CategoricalEmbedding, later_items, scatter_repeat
from edgerec.models.inputs import RequestBatch
from edgerec.models.sparse import both_ways, matrices, product
from edgerec.models.student import Student, StudentSizes
from edgerec.models.teacher import Teacher
from edgerec.models.widths import grown
from edgerec.progress import Silent
from edgerec.stages.run import Run
from edgerec.training.job import LoopSettings, TrainingJob
from edgerec.training.loop import fit
from tests import tiny

TASKS = 5  # scored: next, new, click, liked, watch


def student(data, dropout=0.0):
    return Student(data.shape, data.features, TASKS, StudentSizes.of(8, 16, 2), dropout)


def transition(data, dropout=0.0):
    """A student that knows of each item some that follow it."""
    model = Student(data.shape, data.features, TASKS, StudentSizes.of(8, 16, 2, transitions=3), dropout)
    model.transitions.start(*transition_lists(data, 3, HeldOut.of(data, 0)))
    return model


def teacher(data, dropout=0.0):
    return Teacher(data.shape, data.features, [False, False, True, True, True], 8, 16, 2, 2, dropout)


def graph_teacher(data, dropout=0.0):
    return Teacher(data.shape, data.features, [False, False, True, True, True], 8, 16, 2, 2, dropout, graph_layers=2)


def sequence_teacher(data, dropout=0.0):
    return Teacher(data.shape, data.features, [False, False, True, True, True], 8, 16, 2, 2, dropout, sequence=8)


def bottom_teacher(data, dropout=0.0):
    return Teacher(data.shape, data.features, [False, False, True, True, True], 8, 16, 2, 2, dropout,
                   sharing="shared-bottom")  # fmt: skip


def ple_teacher(data, dropout=0.0):
    return Teacher(data.shape, data.features, [False, False, True, True, True], 8, 16, 2, 2, dropout, sharing="ple")


TEACHERS = [teacher, graph_teacher, sequence_teacher, bottom_teacher, ple_teacher]


@pytest.fixture(scope="module")
def tiny_data(tiny_config, tiny_run):
    """With the graph and the latest events, which only some of the models read."""
    keys = {"graph_layers": 2, "sequence": 8}
    config = tiny_config.model_copy(update={"teacher": tiny_config.teacher.model_copy(update=keys)})
    return Run(config, tiny_run, Silent()).learning_data("test")


def ranker(data, dropout=0.0):
    """A teacher that judges no impressions."""
    return Teacher(data.shape, data.features, [False] * TASKS, 8, 16, 2, 2, dropout)


@pytest.fixture(params=[student, transition, *TEACHERS, ranker], ids=lambda build: build.__name__)
def build(request):
    return request.param


def random(build, data):
    """A model whose every weight is drawn, so that no part of it is silent."""
    torch.manual_seed(0)
    model = build(data).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model


def last_items(model, data):
    return model.encode_items(data.as_of(-1))


SLOWER = {"ple_teacher", "sequence_teacher", "graph_teacher", "bottom_teacher"}


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(build, marks=[pytest.mark.slow] if build.__name__ in SLOWER else [], id=build.__name__)
        for build in (student, transition, *TEACHERS)
    ],
)
def test_it_learns_the_checkerboard(build, tiny_data, tmp_path):
    torch.manual_seed(0)
    model = build(tiny_data)
    tasks = tuple(replace(t, weight=4.0) if t.kind == "related" else t for t in tiny_data.tasks)
    examples = replace(tiny_data.train, tasks=tasks)
    batches = JointBatches(examples, BatchSettings(32, 256, 1_000, 0.0, 0), seed=0)
    loop = LoopSettings(20, 1e-2, 0.01, None)
    fit(TrainingJob(model, batches, None, loop, tmp_path / "work", Silent(), "model"))
    model.eval()
    with torch.inference_mode():
        items = last_items(model, tiny_data)
        sessions, rows = tiny_data.evaluation.sessions.requests, tiny_data.evaluation.impressions
        scores = model.score_catalog(sessions.batch(np.arange(len(sessions))), items)
        related = model.score_related(torch.arange(tiny.ITEMS), items).numpy()
        impressions = model.score_rows(
            rows.requests.batch(np.arange(len(rows.item))), torch.from_numpy(rows.item), items
        )
    camp_of_item = _camps(tiny_data, "items")
    own = _camps(tiny_data, "users")[sessions.user][:, None]

    assert (camp_of_item[scores[:, 0].topk(10).indices] == own).mean() > 0.95
    same, itself = camp_of_item[:, None] == camp_of_item, np.eye(tiny.ITEMS, dtype=bool)
    assert (related[same & ~itself][:, None] > related[~same]).mean() > 0.7  # AUC, of 25,000 pairs each way
    click, clicked = impressions[:, 2].numpy(), rows.labels["click"] > 0
    assert (click[clicked][:, None] > click[~clicked][None]).mean() > 0.95  # AUC


def _camps(data, table):
    names = getattr(data.dataset, table)()["id"].to_list()
    return tiny.camp([int(name[1:]) for name in names])


def test_padding_changes_no_score(build, tiny_data):
    model, requests = random(build, tiny_data), tiny_data.evaluation.sessions.requests
    longest, shortest = np.argsort(requests.lengths())[[-1, 0]]
    assert requests.lengths()[shortest] < requests.lengths()[longest]
    with torch.inference_mode():
        items = last_items(model, tiny_data)
        alone = model.score_catalog(requests.batch(np.array([shortest])), items)
        beside = model.score_catalog(_wider(requests.batch(np.array([shortest, longest]))), items)

    assert torch.allclose(alone[0], beside[0], atol=1e-5)


def _wider(batch):
    """The same requests with three more columns of padding, full of nonsense."""
    n = len(batch.item)
    nonsense = {
        "item": torch.full((n, 3), 7),
        "kind": torch.full((n, 3), 1),
        "count": torch.full((n, 3), 9.0),
        "age_h": torch.full((n, 3), 1e4),
        "interval_h": torch.full((n, 3), 1e4),
        "present": torch.zeros(n, 3, dtype=torch.bool),
    }
    wider = {name: torch.cat([getattr(batch, name), more], 1) for name, more in nonsense.items()}
    return RequestBatch(**wider, categorical=batch.categorical, numeric=batch.numeric, latest=batch.latest)


@pytest.mark.parametrize("build", [student, ranker], ids=lambda build: build.__name__)
def test_the_score_of_a_row_is_its_column_of_the_catalogues(build, tiny_data):
    model, rows = random(build, tiny_data), tiny_data.evaluation.impressions
    chosen = np.arange(len(rows.item))
    candidate = torch.from_numpy(rows.item)
    with torch.inference_mode():
        items = last_items(model, tiny_data)
        whole = model.score_catalog(rows.requests.batch(chosen), items)
        single = model.score_rows(rows.requests.batch(chosen), candidate, items)

    assert torch.allclose(single, whole[torch.arange(len(chosen)), :, candidate], atol=1e-4)


def test_a_teachers_row_experts_judge_shown_rows_besides(tiny_data):
    model, rows = random(teacher, tiny_data), tiny_data.evaluation.impressions
    batch, candidate = rows.requests.batch(np.arange(20)), torch.from_numpy(rows.item[:20])
    with torch.inference_mode():
        items = last_items(model, tiny_data)
        crossed = model.score_rows(batch, candidate, items)
        model.row_heads.zero_()
        plain = model.score_rows(batch, candidate, items)
        whole = model.score_catalog(batch, items)

    assert not torch.allclose(crossed, plain, atol=0.1)
    assert torch.allclose(plain, whole[torch.arange(20), :, candidate], atol=1e-4)


def test_the_order_of_the_history_changes_no_score(build, tiny_data):
    model, requests = random(build, tiny_data), tiny_data.evaluation.sessions.requests
    batch = requests.batch(np.arange(4))
    names = ("item", "kind", "count", "age_h", "interval_h", "present")
    turned = {name: getattr(batch, name).flip(1) for name in names}
    with torch.inference_mode():
        items = last_items(model, tiny_data)
        first = model.score_catalog(batch, items)
        second = model.score_catalog(replace(batch, **turned), items)

    assert torch.allclose(first, second, atol=1e-4)  # logits of up to 60


def test_an_empty_history_is_scored(build, tiny_data):
    model, requests = random(build, tiny_data), tiny_data.train.sessions.requests
    cold = np.flatnonzero(requests.lengths() == 0)[:3]
    with torch.inference_mode():
        scores = model.score_catalog(requests.batch(cold), last_items(model, tiny_data))

    assert scores.shape == (3, TASKS, tiny.ITEMS)
    assert torch.isfinite(scores).all()


@pytest.mark.parametrize("build", [student, transition], ids=lambda build: build.__name__)
def test_rescaling_a_task_changes_its_logits_alone(build, tiny_data):
    model, requests = random(build, tiny_data), tiny_data.evaluation.sessions.requests
    batch, rows = requests.batch(np.arange(4)), torch.tensor([3, 1, 0, 2])

    def logits():
        with torch.inference_mode():
            items = last_items(model, tiny_data)
            catalog = model.score_catalog(batch, items)
            return catalog, model.score_rows(batch, rows, items), model.score_related(rows, items)

    catalog, impressions, related = logits()
    model.rescale(1, 0.5, 2.0)
    model.rescale(TASKS, 2.0, 0.0)
    after = logits()
    slope, offset = torch.ones(TASKS), torch.zeros(TASKS)
    slope[1], offset[1] = 0.5, 2.0

    assert torch.allclose(after[0], slope[:, None] * catalog + offset[:, None], atol=1e-4)
    assert torch.allclose(after[1], slope * impressions + offset, atol=1e-4)
    assert torch.allclose(after[2], 2 * related, atol=1e-4)


def test_a_folded_table_has_the_width_of_the_product(tiny_data):
    model = Student(tiny_data.shape, tiny_data.features, TASKS, StudentSizes.of(8, 16, 2, factor=12))

    assert model.items.identity.weight.shape == (40, 12)
    assert last_items(model, tiny_data)[0].shape == (40, 8)


def test_an_event_knows_how_many_items_had_a_later_one_whatever_their_order():
    age_h = torch.tensor([[5.0, 1.0, 1.0, 0.5, 9.0]])
    present = torch.tensor([[True, True, True, False, True]])

    assert later_items(age_h, present)[present].tolist() == [2, 0, 0, 3]


def test_transitions_are_added_to_their_own_logits_alone(tiny_data):
    model, requests = random(transition, tiny_data), tiny_data.evaluation.sessions.requests
    batch = requests.batch(np.array([0]))
    with torch.inference_mode():
        items = last_items(model, tiny_data)
        whole = model.score_catalog(batch, items)[0]
        weight = model.transitions.weight.clone()
        model.transitions.weight.zero_()
        without = model.score_catalog(batch, items)[0]
        follow = model.encode_requests(batch, items[0]).follow[0]

    wanted = torch.zeros_like(whole)
    for place, item in enumerate(batch.item[0].tolist()):
        for other, w in zip(model.transitions.item[item].tolist(), weight[item], strict=True):
            wanted[:, other] += follow[place] * w
    assert torch.allclose(whole - without, wanted, atol=1e-3)
    assert wanted.abs().max() > 0.1


@pytest.mark.parametrize("kind", [student, transition])
@pytest.mark.parametrize("repeat", [False, True])
def test_a_silent_task_has_no_logits_but_those_of_repeats_and_the_others_stay(kind, repeat, tiny_data):
    model, requests = random(kind, tiny_data), tiny_data.evaluation.sessions.requests
    batch = requests.batch(np.arange(len(requests)))
    with torch.inference_mode():
        before = model.score_catalog(batch, last_items(model, tiny_data))
        added = model.encode_requests(batch, last_items(model, tiny_data)[0]).repeat
    model.silence(1, repeat)
    with torch.inference_mode():
        after = model.score_catalog(batch, last_items(model, tiny_data))
    expected = torch.zeros_like(after[:, 1])
    if repeat:
        expected = scatter_repeat(expected.unsqueeze(1).contiguous(), added[:, :, 1:2], batch)[:, 0]

    assert torch.allclose(after[:, 1], expected, atol=1e-5)
    others = [0, 2, 3, 4]
    assert torch.equal(after[:, others], before[:, others])


@pytest.mark.parametrize("kind", [student, transition])
def test_a_larger_student_scores_as_before(kind, tiny_data):
    model, requests = random(kind, tiny_data), tiny_data.evaluation.sessions.requests
    large = grown(model, tiny_data.features, dim=3, heads=1, repeat=2, transitions=5).eval()
    batch, query = requests.batch(np.arange(len(requests))), torch.arange(4)
    with torch.inference_mode():
        before, after = (m.score_catalog(batch, last_items(m, tiny_data)) for m in (model, large))
        related = [m.score_related(query, last_items(m, tiny_data)) for m in (model, large)]

    assert (large.sizes.dim, large.sizes.heads) == (model.sizes.dim + 3, model.sizes.heads + 1)
    assert large.sizes.transitions == (model.sizes.transitions or 5)
    assert torch.allclose(after, before, atol=1e-4)
    assert torch.allclose(related[1], related[0], atol=1e-4)


def test_values_of_short_columns_of_items_start_apart_and_those_of_long_ones_near_zero():
    torch.manual_seed(0)
    table = CategoricalEmbedding([5, 65], 16, apart=True).table.weight
    length = table.norm(dim=1)

    assert len(table) == 70
    assert (length[:5] > 0.5).all() and (length[:5] < 2).all()
    assert (length[5:] < 0.2).all()


def test_a_sparse_product_and_its_derivative_are_those_of_embedding_bag():
    torch.manual_seed(0)
    parts, shares = torch.randint(0, 7, (50, 4)), torch.rand(50, 4) * (torch.rand(50, 4) > 0.4)
    item, some = torch.arange(50).repeat_interleave(4), shares.flatten() > 0
    edges = both_ways(item[some], parts.flatten()[some], shares.flatten()[some], (50, 7))
    ours, theirs = (torch.linspace(-1, 1, 35).view(7, 5).requires_grad_() for _ in range(2))
    gradient = torch.randn(50, 5)
    product(*matrices(edges, (50, 7)), ours).backward(gradient)
    found = functional.embedding_bag(parts, theirs, per_sample_weights=shares, mode="sum")
    found.backward(gradient)

    assert torch.allclose(product(*matrices(edges, (50, 7)), ours), found, atol=1e-6)
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-5)
