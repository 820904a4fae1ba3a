"""A causal transformer over a user's latest events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgerec.models.inputs import LatestEvents

FURTHEST = -1e4
"""Added to the attention logit of what may not be seen; finite, so that a row of padding stays a number."""

WIDER = 3
"""Hidden units of a block for each dimension."""
ITEM_LENGTH = 0.4
"""Of item vectors that have learned nothing yet."""


class CausalTransformer(nn.Module):
    """Pre-norm transformer in which a position sees itself and what came before it.

    A learned vector gives an event's position, counted from the latest one. Its time enters by the gap to the next
    event, which is an input, and by the hours between two events, whose logarithm each head may subtract from the
    attention logit.

    Source: SASRec, Kang and McAuley, ICDM 2018; linear biases, ALiBi, Press et al., ICLR 2022, here over log-time;
    gated hidden layers, Shazeer, arXiv 2002.05202.
    """

    def __init__(self, dim: int, heads: int, layers: int, max_len: int, dropout: float) -> None:
        """`dim` must be a multiple of `heads`."""
        super().__init__()
        self.place = nn.Embedding(max_len, dim)
        nn.init.normal_(self.place.weight, std=0.02)
        self.from_gap = nn.Linear(2, dim)
        self.dropout = nn.Dropout(dropout)
        # One head each looks little and much at time; none is forced to.
        self.slope = nn.Parameter(torch.linspace(0, 0.5, heads))
        self.blocks = nn.ModuleList(_Block(dim, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, vectors: Tensor, gaps: Tensor, present: Tensor) -> Tensor:
        """States (B, S, dim) after each event; those of padding mean nothing.

        Args:
            vectors: (B, S, dim), oldest first. gaps: (B, S), hours until the next event, or from the latest until now.
            present: bool (B, S), False on padding, which may stand on either side.
        """
        place = (present.flip(1).cumsum(dim=1).flip(1) - 1).clamp(min=0)  # 0 is the latest
        at_once = (gaps <= 0).to(gaps.dtype)  # within one session
        when = torch.stack([torch.log1p(gaps.clamp(min=0)) * 0.2, at_once], dim=2)
        x = vectors + self.place(place) + self.from_gap(when)
        x = self.dropout(x)
        bias = self._bias(gaps, present).to(x.dtype)
        for block in self.blocks:
            x = block(x, bias)
        states: Tensor = self.norm(x)
        return states

    def _bias(self, gaps: Tensor, present: Tensor) -> Tensor:
        """What is added to the attention logits, (B, heads, S, S)."""
        gaps = gaps * present
        at = gaps.cumsum(dim=1) - gaps  # hours from the first event
        apart = torch.log1p((at.unsqueeze(2) - at.unsqueeze(1)).clamp(min=0)).unsqueeze(1)
        size = gaps.shape[1]
        seen = torch.ones(size, size, dtype=torch.bool, device=gaps.device).tril() & present.unsqueeze(1)
        slope = functional.relu(self.slope).view(1, -1, 1, 1)
        return torch.where(seen.unsqueeze(1), -slope * apart, FURTHEST)


class _Block(nn.Module):
    """Attention and a gated hidden layer, each normalised before and added after."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.rate = heads, dropout
        self.before_attention, self.before_hidden = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.to_three = nn.Linear(dim, 3 * dim)
        self.from_heads = nn.Linear(dim, dim)
        self.to_hidden = nn.Linear(dim, 2 * WIDER * dim)
        self.from_hidden = nn.Linear(WIDER * dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """(B, S, dim), (B, heads, S, S) -> (B, S, dim)."""
        three = self.to_three(self.before_attention(x)).unflatten(2, (3, self.heads, -1))
        query, key, value = three.permute(2, 0, 3, 1, 4)
        rate = self.rate if self.training else 0.0
        heard = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=rate)
        x = x + self.dropout(self.from_heads(heard.transpose(1, 2).flatten(2)))
        gate, value = self.to_hidden(self.before_hidden(x)).chunk(2, dim=2)
        added: Tensor = self.dropout(self.from_hidden(self.dropout(functional.silu(gate) * value)))
        return x + added


@dataclass(frozen=True)
class Read:
    """What was read of U different pasts.

    Attributes:
        states: (U, S, dim), after each event. item: int64 (U, S), the events' items. present: bool (U, S).
        past: int64 (B,), in [0, U), of each request.
    """

    states: Tensor
    item: Tensor
    present: Tensor
    past: Tensor

    def last(self) -> Tensor:
        """(B, dim), the state after each request's latest event; zero without one."""
        place = torch.arange(1, self.present.shape[1] + 1, device=self.present.device)
        last = (self.present * place).argmax(dim=1)
        rows = torch.arange(len(last), device=last.device)
        state = self.states[rows, last] * self.present[rows, last].unsqueeze(1)
        return state[self.past]

    def next_items(self) -> tuple[Tensor, Tensor]:
        """States (P, dim) that an event follows, and its item (P,)."""
        followed = self.present[:, :-1] & self.present[:, 1:]
        return self.states[:, :-1][followed], self.item[:, 1:][followed]


class SequenceModel(nn.Module):
    """The transformer over items as they are at the as-of time, and the kinds of their events."""

    def __init__(self, kinds: int, dim: int, heads: int, layers: int, max_len: int, dropout: float) -> None:
        super().__init__()
        self.kind = nn.Embedding(kinds, dim)
        nn.init.normal_(self.kind.weight, std=0.02)
        self.from_item = nn.Linear(dim, dim)
        self.transformer = CausalTransformer(dim, heads, layers, max_len, dropout)

    def forward(self, latest: LatestEvents, table: Tensor) -> Read:
        """Read each past once, however many requests share it; `table` (N, dim) holds the item vectors."""
        distinct, past = torch.unique(latest.past, return_inverse=True)
        rows = torch.arange(len(past), device=past.device)
        first = torch.full_like(distinct, len(past)).scatter_reduce(0, past, rows, "amin")
        item, present = latest.item[first], latest.present[first]
        vectors = self.from_item(functional.embedding(item, table)) + self.kind(latest.kind[first])
        return Read(self.transformer(vectors, latest.gap_h[first], present), item, present, past)


class NextItem(nn.Module):
    """Ranks the catalogue by what a user did latest: the transformer alone, over item vectors of its own.

    An item's vector is learned for its id, plus what a linear map makes of its text. Items that occur in no training
    row have their text alone.
    """

    def __init__(
        self, kinds: int, text: Tensor, known: int, dim: int, heads: int, layers: int, max_len: int, dropout: float
    ) -> None:
        """`text` (N, c): of all items. `known`: the first so many occur in training rows."""
        super().__init__()
        self.ids = nn.Parameter(torch.randn(known, dim) * (ITEM_LENGTH / dim**0.5))
        self.from_text = nn.Linear(text.shape[1], dim, bias=False) if text.shape[1] else None
        if self.from_text is not None:
            nn.init.zeros_(self.from_text.weight)
        self.register_buffer("text", text, persistent=False)
        self.kind = nn.Embedding(kinds, dim)
        nn.init.normal_(self.kind.weight, std=0.02)
        self.transformer = CausalTransformer(dim, heads, layers, max_len, dropout)

    def start(self, vectors: Tensor) -> None:
        """Let the ids start from `vectors` (known, dim) of unit length, in place of random ones."""
        with torch.no_grad():
            self.ids.copy_(ITEM_LENGTH * vectors)

    def table(self) -> Tensor:
        """Item vectors (N, dim)."""
        text = cast(Tensor, self.text)
        table = functional.pad(self.ids, (0, 0, 0, len(text) - len(self.ids)))
        return table if self.from_text is None else table + self.from_text(text)

    def forward(self, latest: LatestEvents, table: Tensor) -> Tensor:
        """States (B, S, dim) after each event; the product with `table` are the logits of what comes next."""
        vectors = functional.embedding(latest.item, table) / ITEM_LENGTH + self.kind(latest.kind)
        states: Tensor = self.transformer(vectors, latest.gap_h, latest.present)
        return states
