"""The joint loss of teacher and student: one term for each task, from hard labels and a teacher's soft ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from edgerec.examples.batches import ImpressionBatch, JointBatch, PairBatch, SessionBatch
from edgerec.examples.soft_lists import SoftBatch
from edgerec.models.inputs import Items, ItemsAsOf, RequestBatch
from edgerec.models.sequence import Read
from edgerec.models.student import Student
from edgerec.models.teacher import Teacher
from edgerec.tasks import Task, scored_tasks
from edgerec.training import losses
from edgerec.training.text_reader import TextReader

SEQUENCE = "(sequence)"
"""Name of the loss of the next event after each event; no task can have this name."""
SEQUENCE_WEIGHT = 0.5
"""Its weight; a retrieval task has 1."""


class Scorer(Protocol):
    """What training and evaluation need of a model, teacher or student. Shapes as in `Student`."""

    def encode_items(self, as_of: ItemsAsOf, about: Tensor | None = None) -> Items: ...
    def score_catalog(self, batch: RequestBatch, items: Items, tasks: Sequence[int] | None = None) -> Tensor: ...
    def score_rows(self, batch: RequestBatch, candidate: Tensor, items: Items) -> Tensor: ...
    def score_related(self, query: Tensor, items: Items) -> Tensor: ...


Loss: TypeAlias = "Callable[[Tensor, Tensor], Tensor]"
"""Of predictions and targets, both (B,)."""
Labels = Literal["hard", "soft", "top"]
"""Labels of the log, scores of a teacher, or the order of a teacher's best items."""
NEIGHBOURS, ALIGNMENT = "(neighbours)", "(alignment)"
"""Names of the losses that compare item vectors with a teacher's."""
ALIGNED_UNTIL = 0.6
"""Part of the training in which vectors are pulled to the teacher's; the pull fades to 0 by its end."""
ITEMS = 256
"""Items of a step whose vectors are compared with a teacher's."""
MOST_LOGITS = 2**26
"""Logits in memory while a catalogue is scored; a batch that has more is scored one part after another."""


@dataclass(frozen=True)
class Terms:
    """What is learned from, and the weight of each term; 0 leaves it out.

    Where there is no teacher, the log's labels alone count. See `DistillationConfig`.
    """

    hard: float = 1.0
    hard_impressions: float = 1.0
    probabilities: float = 0.0
    listwise: float = 0.0
    top_list: float = 0.0
    neighbours: float = 0.0
    alignment: float = 0.0
    temperature: float = 1.0
    confidence: bool = False
    qat: float = 0.0
    """Last part of the training, from 0 to 1, in which the student's table is rounded as in the bundle."""


@dataclass(frozen=True)
class LossPart:
    """A part of a task's loss: `weight` times a `mean` over `count` examples."""

    task: str
    labels: Labels
    weight: float
    mean: Tensor
    count: Tensor


class JointTraining(nn.Module):
    """A model with the losses of all its tasks.

    Args:
        n_seen: see `Examples`.
        terms: of the loss.
        regression_losses: of the regression tasks, by task; the Huber loss for those that are left out.
        reader: of the items' texts, where the language model learns along.
        vectors: a teacher's vectors of the items, float32 (N, D), rows of length 1; needed by the terms on them.
        most_logits: held in memory at once.

    Attributes:
        alter: applied to the encoded items before anything is scored; adversarial training sets it.
    """

    def __init__(
        self,
        model: nn.Module,
        tasks: Sequence[Task],
        n_seen: int,
        terms: Terms | None = None,
        regression_losses: Mapping[str, Loss] | None = None,
        reader: TextReader | None = None,
        vectors: npt.NDArray[np.float32] | None = None,
        most_logits: int = MOST_LOGITS,
    ) -> None:
        super().__init__()
        self.reader, self.most_logits = reader, most_logits
        self.regression_losses = regression_losses or {}
        self.model, self.tasks, self.n_seen = model, list(tasks), n_seen
        self.terms = Terms() if terms is None else terms
        self.scored = scored_tasks(tasks)
        self.retrieval = [i for i, t in enumerate(self.scored) if t.kind == "retrieval"]
        self.related = [t for t in tasks if t.kind == "related"]
        self.alter: Callable[[Items], Items] | None = None
        # A uniform guess over the catalogue loses log N: in its unit, ranking weighs about as much as a probability.
        unit = 1 / math.log(max(n_seen, 3))
        self.weights = {t.name: t.weight * (unit if t.kind in ("retrieval", "related") else 1.0) for t in tasks}
        self.sequence = isinstance(model, Teacher) and model.sequence is not None and bool(self.retrieval)
        if self.sequence:
            self.weights[SEQUENCE] = unit * SEQUENCE_WEIGHT
        self.register_buffer("vectors", None if vectors is None else torch.from_numpy(vectors), persistent=False)
        self.register_buffer("fading", torch.tensor(1.0), persistent=False)
        self.projection: nn.Linear | None = None
        if vectors is not None and self.terms.neighbours:
            self.weights[NEIGHBOURS] = self.terms.neighbours * unit
        if vectors is not None and self.terms.alignment:
            self.weights[ALIGNMENT] = self.terms.alignment
            self.projection = nn.Linear(cast(Student, model).sizes.dim, vectors.shape[1], bias=False)

    def at(self, done: float) -> None:
        """Say how much of the training is done, from 0 to 1: some terms come late, others go early."""
        if self.projection is not None:
            cast(Tensor, self.fading).fill_(max(0.0, 1 - done / ALIGNED_UNTIL))
        if isinstance(self.model, Student):
            self.model.qat = done >= 1 - self.terms.qat and self.terms.qat > 0

    @property
    def scorer(self) -> Scorer:
        """The model, by what it can do."""
        return cast(Scorer, self.model)

    def shared(self) -> list[nn.Parameter]:
        """The parameters at which the tasks' gradients are compared: the model's choice, or all."""
        choice = getattr(self.model, "shared_parameters", self.model.parameters)
        return list(choice())

    def forward(self, batch: JointBatch) -> list[LossPart]:
        """The parts of the loss of each task that the batch holds examples of."""
        parts: list[LossPart] = []
        with self._read_anew(batch):
            if batch.sessions is not None:
                parts += self._sessions(batch.sessions)
            if batch.impressions is not None:
                parts += self._impressions(batch.impressions)
        return parts

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

    def total(self, values: dict[str, Tensor]) -> Tensor:
        """The sum of the losses of tasks by the tasks' own weights."""
        return torch.stack([self.weights[name] * loss for name, loss in values.items()]).sum()

    def _items(self, as_of: ItemsAsOf, about: Tensor | None = None) -> Items:
        items = self.scorer.encode_items(as_of, about)
        return items if self.alter is None else self.alter(items)

    def _sessions(self, batch: SessionBatch) -> list[LossPart]:
        items = self._items(batch.as_of)
        logits = len(batch.requests.item) * max(len(self.retrieval), 1) * len(items[0])
        n_pieces = -(-logits // self.most_logits)
        pieces = [batch.part(i, n_pieces) for i in range(n_pieces)]
        if len(pieces) == 1:
            parts = self._sessions_at_once(batch, items)
        else:
            # Scores are computed once more in the backward pass, so that only those of one piece are in memory.
            each = [checkpoint(self._sessions_at_once, p, items, use_reentrant=False) for p in pieces if p is not None]
            parts = together([part for of_piece in each for part in of_piece])
        if self.vectors is not None and self.training:
            parts += self._vectors(_about(JointBatch(batch, None)), items)
        return parts

    def _sessions_at_once(self, batch: SessionBatch, items: Items) -> list[LossPart]:
        parts = []
        if self.sequence and self.training:
            logits, read = cast(Teacher, self.model).score_sessions(batch.requests, items, self.retrieval)
            assert read is not None
            parts.append(self._next_items(read, items))
        else:
            logits = self.scorer.score_catalog(batch.requests, items, self.retrieval)
        for r, i in enumerate(self.retrieval):
            task, own = self.scored[i], logits[:, r]
            if task.repeats == "exclude":
                own = exclude_history(own, batch.requests)
            soft = None if batch.soft is None else batch.soft[r]
            parts += self._listwise(task, own, batch.owner[r], batch.item[r], soft)
        if batch.related is not None:
            for task in self.related:
                parts += self._pairs(task, batch.related, items)
        return parts

    def _impressions(self, batch: ImpressionBatch) -> list[LossPart]:
        items = self._items(batch.as_of, _read_of(batch))
        logits = self.scorer.score_rows(batch.requests, batch.candidate, items)
        log_p = losses.conditional_log_probs(logits, self.scored)
        count = torch.tensor(float(len(batch.candidate)))
        parts = []
        for i, task in enumerate(self.scored):
            if task.kind == "retrieval":
                continue
            loss_of = (
                losses.binary if task.kind == "binary" else self.regression_losses.get(task.name, losses.regression)
            )
            hard = LossPart(task.name, "hard", 1.0, loss_of(log_p[:, i], batch.labels[:, i]), count)
            if batch.soft is None or not self.terms.probabilities:
                parts.append(hard)
                continue
            soft_loss = losses.binary_soft if task.kind == "binary" else loss_of
            soft = soft_loss(log_p[:, i], batch.soft[:, i])
            parts += [
                replace(hard, weight=self.terms.hard_impressions),
                LossPart(task.name, "soft", self.terms.probabilities, soft, count),
            ]
        return parts

    def _next_items(self, read: Read, items: Items) -> LossPart:
        states, target = read.next_items()
        loss = losses.next_items(states, target, items[0][: self.n_seen])
        return LossPart(SEQUENCE, "hard", 1.0, loss, torch.tensor(float(min(len(target), losses.POSITIONS))))

    def _pairs(self, task: Task, batch: PairBatch, items: Items) -> list[LossPart]:
        logits = self.scorer.score_related(batch.query, items).scatter(1, batch.query.unsqueeze(1), losses.NEVER)
        return self._listwise(task, logits, batch.owner, batch.item, batch.soft)

    def _listwise(
        self, task: Task, logits: Tensor, owner: Tensor, item: Tensor, soft: SoftBatch | None
    ) -> list[LossPart]:
        own, t = logits[:, : self.n_seen], self.terms
        hard = LossPart(task.name, "hard", 1.0, losses.listwise(own, owner, item), losses.owners(owner, len(own)))
        if soft is None or not (t.listwise or t.top_list):
            return [hard]
        listed, weights, count = soft.listed(own), soft.log_weight, torch.tensor(float(len(own)))
        # Items that may not be recommended are not in the teacher's list either.
        scores = soft.scores.masked_fill(listed <= losses.NEVER / 2, losses.NEVER)
        parts = [replace(hard, weight=t.hard)]
        if t.listwise:
            sure = losses.confidence(scores, t.temperature, weights) if t.confidence and len(own) else None
            mean = losses.listwise_soft(listed, scores, t.temperature, weights, sure)
            parts.append(LossPart(task.name, "soft", t.listwise, mean, count))
        if t.top_list:
            parts.append(LossPart(task.name, "top", t.top_list, losses.top_list(listed, scores, weights), count))
        return parts

    def _vectors(self, about: Tensor, items: Items) -> list[LossPart]:
        """Compare the student's vectors of the items of a step with those of the teacher's networks."""
        item = torch.unique(about)
        if len(item) > ITEMS:
            item = item[torch.randperm(len(item), device=item.device)[:ITEMS]]
        teacher, table, count = cast(Tensor, self.vectors), items[0][: self.n_seen], torch.tensor(float(len(item)))
        parts = []
        if NEIGHBOURS in self.weights:
            mean = losses.neighbours(table[item], table, teacher[: self.n_seen], item)
            parts.append(LossPart(NEIGHBOURS, "soft", 1.0, mean, count))
        if self.projection is not None:
            mean = cast(Tensor, self.fading) * losses.alignment(self.projection(table[item]), teacher[item])
            parts.append(LossPart(ALIGNMENT, "soft", 1.0, mean, count))
        return parts


def _about(batch: JointBatch) -> Tensor:
    """The items of a step: consumed in its sessions, candidates of its impressions, or queries of related items."""
    items = []
    if batch.sessions is not None:
        items += [*batch.sessions.item, *([] if batch.sessions.related is None else [batch.sessions.related.query])]
    if batch.impressions is not None:
        items.append(batch.impressions.candidate)
    return torch.cat(items)


def _read_of(batch: ImpressionBatch) -> Tensor | None:
    """The items that a batch of impressions reads: its candidates and those of the pasts.

    None: all. A sequence reads others, and a compiled step wants one shape.
    """
    if batch.requests.latest is not None or torch.compiler.is_compiling():
        return None
    read = torch.zeros(len(batch.as_of.statistics), dtype=torch.bool, device=batch.candidate.device)
    read[batch.candidate] = True
    read[batch.requests.item.flatten()] = True
    return read.nonzero()[:, 0]


def joined(parts: Sequence[LossPart]) -> dict[str, Tensor]:
    """The loss of each task, from its parts."""
    values: dict[str, Tensor] = {}
    for part in parts:
        value = part.weight * part.mean
        values[part.task] = values[part.task] + value if part.task in values else value
    return values


def together(parts: Sequence[LossPart]) -> list[LossPart]:
    """The parts of several batches as those of one: means over all their examples."""
    groups: dict[tuple[str, Labels], list[LossPart]] = {}
    for part in parts:
        groups.setdefault((part.task, part.labels), []).append(part)
    merged = []
    for same in groups.values():
        counts = torch.stack([p.count.to(p.mean.device) for p in same])
        mean = (torch.stack([p.mean for p in same]) * counts).sum() / counts.sum().clamp(min=1)
        merged.append(replace(same[0], mean=mean, count=counts.sum()))
    return merged


def exclude_history(logits: Tensor, requests: RequestBatch) -> Tensor:
    """`logits` (B, N) with the items of each request's history at `losses.NEVER`."""
    owner, place = requests.present.nonzero(as_tuple=True)
    never = logits.new_tensor(losses.NEVER)
    return logits.index_put((owner, requests.item[owner, place]), never)
