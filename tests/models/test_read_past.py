"""Histories are read without their padding, to the same effect as one by one."""

from __future__ import annotations

import pytest
import torch

from edgerec.models.blocks import HistoryPooling, PastEvents, RepeatTerm, event_features, read_past
from edgerec.models.inputs import RequestBatch

DIM, CONTEXT = 4, 5


def batch_of(lengths: list[int], kinds: int) -> RequestBatch:
    shape = (len(lengths), max(*lengths, 1))
    present = torch.arange(shape[1]) < torch.tensor(lengths).unsqueeze(1)
    count, age, interval = torch.randint(1, 4, shape) * 1.0, torch.rand(shape) * 100, torch.rand(shape) * 10
    item, kind = torch.randint(0, 9, shape), torch.randint(0, kinds, shape)
    nothing = torch.zeros(len(lengths), 0)
    return RequestBatch(item, kind, count, age, interval, present, nothing.long(), nothing)


@pytest.mark.parametrize("kinds", [1, 4])
@pytest.mark.parametrize("lengths", [[3, 0, 7, 1], [40, 2], [0, 0]])
def test_packed_histories_are_read_as_each_one_alone(kinds, lengths):
    torch.manual_seed(0)
    pooling, repeat = HistoryPooling(kinds, DIM, 6, 2, CONTEXT), RepeatTerm(kinds, DIM, 3, CONTEXT, 2)
    torch.nn.init.normal_(repeat.out.weight)
    torch.nn.init.normal_(pooling.nothing)
    batch, table, context = batch_of(lengths, kinds), torch.randn(9, DIM), torch.randn(len(lengths), CONTEXT)
    attention, added = read_past(pooling, repeat, PastEvents.of(batch), table, context)

    for r, length in enumerate(lengths):
        past = (slice(r, r + 1), slice(0, length))
        features = event_features(batch.count[past], batch.age_h[past], batch.interval_h[past])
        vectors = table[batch.item[past]]
        arguments = (vectors, batch.kind[past], features, context[r : r + 1])
        alone = pooling.weights(pooling.attention(pooling.hidden(*arguments)))
        assert torch.allclose(attention[r, :length], alone[0], atol=1e-6)
        assert torch.allclose(added[r, :length], repeat.out(repeat.hidden(*arguments))[0], atol=1e-6)
        assert not attention[r, length:].any() and not added[r, length:].any()
