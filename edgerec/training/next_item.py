"""Trains the transformer that ranks the catalogue by what a user did latest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from edgerec.examples.windows import Windows
from edgerec.models.sequence import NextItem
from edgerec.progress import Track
from edgerec.training.losses import draw_items, sampled_softmax

EVENTS, FEWEST_EVENTS, STEPS = 1024, 32, 50
"""Of a batch, at most and at least; in between so many that an epoch has as many steps."""
WARM_UP = 100
"""Steps in which the learning rate rises."""
FULL_SOFTMAX = 4_096
"""Items up to which what follows is compared with the whole catalogue."""
NEGATIVES = 1024
"""Items that are drawn for a batch where there are more."""
STEPS_OF_MEAN = 100
"""The weights that stay are a mean of about the latest so many steps' ones: those of a single step are noisy."""
ROUNDS = 12
"""Of the power iteration for the items' first vectors."""
PATIENCE = 3
"""Epochs without a better ranking after which training ends."""


@dataclass(frozen=True)
class NextItemTraining:
    """How it is trained.

    Attributes:
        epochs: as many, or the most that are tried. events: that an epoch sees at most.
    """

    epochs: int
    events: int
    learning_rate: float = 2e-3
    weight_decay: float = 0.01


def fit_next_item(
    model: NextItem,
    windows: Windows,
    settings: NextItemTraining,
    seed: int,
    done: Track,
    judge: Callable[[NextItem], float] | None = None,
) -> int:
    """Train `model` in place.

    Args:
        done: is told of each epoch.
        judge: how good a ranking is. With it, training ends when that rises no more, and the best weights stay.
    Returns:
        The epochs that led to the weights.
    """
    rng, best, best_epoch = np.random.default_rng(seed), -np.inf, settings.epochs
    torch.manual_seed(seed)
    kept: dict[str, Tensor] = {}
    optimizer = torch.optim.AdamW(
        model.parameters(), settings.learning_rate, betas=(0.9, 0.98), weight_decay=settings.weight_decay
    )
    at_once = int(np.clip(windows.targets() // STEPS, FEWEST_EVENTS, EVENTS))
    average = get_ema_multi_avg_fn(1 - 1 / STEPS_OF_MEAN)  # type: ignore[no-untyped-call]
    mean = AveragedModel(model, multi_avg_fn=average)
    warm = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / WARM_UP, 1.0))
    for epoch in range(1, settings.epochs + 1):
        model.train()
        for latest, target in windows.epoch(at_once, settings.events, rng):
            optimizer.zero_grad()
            table = model.table()
            counts = target >= 0
            loss = _loss(model(latest, table)[counts], target[counts], table[: len(model.ids)])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            warm.step()
            mean.update_parameters(model)
        done.advance()
        if judge is None:
            continue
        value = judge(cast(NextItem, mean.module.eval()))
        if value > best:
            best, best_epoch = value, epoch
            kept = {name: tensor.clone() for name, tensor in mean.module.state_dict().items()}
        elif epoch - best_epoch >= PATIENCE:
            break
    model.load_state_dict(kept or mean.module.state_dict())
    return best_epoch


def start_items(model: NextItem, windows: Windows, seed: int) -> None:
    """Let items that occur near each other start near each other: training then takes a few epochs, not a hundred.

    Their vectors are the leading eigenvectors of how often two items occur within a few events, each pair's count
    divided by the root of both items' counts.
    """
    torch.manual_seed(seed)
    known, dim = model.ids.shape
    near = windows.near(known)
    vectors = torch.randn(known, min(known, dim))
    for _ in range(ROUNDS):
        vectors = torch.linalg.qr(near @ vectors + vectors).Q
    values, turn = torch.linalg.eigh(vectors.T @ (near @ vectors + vectors))
    vectors = (vectors @ turn) * values.clamp(min=0).sqrt()
    model.start(functional.pad(functional.normalize(vectors, dim=1), (0, dim - vectors.shape[1])))


def _loss(states: Tensor, target: Tensor, table: Tensor) -> Tensor:
    """Mean cross-entropy of the items that follow; `table` has those that occur in training rows."""
    if not len(target):
        return states.sum() * 0.0
    if len(table) <= FULL_SOFTMAX:
        return functional.cross_entropy(states @ table.T, target)
    drawn, log_q = draw_items(target, len(table), NEGATIVES)
    return sampled_softmax(states, target, table, drawn, log_q)
