"""The three graphs of a bundle, written by hand around the exported request tower."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from edgerec.compression.export import TOWER_INPUTS, ExportedStudent
from edgerec.compression.graph import GraphBuilder
from edgerec.compression.kernels import Kernel, make_kernel
from edgerec.compression.rows import quantize_rows
from edgerec.tasks import Task

Float = npt.NDArray[np.float32]

I64, F32 = TensorProto.INT64, TensorProto.FLOAT
BLOCKS = range(512, 127, -1)
"""Sizes of a block that are tried, the largest first: one that divides the catalogue needs no copy for padding."""
BLOCK = 256
"""Size of a block if none of these divides the catalogue."""
BLOCKS_FROM = 32_768
"""Items from which the top k are found block by block."""
NEVER = -1e4
"""Added to the logit of an item that must not be repeated."""


@dataclass(frozen=True)
class Expectation:
    """The expected value of a regression task with logit z, in its unit: ``min(exp(slope * z + offset), cap)``."""

    slope: float
    offset: float
    cap: float


@dataclass(frozen=True)
class ItemTable:
    """What every graph reads: the item table in a kernel, and the priors of the tasks and of the related task."""

    table: Kernel
    prior: Prior
    relation_prior: Prior | None

    @classmethod
    def of(cls, student: ExportedStudent, kernel: str = "u8s8", storage: str = "int8") -> ItemTable:
        """Quantize a student's table and priors; `kernel` and `storage` as for `make_kernel`."""
        kind = FloatPrior if kernel == "fp32" else Int8Prior.of
        relation = None if student.relation_prior is None else kind(student.relation_prior[None])
        return cls(make_kernel(kernel, storage, student.table, student.scales), kind(student.prior), relation)

    @property
    def n_items(self) -> int:
        """Rows of the table."""
        return self.prior.n_items


class Prior(Protocol):
    """What each task adds to each item's logit, (T, N)."""

    @property
    def n_items(self) -> int:
        """N."""

    def value(self, g: GraphBuilder, name: str) -> str:
        """Its name in a graph, float32 (T, N)."""


@dataclass(frozen=True)
class FloatPrior:
    """A prior in float32 (T, N)."""

    values: Float

    @property
    def n_items(self) -> int:
        return int(self.values.shape[1])

    def value(self, g: GraphBuilder, name: str) -> str:
        return g.constant(name, self.values)


@dataclass(frozen=True)
class Int8Prior:
    """A prior in INT8, in even steps between each task's extremes; a session unpacks it once, when it is opened.

    Attributes:
        codes: int8 (T, N). scale, middle: float32 (T, 1).
    """

    codes: npt.NDArray[np.int8]
    scale: Float
    middle: Float

    @classmethod
    def of(cls, prior: Float) -> Int8Prior:
        """Quantize a prior (T, N)."""
        low, high = prior.min(axis=1, keepdims=True), prior.max(axis=1, keepdims=True)
        middle = (low + high) / 2
        codes, scale = quantize_rows(prior - middle)
        return cls(codes, scale[:, None], middle.astype(np.float32))

    @property
    def n_items(self) -> int:
        return int(self.codes.shape[1])

    def value(self, g: GraphBuilder, name: str) -> str:
        wide = g.add("Cast", g.constant(name, self.codes), to=F32)
        scaled = g.add("Mul", wide, g.constant(f"{name}_scale", self.scale, exact=True))
        return g.add("Add", scaled, g.constant(f"{name}_middle", self.middle, exact=True))


def recommend_graph(
    student: ExportedStudent, items: ItemTable, expectations: Mapping[str, Expectation]
) -> GraphBuilder:
    """history, context, weights, exclude -> the best k items with utility, probabilities and reasons."""
    g = GraphBuilder("recommend")
    request = _Request(g, student, items)
    exclude = g.input("exclude", I64, ["E"])
    k = g.input("k", I64, [])
    probability = _probabilities(g, request.logits(), student.tasks, expectations)
    utility = g.add("Squeeze", g.add("MatMul", request.weights_row, probability), g.ints(0))
    utility = _mask(g, utility, exclude)
    best, item = top_k(g, utility, k, items.n_items)
    g.output(item, "item", I64, ["k"])
    g.output(best, "utility", F32, ["k"])
    g.output(_of_items(g, probability, item), "probability", F32, ["k", len(student.tasks)])
    g.output(request.reasons(item), "reason", F32, ["k", "L"])
    return g


def score_graph(student: ExportedStudent, items: ItemTable, expectations: Mapping[str, Expectation]) -> GraphBuilder:
    """The same for given candidates. It scores the whole catalogue, over which retrieval probabilities are a
    softmax."""
    g = GraphBuilder("score")
    request = _Request(g, student, items)
    candidates = g.input("candidates", I64, ["M"])
    probability = _probabilities(g, request.logits(), student.tasks, expectations)
    utility = g.add("Squeeze", g.add("MatMul", request.weights_row, probability), g.ints(0))
    g.output(g.add("Gather", utility, candidates), "utility", F32, ["M"])
    g.output(_of_items(g, probability, candidates), "probability", F32, ["M", len(student.tasks)])
    g.output(request.reasons(candidates), "reason", F32, ["M", "L"])
    return g


def similar_graph(student: ExportedStudent, items: ItemTable) -> GraphBuilder:
    """One item -> the k items that most likely share a session with it, and how likely."""
    assert student.relation is not None and items.relation_prior is not None
    g = GraphBuilder("similar")
    item, exclude, k = g.input("item", I64, []), g.input("exclude", I64, ["E"]), g.input("k", I64, [])
    query = g.add("Reshape", item, g.ints(1))
    vector = items.table.rows(g, query)
    user = g.add("MatMul", vector, g.constant("relation", student.relation.T.copy()))
    logits = items.table.scan(g, user, 1)
    logits = g.add("Add", logits, items.relation_prior.value(g, "relation_prior"))
    excluded = g.add("Concat", query, exclude, axis=0)
    logits = _mask(g, g.add("Squeeze", logits, g.ints(0)), excluded)
    score, related = top_k(g, g.add("Softmax", logits, axis=0), k, items.n_items)
    removed = g.add("Equal", g.add("Gather", logits, related), g.scalar(-np.inf))
    g.output(related, "related", I64, ["k"])
    g.output(g.add("Where", removed, g.scalar(-np.inf), score), "score", F32, ["k"])
    return g


def vectors_graph(items: ItemTable, dim: int) -> GraphBuilder:
    """Items -> their rows of the table, from which apps and diversity compute how similar items are."""
    g = GraphBuilder("vectors")
    g.output(items.table.rows(g, g.input("item", I64, ["M"])), "vector", F32, ["M", dim])
    return g


class _Request:
    """The inputs of a request, its tower, and the logits and reasons that follow."""

    def __init__(self, g: GraphBuilder, student: ExportedStudent, items: ItemTable) -> None:
        self.g, self.student, self.items = g, student, items
        used = {name for node in student.tower.node for name in node.input}
        feeds = {}
        for value in student.tower.input:
            if value.name == "vectors":
                continue
            sizes = [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
            shape = ["L" if isinstance(s, str) else s for s in sizes]
            if value.name in used or 0 not in shape:
                feeds[value.name] = g.input(value.name, value.type.tensor_type.elem_type, shape)
        self.history = g.input("history", I64, ["L"])
        self.vectors = items.table.rows(g, self.history)
        feeds["vectors"] = self.vectors
        assert set(feeds) <= set(TOWER_INPUTS)
        outputs = g.inline(student.tower, "tower/", feeds)
        self.user, self.repeat, self.follow, self.attention, self.linear, self.units, self.through = outputs
        self.weights_row = g.add("Unsqueeze", "task_weights", g.ints(0))

    def logits(self) -> str:
        """(T, N)."""
        g, tasks = self.g, self.student.tasks
        logits = self.items.table.scan(g, self.user, len(tasks))
        logits = g.add("Add", logits, self.items.prior.value(g, "prior"))
        never = np.array([[NEVER if t.repeats == "exclude" else 0.0] for t in tasks], np.float32)
        update = g.add("Transpose", self.repeat, perm=[1, 0])
        if never.any():
            update = g.add("Add", update, g.constant("never", never))
        index = g.add("Expand", g.add("Unsqueeze", self.history, g.ints(0)), g.add("Shape", update))
        logits = g.add("ScatterElements", logits, index, update, axis=1, reduction="add")
        return logits if self.student.transitions is None else self._with_transitions(logits)

    def _with_transitions(self, logits: str) -> str:
        """`logits` (T, N) plus what the history adds along its transitions."""
        g, tasks = self.g, len(self.student.tasks)
        item, weight = self._transitions()
        follow = g.add("Unsqueeze", g.add("Transpose", self.follow, perm=[1, 0]), g.ints(2))
        update = g.add("Reshape", g.add("Mul", follow, weight), g.ints(tasks, -1))
        index = g.add("Expand", g.add("Reshape", item, g.ints(1, -1)), g.add("Shape", update))
        return g.add("ScatterElements", logits, index, update, axis=1, reduction="add")

    def _transitions(self) -> tuple[str, str]:
        """Of each item of the history, the items of its transition list and their weights, both (L, K)."""
        g, item, weight = self.g, self.student.transitions, self.student.transition_weight
        assert item is not None and weight is not None
        codes, scales = quantize_rows(weight)
        short = item.astype(np.uint16) if len(item) <= 1 << 16 else item
        items = g.add("Cast", g.add("Gather", g.constant("followers", short), self.history), to=I64)
        rows = g.add("Cast", g.add("Gather", g.constant("follower_weights", codes), self.history), to=F32)
        steps = g.add("Gather", g.constant("follower_scales", scales[:, None], exact=True), self.history)
        return items, g.add("Mul", rows, steps)

    def reasons(self, item: str) -> str:
        """How much each past item added to the weighted logits of each `item`: (k, L).

        A past item acts through the attention (exact unless a unit of the head switches), on itself through the repeat
        term, and on the items of its transition list.
        """
        g, heads, dim = self.g, self.student.heads, self.student.table.shape[1]
        rows = self.items.table.rows(g, item)
        by_units = g.add("MatMul", g.add("MatMul", rows, self.units), self.through)
        moved = g.add("Add", g.add("MatMul", rows, self.linear), by_units)
        moved = g.add("Reshape", moved, g.ints(-1, heads, dim))
        dots = g.add("MatMul", moved, g.add("Transpose", self.vectors, perm=[1, 0]))
        attended = g.add("Mul", dots, g.add("Transpose", self.attention, perm=[1, 0]))
        through_attention = g.add("ReduceSum", attended, g.ints(1), keepdims=0)
        repeated = self._weighted(self.repeat)
        same = g.add("Equal", g.add("Unsqueeze", item, g.ints(1)), g.add("Unsqueeze", self.history, g.ints(0)))
        reasons = g.add("Add", through_attention, g.add("Where", same, repeated, g.scalar(0.0)))
        if self.student.transitions is None:
            return reasons
        transition, weight = self._transitions()
        same = g.add("Equal", g.add("Unsqueeze", item, g.ints(1, 2)), g.add("Unsqueeze", transition, g.ints(0)))
        strength = g.add("ReduceSum", g.add("Where", same, weight, g.scalar(0.0)), g.ints(2), keepdims=0)
        return g.add("Add", reasons, g.add("Mul", strength, self._weighted(self.follow)))

    def _weighted(self, added: str) -> str:
        """The weighted sum over the tasks of what past items add (L, T): (1, L)."""
        g = self.g
        weighted = g.add("MatMul", added, g.add("Unsqueeze", "task_weights", g.ints(1)))
        return g.add("Transpose", weighted, perm=[1, 0])


def _probabilities(
    g: GraphBuilder, logits: str, tasks: tuple[Task, ...], expectations: Mapping[str, Expectation]
) -> str:
    """(T, N) logits -> softmax over the catalogue, probabilities with those of conditional tasks, and expected
    values."""
    if all(t.kind == "retrieval" for t in tasks):  # without a split nothing is copied
        return g.add("Softmax", logits, axis=1)
    rows = g.add_many("Split", len(tasks), logits, axis=0, num_outputs=len(tasks)) if len(tasks) > 1 else [logits]
    by_task: dict[str, str] = {}
    for task, row in zip(tasks, rows, strict=True):
        if task.kind == "retrieval":
            by_task[task.name] = g.add("Softmax", row, axis=1)
        elif task.kind == "binary":
            own = g.add("Sigmoid", row)
            by_task[task.name] = own if task.after is None else g.add("Mul", own, by_task[task.after])
        else:
            e = expectations[task.name]
            # Named by task, not by value: so the size of a graph is known before its values are.
            slope, offset, cap = (
                g.constant(f"{task.name}_{name}", np.array(value, np.float32)) for name, value in vars(e).items()
            )
            line = g.add("Add", g.add("Mul", row, slope), offset)
            by_task[task.name] = g.add("Min", g.add("Exp", line), cap)
    return g.add("Concat", *by_task.values(), axis=0) if len(tasks) > 1 else by_task[tasks[0].name]


def _mask(g: GraphBuilder, values: str, excluded: str) -> str:
    """`values` (N,) with -inf at the indices `excluded`."""
    lowest = g.add("Expand", g.scalar(-np.inf), g.add("Shape", excluded))
    return g.add("ScatterElements", values, excluded, lowest, axis=0)


def _of_items(g: GraphBuilder, values: str, item: str) -> str:
    """Columns `item` (k,) of `values` (T, N), as (k, T)."""
    return g.add("Transpose", g.add("Gather", values, item, axis=1), perm=[1, 0])


def top_k(
    g: GraphBuilder,
    values: str,
    k: str,
    n: int,
    *,
    blocks_from: int = BLOCKS_FROM,
    exact_sizes: Iterable[int] = BLOCKS,
    other_size: int = BLOCK,
) -> tuple[str, str]:
    """The k largest of `values` (n,) and their indices, best first.

    In a large catalogue, from `blocks_from` items on, the k best lie in the k blocks with the best maxima, so only
    those are sorted. A block has the first of `exact_sizes` that divides `n`, or else `other_size` items.
    """
    count = g.add("Reshape", k, g.ints(1))
    if n < blocks_from:
        best, at = g.add_many("TopK", 2, values, count, axis=0)
        return best, at
    size = next((size for size in exact_sizes if n % size == 0), other_size)
    blocks = -(-n // size)
    padding = np.full(blocks * size - n, -np.inf, np.float32)
    padded = g.add("Concat", values, g.constant("padding", padding), axis=0) if len(padding) else values
    table = g.add("Reshape", padded, g.ints(blocks, size))
    maxima = g.add("ReduceMax", table, g.ints(1), keepdims=0)
    _, chosen = g.add_many("TopK", 2, maxima, g.add("Min", count, g.ints(blocks)), axis=0)
    candidates = g.add("Reshape", g.add("Gather", table, chosen, axis=0), g.ints(-1))
    best, at = g.add_many("TopK", 2, candidates, count, axis=0)
    block = g.add("Gather", chosen, g.add("Div", at, g.ints(size)))
    return best, g.add("Add", g.add("Mul", block, g.ints(size)), g.add("Mod", at, g.ints(size)))
