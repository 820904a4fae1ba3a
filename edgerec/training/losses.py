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
    rows, owner, sizes = torch.unique(owner, return_inverse=True, return_counts=True)
    # Most of a student's requests have no outcome. (The gradient of an index is slow, that of a selection is not.)
    log_p = torch.log_softmax(logits.index_select(0, rows), dim=1)[owner, item]
    mean: Tensor = -(log_p / sizes[owner]).sum() / len(rows)
    return mean


def owners(owner: Tensor, n: int) -> Tensor:
    """How many of `n` requests own something, as a float scalar; `owner` as in `listwise`."""
    return torch.zeros(n, device=owner.device).index_fill(0, owner, 1.0).sum()


def listwise_soft(
    logits: Tensor,
    teacher_logits: Tensor,
    temperature: float,
    log_weight: Tensor | None = None,
    weight: Tensor | None = None,
) -> Tensor:
    """Mean KL divergence from the teacher's softmax over the catalogue, times temperature squared; 0 if B is 0.

    Source: Hinton et al., 2015, over items. With `log_weight`, each item of a list stands for some of the catalogue:
    both softmaxes are estimated by the same stratified sample.
    Args:
        logits, teacher_logits: (B, M). log_weight: (M,), log of the number of items that each stands for.
        weight: (B,), of each request, of mean 1; None weighs all alike.
    """
    if not len(logits):
        return logits.sum() * 0.0
    soft, own = teacher_logits / temperature, logits / temperature
    if log_weight is not None:
        soft, own = soft + log_weight, own + log_weight
    soft, own = torch.log_softmax(soft, dim=1), torch.log_softmax(own, dim=1)
    if weight is not None:
        each = functional.kl_div(own, soft, reduction="none", log_target=True).sum(dim=1)
        return (each * weight).mean() * temperature**2
    return functional.kl_div(own, soft, reduction="batchmean", log_target=True) * temperature**2


TOP_LIST = 20
"""Items of the teacher's list whose order `top_list` learns."""


def top_list(logits: Tensor, teacher_logits: Tensor, log_weight: Tensor | None = None) -> Tensor:
    """Mean cost of the order of the teacher's best `TOP_LIST` items before all others, by Plackett and Luce.

    Place r weighs 1 / log2(r + 1), as in NDCG. Source: relaxed ranking distillation, Kang et al., CIKM 2020, with the
    positions' weights of ranking distillation, Tang and Wang, KDD 2018. Arguments as of `listwise_soft`; 0 if B is 0.
    """
    if not len(logits):
        return logits.sum() * 0.0
    best = teacher_logits.topk(min(TOP_LIST, logits.shape[1]), dim=1).indices
    chosen = logits.gather(1, best)
    others = logits.scatter(1, best, NEVER)
    if log_weight is not None:
        others = others + log_weight
    # What may still be drawn at place r: the rest of the list and all that is not on it.
    rest = torch.logcumsumexp(chosen.flip(1), dim=1).flip(1)
    rest = torch.logaddexp(rest, torch.logsumexp(others, dim=1, keepdim=True))
    weight = 1 / torch.log2(torch.arange(best.shape[1], device=logits.device) + 2.0)
    return ((rest - chosen) @ (weight / weight.sum())).mean()


def confidence(teacher_logits: Tensor, temperature: float, log_weight: Tensor | None = None) -> Tensor:
    """How sure the teacher is of each request, (B,), of mean 1: 1 - entropy / largest possible entropy.

    There is nothing to learn from a teacher that would choose at random.
    """
    soft = teacher_logits / temperature if log_weight is None else teacher_logits / temperature + log_weight
    log_p = torch.log_softmax(soft, dim=1)
    p = log_p.exp()
    entropy = -(p * (log_p if log_weight is None else log_p - log_weight)).sum(dim=1)
    possible = (soft > NEVER / 2).sum(dim=1).clamp(min=2).to(soft.dtype)
    largest = torch.log(possible) if log_weight is None else torch.logsumexp(log_weight, dim=0)
    sure = (1 - entropy / largest).clamp(min=0.0)
    return sure / sure.mean().clamp(min=1e-6)


def neighbours(vectors: Tensor, table: Tensor, teacher: Tensor, item: Tensor) -> Tensor:
    """Mean KL divergence between the teacher's and the student's neighbours of each `item`; 0 without items.

    Source: relational distillation over items, Park et al., CVPR 2019, as a softmax over cosines.
    Args:
        vectors: (K, dim), the student's, of the items `item`, int64 (K,). table: (N, dim), the student's.
        teacher: (N, D), rows of length 1.
    """
    own = functional.normalize(vectors) @ functional.normalize(table).T
    soft = teacher[item] @ teacher.T
    own, soft = (cosine.scatter(1, item.unsqueeze(1), -1.0) for cosine in (own, soft))
    return listwise_soft(own / NEAR, soft / NEAR, 1.0)


NEAR = 0.1
"""Temperature of the softmax over cosines: this much more cosine is e times the weight."""


def alignment(projected: Tensor, teacher: Tensor) -> Tensor:
    """Mean of one less the cosine of projected student vectors and the teacher's, both (K, D); 0 without items.

    Source: hint learning, Romero et al., ICLR 2015, without regard to length.
    """
    if not len(projected):
        return projected.sum() * 0.0
    return (1 - functional.cosine_similarity(projected, teacher)).mean()


FULL_SOFTMAX = 100_000
"""Items up to which a state of a sequence is compared with the whole catalogue."""
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
    """`n` items, half drawn from `target` and half uniformly, and the log-probability of each item to be drawn."""
    frequency = torch.bincount(target, minlength=n_items) / len(target)
    popular = target[torch.randint(len(target), (n,), device=target.device)]
    uniform = torch.randint(n_items, (n,), device=target.device)
    half = torch.rand(n, device=target.device) < 0.5
    return torch.where(half, popular, uniform), torch.log(0.5 * frequency + 0.5 / n_items)


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


def conditional_log_probs(logits: Tensor, tasks: Sequence[Task]) -> Tensor:
    """Log-probability of every binary task; other columns as given.

    That of a conditional task is the sum of its log-sigmoid and the log-probability of its condition (`after`).

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


def binary_soft(log_p: Tensor, teacher_log_p: Tensor) -> Tensor:
    """`binary` against a teacher's calibrated probabilities, given by their logs; both (B,).

    Conditional tasks learn from impressions without a click too: a teacher knows what would have followed.
    """
    return binary(log_p, torch.exp(teacher_log_p))


def regression(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean Huber loss on standardised logs, which is least near their mean; both (B,)."""
    return functional.huber_loss(prediction, target)


def median(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error, the quantile loss at one half, which is least at the median; both (B,).

    Source: Koenker and Bassett, Econometrica 1978.
    """
    return functional.l1_loss(prediction, target)


THRESHOLDS = 24
"""Thresholds of `ordinal`: quantiles at equal distances."""
SPREAD = 0.5
"""Standard deviations of the logs in which the odds of being above a threshold change by a factor of e."""


def ordinal(prediction: Tensor, target: Tensor, thresholds: Tensor) -> Tensor:
    """Mean cross-entropy of being above each threshold, whose log-odds are ``(prediction - threshold) / SPREAD``.

    One prediction gives the odds of all thresholds, so it orders items, and it has the unit of the targets.
    Source: proportional odds, McCullagh, JRSS B 1980, with the thresholds given.
    Args:
        prediction, target: (B,). thresholds: (K,).
    """
    odds = (prediction.unsqueeze(1) - thresholds) / SPREAD
    above = (target.unsqueeze(1) > thresholds).to(odds.dtype)
    return functional.binary_cross_entropy_with_logits(odds, above)
