"""Structured pruning: dead units go without a trace, sizes shrink as asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgerec.compression import pruning
from edgerec.compression.pruning import choose, importances, shrink
from edgerec.config import PruningConfig
from edgerec.examples.batches import BatchSettings, JointBatches
from edgerec.models.qat import round_rows
from edgerec.models.student import Student, StudentSizes
from edgerec.models.widths import WIDTHS, axes_of
from edgerec.training.joint import JointTraining

HIDDEN = ("inner", "context", "pooling", "repeat", "head")


def student(data):
    torch.manual_seed(1)
    model = Student(data.shape, data.features, 5, StudentSizes.of(8, 16, 2, transitions=3)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    model.transitions.item.copy_(torch.randint(0, 40, (40, 3)))
    return model


def outputs(model, data):
    requests = data.evaluation.sessions.requests
    with torch.no_grad():
        items = model.encode_items(data.as_of(-1))
        catalog = model.score_catalog(requests.batch(np.arange(10)), items)
        return torch.cat([catalog.flatten(), model.score_related(torch.arange(40), items).flatten()])


def kill(model, width, units):
    """Zero every weight into or out of these units, as the axes of a cut to the other units show them."""
    size = getattr(model.sizes, width)
    stay = torch.tensor([u for u in range(size) if u not in units])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            for axis, kept in axes_of(name, model, {width: stay}):
                gone = torch.ones(parameter.shape[axis], dtype=torch.bool)
                gone[kept] = False
                parameter.index_fill_(axis, gone.nonzero().flatten(), 0.0)


def measured(model, data):
    module = JointTraining(model, data.tasks, data.train.n_seen)
    batches = JointBatches(data.train, BatchSettings(64, 256, 1_000, 0.0, 0), seed=0)
    return importances(module, batches)


@pytest.mark.parametrize("width", [*HIDDEN, "dim"])
def test_units_that_do_nothing_have_no_importance_and_are_cut_without_a_trace(tiny_data, width):
    model = student(tiny_data)
    kill(model, width, {1, 5})
    before = outputs(model, tiny_data)

    importance = measured(model, tiny_data)[width]
    assert (importance[[1, 5]] == 0).all()
    assert (importance > 0).sum() > len(importance) / 2

    size = len(importance)
    importance[[u for u in range(size) if u not in (1, 5)]] += 1e-6  # a ReLU of another may be silent by chance
    cut = choose({width: importance}, {width: size - 2})
    assert cut[width].tolist() == [u for u in range(size) if u not in (1, 5)]
    small = shrink(model, cut, tiny_data, 0.0).eval()
    assert getattr(small.sizes, width) == size - 2
    assert torch.allclose(outputs(small, tiny_data), before, atol=1e-4)


def test_living_units_leave_a_trace(tiny_data):
    model = student(tiny_data)
    most = int(measured(model, tiny_data)["head"].argmax())  # another may be silent by chance
    stay = torch.tensor([u for u in range(16) if u != most])
    small = shrink(model, {"head": stay}, tiny_data, 0.0).eval()

    assert not torch.allclose(outputs(small, tiny_data), outputs(model, tiny_data), atol=1e-2)


def test_all_widths_shrink_by_the_shares_that_were_asked_for(tiny_data):
    model = student(tiny_data)
    cut = choose(measured(model, tiny_data), pruning.left_of(PruningConfig(hidden=0.25, dim=0.5), model.sizes, 1.0))
    small = shrink(model, cut, tiny_data, 0.0).eval()

    s = small.sizes
    assert (s.inner, s.context, s.pooling, s.head, s.repeat, s.dim) == (12, 12, 12, 12, 6, 4)
    assert (s.heads, s.item) == (2, 16)
    assert torch.isfinite(outputs(small, tiny_data)).all()
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())


def test_a_share_of_nothing_cuts_nothing(tiny_data):
    model = student(tiny_data)
    cut = choose(measured(model, tiny_data), pruning.left_of(PruningConfig(hidden=0.0), model.sizes, 1.0))

    assert cut == {}
    assert torch.equal(outputs(shrink(model, cut, tiny_data, 0.0).eval(), tiny_data), outputs(model, tiny_data))


def test_the_least_important_units_go_and_the_others_keep_their_order():
    cut = choose({"head": torch.tensor([5.0, 0.1, 4.0, 0.2])}, {"head": 2})

    assert cut["head"].tolist() == [0, 2]


@pytest.mark.parametrize("factor", [0, 12])
def test_every_parameter_that_grows_with_a_width_is_listed(tiny_data, factor):
    """Or a new layer would be left at its old size."""
    sizes = StudentSizes(dim=8, heads=2, inner=16, context=16, pooling=16, repeat=8, head=16, item=16, factor=factor)
    small = StudentSizes(dim=6, heads=1, inner=11, context=13, pooling=9, repeat=5, head=7, item=16, factor=factor)
    shapes = [
        {n: p.shape for n, p in Student(tiny_data.shape, tiny_data.features, 5, s).named_parameters()}
        for s in (sizes, small)
    ]

    changed = {n for n, shape in shapes[0].items() if shapes[1][n] != shape}
    not_here = {
        "items.from_text.weight",
        "items.from_parts.weight",
        "items.identity.weight" if factor else "items.fold.weight",
    }
    assert changed == set(WIDTHS) - not_here


def test_a_folded_table_is_cut_without_a_trace_too(tiny_data):
    torch.manual_seed(0)
    sizes = StudentSizes.of(8, 16, 2, factor=12)
    model = Student(tiny_data.shape, tiny_data.features, 5, sizes).eval()
    kill(model, "dim", {1, 5})
    before = outputs(model, tiny_data)

    importance = measured(model, tiny_data)["dim"]
    assert (importance[[1, 5]] == 0).all()
    stay = torch.tensor([u for u in range(8) if u not in (1, 5)])
    assert torch.allclose(outputs(shrink(model, {"dim": stay}, tiny_data, 0.0).eval(), tiny_data), before, atol=1e-4)


def test_a_head_that_nothing_reads_has_no_importance_and_is_cut_without_a_trace(tiny_data):
    model = student(tiny_data)
    with torch.no_grad():
        for columns in (model.requests.mix.weight, model.requests.head.first.weight[:, model.sizes.context :]):
            columns.view(len(columns), 2, 8)[:, 1] = 0.0
    before, importance = outputs(model, tiny_data), measured(model, tiny_data)["heads"]
    small = shrink(model, choose({"heads": importance}, {"heads": 1}), tiny_data, 0.0).eval()

    assert importance[1] == 0 < importance[0]
    assert small.sizes.heads == 1
    assert torch.allclose(outputs(small, tiny_data), before, atol=1e-4)


def test_rounds_share_the_cutting_out_and_end_where_one_round_does():
    sizes, asked = StudentSizes.of(8, 16, 4), PruningConfig(hidden=0.5, heads=0.5, rounds=2)
    left = [pruning.left_of(asked, sizes, done) for done in (0.5, 1.0)]

    assert [(of["head"], of["repeat"], of["heads"], of["dim"]) for of in left] == [(12, 6, 3, 8), (8, 4, 2, 8)]


def test_four_bits_start_from_the_steps_with_the_least_error(tiny_data):
    model = student(tiny_data)
    table = model.items(tiny_data.as_of(-1).statistics)[0].detach()
    pruning._to_four_bits(model, tiny_data)

    def error(step):
        scales = table.abs().amax(1) / 7 * torch.exp(step)
        return float((round_rows(table, scales, 7) - table).square().sum())

    assert model.sizes.levels == 7
    assert error(model.step) < 0.99 * error(torch.zeros(40))
