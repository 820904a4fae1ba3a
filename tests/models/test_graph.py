"""Graph layers: what LightGCN's are on one relation, open little at first, and hear of nothing that is not there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgerec.examples.graph import SparseRows
from edgerec.models.graph import GATE, GraphLayers, Propagation
from edgerec.models.inputs import ItemGraph


def adjacency(edges, n):
    """Of (target, source, weight)."""
    target, source, weight = (np.array(column) for column in zip(*edges, strict=True))
    rows = SparseRows.of(target, source, weight, n)
    return rows.adjacency(rows.turned())


def dense(edges, n):
    matrix = torch.zeros(n, n)
    for target, source, weight in edges:
        matrix[target, source] += weight
    return matrix


EDGES = [(0, 2, 0.5), (2, 0, 0.25), (1, 2, 1.0), (0, 1, 2.0)]


def test_a_layer_and_its_derivative_are_the_dense_products():
    x = torch.randn(3, 2, requires_grad=True)
    heard = Propagation()(x, adjacency(EDGES, 3))
    heard.pow(2).sum().backward()
    y = x.detach().clone().requires_grad_()
    expected = dense(EDGES, 3) @ y
    expected.pow(2).sum().backward()

    assert torch.allclose(heard, expected)
    assert torch.allclose(x.grad, y.grad)


def test_the_layers_are_those_of_pytorch_geometrics_light_gcn():
    from torch_geometric.nn import LGConv

    pairs = torch.tensor([[0, 3], [0, 4], [1, 4], [2, 4]])  # items 0, 1, 2; users 3, 4
    both = torch.cat([pairs, pairs.flip(1)]).T
    rows = SparseRows.of(both[1].numpy(), both[0].numpy(), np.ones(8), 5).normalized()
    layers = GraphLayers(4, relations=1, entities=0, layers=2)
    items = torch.randn(3, 4)
    found = layers(items, ItemGraph(((rows.adjacency(rows),),)))
    states, heard = torch.cat([items, torch.zeros(2, 4)]), torch.zeros(3, 4)
    for _ in range(2):
        states = LGConv()(states, both)
        heard = heard + states[:3]

    assert torch.allclose(found, items + GATE * heard / 2, atol=1e-6)


def test_a_cold_item_is_drawn_to_the_items_of_its_entity():
    # Items 0 and 1 share entity 4; items 2 and 3 have nothing. Item 0 is cold: its own vector is zero.
    items = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    rows = SparseRows.of(np.array([0, 4, 1, 4]), np.array([4, 0, 4, 1]), np.ones(4), 5).normalized()
    layers = GraphLayers(2, relations=1, entities=1, layers=2)
    torch.nn.init.zeros_(layers.entity)
    with torch.inference_mode():
        lonely = layers(items, ItemGraph(((rows.adjacency(rows),),)))[0]

    assert torch.nn.functional.cosine_similarity(lonely, items[1], dim=0) == pytest.approx(1)
    assert lonely @ items[2] == 0


def test_sparse_products_stay_in_32_bits_under_mixed_precision():
    layers = GraphLayers(4, relations=1, entities=0, layers=1)
    items = torch.randn(3, 4, requires_grad=True)
    graph = ItemGraph(((adjacency(EDGES, 3),),))
    plain = layers(items, graph)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = layers(items, graph)
        mixed.sum().backward()

    assert torch.allclose(mixed, plain)
    assert torch.isfinite(items.grad).all()
