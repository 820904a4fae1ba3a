"""The causal transformer: sees no later event, counts no padding, reads a shared past once."""

from __future__ import annotations

import pytest
import torch

from edgerec.models.inputs import LatestEvents
from edgerec.models.sequence import CausalTransformer, NextItem, SequenceModel


@pytest.fixture
def transformer():
    torch.manual_seed(0)
    model = CausalTransformer(8, 2, 2, 6, 0.0).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
    return model


def sequences(n=3, size=5):
    torch.manual_seed(1)
    return torch.randn(n, size, 8), torch.rand(n, size) * 100, torch.ones(n, size, dtype=torch.bool)


def test_a_later_event_changes_no_earlier_state(transformer):
    vectors, gaps, present = sequences()
    with torch.inference_mode():
        before = transformer(vectors, gaps, present)
        vectors[:, 3] += 5.0
        gaps[:, 3] *= 2.0
        after = transformer(vectors, gaps, present)

    assert torch.equal(before[:, :3], after[:, :3])
    assert (before[:, 3:] != after[:, 3:]).any(dim=2).all()


def test_the_time_between_events_counts(transformer):
    vectors, gaps, present = sequences()
    with torch.inference_mode():
        near, far = transformer(vectors, gaps, present), transformer(vectors, gaps * 10, present)

    assert not torch.allclose(near, far, atol=0.01)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_no_state(transformer, side):
    vectors, gaps, present = sequences()
    torch.manual_seed(2)
    padded = [torch.randn(3, 1, 8), torch.rand(3, 1) * 100, torch.zeros(3, 1, dtype=torch.bool)]
    pairs = zip(padded, (vectors, gaps, present), strict=True)
    wider = [torch.cat([pad, own] if side == "left" else [own, pad], dim=1) for pad, own in pairs]
    with torch.inference_mode():
        alone, beside = transformer(vectors, gaps, present), transformer(*wider)

    assert torch.allclose(alone, beside[:, 1:] if side == "left" else beside[:, :-1], atol=1e-5)


def latest(past):
    """Pasts 7 (items 1, 2) and 5 (item 3 alone)."""
    rows = {7: ([1, 2], [True, True]), 5: ([0, 3], [False, True]), 9: ([0, 0], [False, False])}
    item = torch.tensor([rows[p][0] for p in past])
    present = torch.tensor([rows[p][1] for p in past])
    return LatestEvents(item, torch.zeros_like(item), torch.ones(item.shape), present, torch.tensor(past))


def test_a_past_that_requests_share_is_read_once():
    model, table = SequenceModel(1, 8, 2, 1, 4, 0.0).eval(), torch.randn(5, 8)
    read, apart = model(latest([7, 5, 7]), table), model(latest([7]), table)

    assert len(read.states) == 2
    assert torch.equal(read.last()[0], read.last()[2])
    assert torch.allclose(read.last()[0], apart.last()[0], atol=1e-6)


def test_what_follows_a_state_is_the_next_events_item():
    table = torch.randn(5, 8)
    read = SequenceModel(1, 8, 2, 1, 4, 0.0).eval()(latest([7, 5]), table)
    states, target = read.next_items()

    assert target.tolist() == [2]
    assert torch.equal(states[0], read.states[read.past[0], 0])


def test_nobodys_past_has_a_state_of_zero():
    read = SequenceModel(1, 8, 2, 1, 4, 0.0).eval()(latest([9, 7]), torch.randn(5, 8))

    assert (read.last()[0] == 0).all()
    assert (read.last()[1] != 0).any()


def test_positions_are_counted_from_the_latest_event():
    model = CausalTransformer(8, 2, 0, 6, 0.0).eval()  # without blocks a state is an event at its position
    alike, gaps = torch.ones(1, 5, 8), torch.ones(1, 5)
    with torch.inference_mode():
        long = model(alike, gaps, torch.ones(1, 5, dtype=torch.bool))
        short = model(alike[:, :2], gaps[:, :2], torch.ones(1, 2, dtype=torch.bool))

    assert torch.equal(long[:, -2:], short)
    assert not torch.allclose(long[:, 0], long[:, -1], atol=0.01)


def test_a_state_never_knows_the_item_that_follows_it():
    torch.manual_seed(0)
    model, table = NextItem(1, torch.zeros(5, 0), 5, 8, 2, 2, 4, 0.0).eval(), torch.randn(5, 8)
    read = latest([7])
    other = LatestEvents(torch.tensor([[1, 4]]), read.kind, read.gap_h, read.present, read.past)
    with torch.inference_mode():
        states, states_other = model(read, table), model(other, table)

    assert torch.equal(states[:, 0], states_other[:, 0])
    assert not torch.allclose(states[:, 1], states_other[:, 1], atol=0.01)


def test_items_that_occur_in_no_training_row_have_their_text_alone():
    torch.manual_seed(0)
    text = torch.randn(5, 3)
    model = NextItem(1, text, 3, 8, 2, 1, 4, 0.0)
    with torch.no_grad():
        model.from_text.weight.normal_()
        table, of_text = model.table(), model.from_text(text)

    assert torch.equal(table[3:], of_text[3:])
    assert torch.equal(table[:3], model.ids + of_text[:3])
