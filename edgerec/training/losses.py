"""Losses of each kind of task, from hard labels and from a teacher's soft ones."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from edgerec.tasks import Task

NEVER = -1e4
"""Logit of an item that may not be recommended; finite, so that a softmax over nothing else stays a number."""


def listwise(logits: Tensor, owner: Tensor, item: Tensor) -> Tensor:
    """Mean over requests of the cross-entropy between the consumed items, equally weighted, and a full softmax.

    Args:
        logits: (B, N). owner, item: int64 (P,), the request and item of each consumed item.
    Returns:
        A scalar; requests without a consumed item do not count; 0 where none has one.
    """
    if not len(owner):
        return logits.sum() * 0.0
    sizes = torch.zeros(len(logits), device=logits.device).index_add(
        0, owner, torch.ones(len(owner), device=owner.device)
    )
    log_p = torch.log_softmax(logits, dim=1)[owner, item]
    return -(log_p / sizes[owner]).sum() / (sizes > 0).sum()


def owners(owner: Tensor, n: int) -> Tensor:
    """How many of `n` requests own something, as a float scalar; `owner` as in `listwise`."""
    return torch.zeros(n, device=owner.device).index_fill(0, owner, 1.0).sum()


def listwise_soft(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Mean KL divergence from the teacher's softmax over the whole catalogue, times temperature squared; 0 if B is 0.

    Source: Hinton et al., 2015, over items. Both (B, N).
    """
    if not len(logits):
        return logits.sum() * 0.0
    soft = torch.log_softmax(teacher_logits / temperature, dim=1)
    own = torch.log_softmax(logits / temperature, dim=1)
    return functional.kl_div(own, soft, reduction="batchmean", log_target=True) * temperature**2


FULL_SOFTMAX = 100_000
"""Items up to which a state of a sequence is held against the whole catalogue."""
NEGATIVES = 8192
"""Items that are drawn where there are more."""
POSITIONS = 2048
"""Events of a step's sequences that are predicted; of more, a random part of them."""


def next_items(states: Tensor, target: Tensor, table: Tensor) -> Tensor:
    """Mean cross-entropy of the item after each state; 0 without states.

    Args:
        states: (P, dim). target: int64 (P,). table: (N, dim), item vectors.
    """
    if not len(target):
        return states.sum() * 0.0
    if len(target) > POSITIONS:
        chosen = torch.randperm(len(target), device=target.device)[:POSITIONS]
        states, target = states[chosen], target[chosen]
    if len(table) <= FULL_SOFTMAX:
        return functional.cross_entropy(states @ table.T, target)
    drawn, log_q = draw_items(target, len(table), NEGATIVES)
    return sampled_softmax(states, target, table, drawn, log_q)


def draw_items(target: Tensor, n_items: int, n: int) -> tuple[Tensor, Tensor]:
    """`n` items, half by share of `target` and half by chance, and the log-probability of all items to be drawn."""
    shares = torch.bincount(target, minlength=n_items) / len(target)
    popular = target[torch.randint(len(target), (n,), device=target.device)]
    by_chance = torch.randint(n_items, (n,), device=target.device)
    half = torch.rand(n, device=target.device) < 0.5
    return torch.where(half, popular, by_chance), torch.log(0.5 * shares + 0.5 / n_items)


def sampled_softmax(states: Tensor, target: Tensor, table: Tensor, drawn: Tensor, log_q: Tensor) -> Tensor:
    """Mean cross-entropy against a softmax whose sum over the items is estimated, without bias, from `drawn` ones.

    Source: Bengio and Senecal, 2008: each drawn item stands for 1 / (n q) of them; the target stands for itself.
    Args:
        drawn: int64 (n,), items drawn with replacement. log_q: (N,), of each item to be drawn.
    """
    own = (states * table[target]).sum(dim=1)
    others = states @ table[drawn].T - log_q[drawn] - math.log(len(drawn))
    others = others.masked_fill(drawn == target.unsqueeze(1), NEVER)
    return (torch.logsumexp(torch.cat([own.unsqueeze(1), others], dim=1), dim=1) - own).mean()


def chain_log_probabilities(logits: Tensor, tasks: Sequence[Task]) -> Tensor:
    """Log-probability of every binary task: the sum of log-sigmoids along its `after` chain; other columns as given.

    Source: ESMM, Ma et al., SIGIR 2018: trained on all impressions.
    Args:
        logits: (B, T), columns as `tasks`.
    """
    index = {t.name: i for i, t in enumerate(tasks)}
    columns: list[Tensor] = []
    for i, task in enumerate(tasks):
        if task.kind != "binary":
            columns.append(logits[:, i])
            continue
        own = functional.logsigmoid(logits[:, i])
        columns.append(own if task.after is None else own + columns[index[task.after]])
    return torch.stack(columns, dim=1)


def binary(log_p: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy of probabilities ``exp(log_p)`` against targets in [0, 1], hard or soft; both (B,)."""
    log_not = torch.log1p(-torch.exp(log_p.clamp(max=-1e-6)))
    return -(target * log_p + (1 - target) * log_not).mean()


def regression(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean Huber loss on standardised logs, which finds about their mean; both (B,)."""
    return functional.huber_loss(prediction, target)


def median(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error, the quantile loss at one half: finds the median; both (B,).

    Source: Koenker and Bassett, Econometrica 1978.
    """
    return functional.l1_loss(prediction, target)


THRESHOLDS = 24
"""Equally frequent ranges, less one, that `ordinal` tells apart."""
SPREAD = 0.5
"""Standard deviations of the logs in which the odds of being above a threshold change by a factor of e."""


def ordinal(prediction: Tensor, target: Tensor, thresholds: Tensor) -> Tensor:
    """Mean cross-entropy of being above each threshold, where ``prediction - threshold`` tells the odds.

    One number tells all of them, so that it orders, and it stays a place among the targets, in their unit.
    Source: proportional odds, McCullagh, JRSS B 1980, with the thresholds given.
    Args:
        prediction, target: (B,). thresholds: (K,).
    """
    odds = (prediction.unsqueeze(1) - thresholds) / SPREAD
    above = (target.unsqueeze(1) > thresholds).to(odds.dtype)
    return functional.binary_cross_entropy_with_logits(odds, above)
