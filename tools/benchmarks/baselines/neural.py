"""Ranking baselines trained by gradients: LightGCN and SASRec, small enough for one core."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional as F

from edgerec.evaluation.baselines.interactions import Floats, Int, Interactions, Ranker

OnEpoch = Callable[[int, Ranker], bool]
"""Called after an epoch (from 1) with the model so far; False stops."""


@dataclass(frozen=True)
class LightGCN:
    """Source: He et al., SIGIR 2020: BPR on vectors averaged over the layers of the user-item graph."""

    dim: int = 64
    layers: int = 2
    batch: int = 8192
    learning_rate: float = 5e-3
    l2: float = 1e-4
    epochs: int = 24
    every: int = 4
    """Epochs between two looks at valid."""

    def fit(self, log: Interactions, seed: int, on_epoch: OnEpoch) -> None:
        """Train until `on_epoch` returns False."""
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        graph = _graph(log)
        vectors = nn.Parameter(torch.randn(log.n_users + log.n_items, self.dim) * 0.1)
        optimizer = torch.optim.Adam([vectors], self.learning_rate)
        user, item = log.binary.nonzero()

        def layered() -> Tensor:
            layers: list[Tensor] = [vectors]
            for _ in range(self.layers):
                layers.append(torch.sparse.mm(graph, layers[-1]))
            return torch.stack(layers).mean(0)

        for epoch in range(1, self.epochs + 1):
            for rows in np.array_split(rng.permutation(len(user)), max(len(user) // self.batch, 1)):
                u = torch.from_numpy(user[rows].astype(np.int64))
                i = torch.from_numpy(item[rows].astype(np.int64)) + log.n_users
                j = torch.from_numpy(rng.integers(0, log.n_items, len(rows))) + log.n_users
                at = layered()
                gap = (at[u] * (at[i] - at[j])).sum(1)
                size = (vectors[u].square() + vectors[i].square() + vectors[j].square()).sum() / len(rows)
                loss = -F.logsigmoid(gap).mean() + self.l2 * size
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            if epoch % self.every == 0:
                with torch.no_grad():
                    whole: Floats = layered().numpy()
                users, items = whole[: log.n_users], whole[log.n_users :]
                if not on_epoch(epoch, lambda chosen, u=users, i=items: u[chosen] @ i.T):  # type: ignore[misc]
                    return


def _graph(log: Interactions) -> Tensor:
    """Users and items as one graph, each edge over the root of both degrees."""
    edges = sparse.bmat([[None, log.binary], [log.binary.T, None]]).tocsr()
    degree = np.maximum(np.asarray(edges.sum(axis=0)).ravel(), 1) ** -0.5
    edges = (sparse.diags(degree) @ edges @ sparse.diags(degree)).tocoo().astype(np.float32)
    place = torch.from_numpy(np.stack([edges.row, edges.col]).astype(np.int64))
    return torch.sparse_coo_tensor(place, torch.from_numpy(edges.data), edges.shape, check_invariants=False).coalesce()


class _Causal(nn.Module):
    """Vectors of the next item, at every place of a sequence."""

    def __init__(self, n_items: int, dim: int, heads: int, layers: int, longest: int, dropout: float) -> None:
        super().__init__()
        self.item = nn.Embedding(n_items + 1, dim, padding_idx=n_items)
        self.place = nn.Parameter(torch.zeros(longest, dim))
        layer = nn.TransformerEncoderLayer(dim, heads, dim, dropout, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, nn.LayerNorm(dim), enable_nested_tensor=False)
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.item.weight, std=0.02)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(longest), persistent=False)

    def forward(self, items: Tensor) -> Tensor:
        n = self.item.num_embeddings - 1
        placed = self.dropout(self.item(torch.where(items < 0, n, items)) + self.place)
        states: Tensor = self.layers(placed, mask=self.mask, is_causal=True)
        return states


@dataclass(frozen=True)
class SASRec:
    """Source: Kang and McAuley, ICDM 2018, with cross-entropy over the whole catalogue in place of sampled negatives.

    Items of a long past are cut into pieces of `longest`, so that all are learned from.
    """

    dim: int = 64
    heads: int = 2
    layers: int = 2
    longest: int = 50
    dropout: float = 0.2
    batch: int = 16
    learning_rate: float = 1e-3
    pieces_per_epoch: int = 2000
    """Of more pieces an epoch sees a random part."""
    epochs: int = 24
    every: int = 4

    def fit(self, log: Interactions, seed: int, on_epoch: OnEpoch) -> None:
        """Train until `on_epoch` returns False."""
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        model = _Causal(log.n_items, self.dim, self.heads, self.layers, self.longest, self.dropout)
        optimizer = torch.optim.Adam(model.parameters(), self.learning_rate)
        rows = pieces(log, self.longest + 1)
        cut = torch.from_numpy(np.where(rows >= 0, log.item[rows], -1))
        latest, _ = log.sequences(self.longest)
        for epoch in range(1, self.epochs + 1):
            model.train()
            drawn = rng.permutation(len(cut))[: self.pieces_per_epoch]
            for rows in np.array_split(drawn, max(len(drawn) // self.batch, 1)):
                before, after = cut[rows, :-1], cut[rows, 1:]
                learned = (after >= 0) & (before >= 0)
                logits = model(before)[learned] @ model.item.weight[:-1].T
                loss = F.cross_entropy(logits, after[learned])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            if epoch % self.every == 0 and not on_epoch(epoch, _ranker(model.eval(), latest)):
                return


def _ranker(model: _Causal, latest: Int) -> Ranker:
    def scores(users: Int) -> Floats:
        with torch.inference_mode():
            last = model(torch.from_numpy(latest[users]))[:, -1]
            logits: Floats = (last @ model.item.weight[:-1].T).numpy()
        return logits

    return scores


NEURAL: dict[str, LightGCN | SASRec] = {"LightGCN": LightGCN(), "SASRec": SASRec()}


def pieces(interactions: Interactions, longest: int) -> Int:
    """The rows of each user in pieces of `longest` that share their ends, padded on the left with -1.

    >>> three = np.zeros(3, np.int64)
    >>> pieces(Interactions(three, three, three, three, n_users=1, n_items=1), 2).tolist()
    [[1, 2], [0, 1]]
    """
    padded = []
    ends = np.cumsum(np.bincount(interactions.user, minlength=interactions.n_users))
    for rows in np.split(np.arange(len(interactions.user)), ends[:-1]):
        for end in range(len(rows), 1, 1 - longest):
            piece = rows[max(end - longest, 0) : end]
            padded.append(np.pad(piece, (longest - len(piece), 0), constant_values=-1))
    return np.array(padded, np.int64).reshape(-1, longest)
