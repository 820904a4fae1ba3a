"""Graph layers over items, entities and users, which add an item's neighbours to its vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.nn import LGConv

from edgerec.models.inputs import Adjacency, ItemGraph
from edgerec.models.sparse import matrices, product

GATE = 0.3
"""Weight of the neighbours in an item's vector before training; from 0.01 the gate would hardly open."""


class GraphLayers(nn.Module):
    """LightGCN's layers over several relations, each of which weighs the dimensions by a learned scale of its own.

    A user starts from zero and becomes the mean of their items: users have no parameters, so new ones cost none. An
    entity starts from a learned vector. The mean over the layers enters the item vectors through a learned gate.

    Source: He et al., SIGIR 2020 (LightGCN); scales in place of matrices: DistMult, Yang et al., ICLR 2015, inside the
    relational sum of Schlichtkrull et al., ESWC 2018 (R-GCN).
    """

    def __init__(self, dim: int, relations: int, entities: int, layers: int) -> None:
        super().__init__()
        self.layers = layers
        self.entity = nn.Parameter(torch.empty(entities, dim))
        nn.init.normal_(self.entity, std=0.02)
        self.scale = nn.Parameter(torch.ones(relations, dim))
        self.gate = nn.Parameter(torch.full((dim,), GATE))
        self.propagate = Propagation()

    def forward(self, items: Tensor, graph: ItemGraph) -> Tensor:
        """Item vectors (N, dim) -> item vectors (N, dim)."""
        n = len(items)
        nodes = len(graph.layers[0][0].offsets) - 1
        users = items.new_zeros(nodes - n - len(self.entity), items.shape[1])
        state = torch.cat([items, self.entity.to(items.dtype), users])
        heard = torch.zeros_like(items)
        for layer in range(self.layers):
            edges = graph.layers[layer % len(graph.layers)]
            state = torch.stack(
                [self.propagate(state * scale, e) for scale, e in zip(self.scale, edges, strict=True)]
            ).sum(dim=0)
            heard = heard + state[:n]
        mixed: Tensor = items + self.gate * heard / self.layers
        return mixed


class Propagation(LGConv):  # type: ignore[misc]
    """LightGCN's convolution with the turned edges at hand: turning them at each step costs ten times the layer."""

    def __init__(self) -> None:
        super().__init__(normalize=False)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, x: Tensor, edges: Adjacency) -> Tensor:
        """(M, dim) -> (M, dim): for each node the weighted sum of the nodes that it hears from."""
        there, back = matrices(edges, (len(x), len(x)))
        # propagate_type: (x: Tensor, edge_weight: OptTensor, back: Tensor)
        heard: Tensor = self.propagate(there, x=x, edge_weight=None, back=back)
        return heard

    def message_and_aggregate(self, adj_t: Tensor, x: Tensor, back: Tensor) -> Tensor:
        """The sparse product, with the derivative by the turned edges."""
        return product(adj_t, back, x)
