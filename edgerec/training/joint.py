"""The joint loss of teacher and student: one term for each task, from hard labels and a teacher's soft ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, cast

import torch
from torch import Tensor, nn

from edgerec.models.inputs import Items, Moment, RequestBatch
from edgerec.models.sequence import Read
from edgerec.models.teacher import Teacher
from edgerec.tasks import Task, scored_tasks
from edgerec.training import losses
from edgerec.training.batches import JointBatch, PairBatch, RowBatch, VisitBatch
from edgerec.training.text import TextReader

SEQUENCE = "(sequence)"
"""Name of the loss of the next event after each event, beside those of the tasks; no task can be called so."""
SEQUENCE_SHARE = 0.5
"""Its weight against a retrieval task's."""


class Scorer(Protocol):
    """What is trained and the evaluation asks: teacher and student alike. Shapes as in `Student`."""

    def encode_items(self, moment: Moment) -> Items: ...
    def score_catalog(self, batch: RequestBatch, items: Items, tasks: Sequence[int] | None = None) -> Tensor: ...
    def score_rows(self, batch: RequestBatch, candidate: Tensor, items: Items) -> Tensor: ...
    def score_related(self, query: Tensor, items: Items) -> Tensor: ...


Loss: TypeAlias = "Callable[[Tensor, Tensor], Tensor]"
"""Of predictions and targets, both (B,)."""
Labels = Literal["hard", "soft"]
"""Of the log, or of a teacher."""


@dataclass(frozen=True)
class Part:
    """A part of a task's loss: `share` times a `mean` over `count` examples."""

    task: str
    labels: Labels
    share: float
    mean: Tensor
    count: Tensor


class JointTraining(nn.Module):
    """A model with the losses of all its tasks.

    Args:
        n_seen: see `Examples`.
        soft_share: part of the loss that comes from a teacher's labels, where there are any.
        temperature: of the softmax over a teacher's logits.
        amounts: loss of the regression tasks, by task; the Huber loss of those that are left out.
        reader: of the items' texts, where the language model learns along.

    Attributes:
        alter: applied to the encoded items before anything is scored; adversarial training sets it.
    """

    def __init__(
        self,
        model: nn.Module,
        tasks: Sequence[Task],
        n_seen: int,
        soft_share: float = 0.0,
        temperature: float = 1.0,
        amounts: Mapping[str, Loss] | None = None,
        reader: TextReader | None = None,
    ) -> None:
        super().__init__()
        self.reader = reader
        self.amounts = amounts or {}
        self.model, self.tasks, self.n_seen = model, list(tasks), n_seen
        self.soft_share, self.temperature = soft_share, temperature
        self.scored = scored_tasks(tasks)
        self.retrieval = [i for i, t in enumerate(self.scored) if t.kind == "retrieval"]
        self.related = [t for t in tasks if t.kind == "related"]
        self.alter: Callable[[Items], Items] | None = None
        # A uniform guess over the catalogue loses log N: in its unit, ranking weighs about as much as a probability.
        unit = 1 / math.log(max(n_seen, 3))
        self.weights = {t.name: t.weight * (unit if t.kind in ("retrieval", "related") else 1.0) for t in tasks}
        self.sequence = isinstance(model, Teacher) and model.sequence is not None and bool(self.retrieval)
        if self.sequence:
            self.weights[SEQUENCE] = unit * SEQUENCE_SHARE

    @property
    def scorer(self) -> Scorer:
        """The model, by what it can do."""
        return cast(Scorer, self.model)

    def shared(self) -> list[nn.Parameter]:
        """The parameters at which the tasks' gradients are compared: the model's choice, or all."""
        choice = getattr(self.model, "shared_parameters", self.model.parameters)
        return list(choice())

    def forward(self, batch: JointBatch) -> list[Part]:
        """The parts of the loss of each task that the batch holds examples of."""
        found: list[Part] = []
        with self._read_anew(batch):
            if batch.visits is not None:
                found += self._visits(batch.visits)
            if batch.rows is not None:
                found += self._rows(batch.rows)
        return found

    @contextmanager
    def _read_anew(self, batch: JointBatch) -> Iterator[None]:
        """While a step is learned from, the texts of the items that it is about come from the language model."""
        if self.reader is None or not self.training:
            yield
            return
        tower = cast(Teacher, self.model).items
        tower.fresh = self.reader.fresh(_about(batch))
        try:
            yield
        finally:
            tower.fresh = None

    def read_all(self) -> None:
        """Read all texts with the weights as they are now."""
        if self.reader is not None:
            cast(Teacher, self.model).items.text.copy_(self.reader.all())

    def losses(self, batch: JointBatch) -> dict[str, Tensor]:
        """The loss of each task that the batch holds examples of."""
        return joined(self(batch))

    def total(self, found: dict[str, Tensor]) -> Tensor:
        """The sum by the tasks' own weights."""
        return torch.stack([self.weights[name] * loss for name, loss in found.items()]).sum()

    def _items(self, moment: Moment) -> Items:
        items = self.scorer.encode_items(moment)
        return items if self.alter is None else self.alter(items)

    def _visits(self, batch: VisitBatch) -> list[Part]:
        items = self._items(batch.moment)
        found = []
        if self.sequence and self.training:
            logits, read = cast(Teacher, self.model).score_visits(batch.requests, items, self.retrieval)
            assert read is not None
            found.append(self._next_items(read, items))
        else:
            logits = self.scorer.score_catalog(batch.requests, items, self.retrieval)
        for r, i in enumerate(self.retrieval):
            task = self.scored[i]
            own = logits[:, r]
            soft = batch.soft[:, r] if batch.soft is not None else None
            if task.repeats == "exclude":
                own = exclude_history(own, batch.requests)
                soft = None if soft is None else exclude_history(soft, batch.requests)
            found += self._listwise(task, own, batch.owner[r], batch.item[r], soft)
        if batch.related is not None:
            for task in self.related:
                found += self._pairs(task, batch.related, items)
        return found

    def _rows(self, batch: RowBatch) -> list[Part]:
        items = self._items(batch.moment)
        logits = self.scorer.score_rows(batch.requests, batch.candidate, items)
        log_p = losses.chain_log_probabilities(logits, self.scored)
        count = torch.tensor(float(len(batch.candidate)))
        found = []
        for i, task in enumerate(self.scored):
            if task.kind == "retrieval":
                continue
            loss_of = losses.binary if task.kind == "binary" else self.amounts.get(task.name, losses.regression)
            soft = None if batch.soft is None else loss_of(log_p[:, i], batch.soft[:, i])
            found += self._parts(task, loss_of(log_p[:, i], batch.labels[:, i]), count, soft, count)
        return found

    def _next_items(self, read: Read, items: Items) -> Part:
        states, target = read.next_items()
        loss = losses.next_items(states, target, items[0][: self.n_seen])
        return Part(SEQUENCE, "hard", 1.0, loss, torch.tensor(float(min(len(target), losses.POSITIONS))))

    def _pairs(self, task: Task, batch: PairBatch, items: Items) -> list[Part]:
        logits = self.scorer.score_related(batch.query, items).scatter(1, batch.query.unsqueeze(1), losses.NEVER)
        soft = None if batch.soft is None else batch.soft.scatter(1, batch.query.unsqueeze(1), losses.NEVER)
        return self._listwise(task, logits, batch.owner, batch.item, soft)

    def _listwise(self, task: Task, logits: Tensor, owner: Tensor, item: Tensor, soft: Tensor | None) -> list[Part]:
        own = logits[:, : self.n_seen]
        hard, count = losses.listwise(own, owner, item), losses.owners(owner, len(own))
        if soft is None:
            return self._parts(task, hard, count, None, count)
        distilled = losses.listwise_soft(own, soft[:, : self.n_seen], self.temperature)
        return self._parts(task, hard, count, distilled, torch.tensor(float(len(own))))

    def _parts(self, task: Task, hard: Tensor, n_hard: Tensor, soft: Tensor | None, n_soft: Tensor) -> list[Part]:
        if soft is None:
            return [Part(task.name, "hard", 1.0, hard, n_hard)]
        return [
            Part(task.name, "hard", 1 - self.soft_share, hard, n_hard),
            Part(task.name, "soft", self.soft_share, soft, n_soft),
        ]


def _about(batch: JointBatch) -> Tensor:
    """Items that a step tells something of: consumed, shown, or asked what goes with them."""
    found = []
    if batch.visits is not None:
        found += [*batch.visits.item, *([] if batch.visits.related is None else [batch.visits.related.query])]
    if batch.rows is not None:
        found.append(batch.rows.candidate)
    return torch.cat(found)


def joined(parts: Sequence[Part]) -> dict[str, Tensor]:
    """The loss of each task, from its parts."""
    found: dict[str, Tensor] = {}
    for part in parts:
        value = part.share * part.mean
        found[part.task] = found[part.task] + value if part.task in found else value
    return found


def exclude_history(logits: Tensor, requests: RequestBatch) -> Tensor:
    """`logits` (B, N) with the items of each request's history at `losses.NEVER`."""
    never = torch.zeros_like(logits).scatter_add(1, requests.item, requests.present.to(logits.dtype))
    return logits.masked_fill(never > 0, losses.NEVER)
