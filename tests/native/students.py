"""Students with random weights, and requests to them."""

from __future__ import annotations

import numpy as np
import torch

from edgerec.compression.export import export_student
from edgerec.compression.graphs import Expectation
from edgerec.compression.quantization import write_graphs
from edgerec.models.inputs import ItemFeatures, Shape
from edgerec.models.student import Student, StudentSizes
from edgerec.tasks import Task, scored_tasks

TASKS = (
    Task("next", "retrieval"),
    Task("new", "retrieval", repeats="exclude"),
    Task("click", "binary"),
    Task("like", "binary", after="click"),
    Task("watch", "regression"),
    Task("related", "related"),
)


def random_student(folder, n, categories, storage, tasks, **sizes):
    """Files of a student with random weights; its graphs are the judge."""
    torch.manual_seed(n)
    shape = Shape(n, 4, categories, 9, (), 0, 0, 4)
    features = ItemFeatures(torch.zeros(n, 0), torch.zeros(n, 0, dtype=torch.int64), torch.zeros(n, 0))
    student = Student(shape, features, len(scored_tasks(tasks)), StudentSizes(**sizes))
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.normal_(std=0.2)
        student.step.zero_()
    if student.transitions is not None:
        student.transitions.item.copy_(torch.randint(n, student.transitions.item.shape))
    exported = export_student(student, np.random.default_rng(n).normal(size=(n, 4)).astype(np.float32), tasks)
    expectations = {t.name: Expectation(0.3, 1.0, 50.0) for t in tasks if t.kind == "regression"}
    write_graphs(exported, "u8s8", storage, expectations, folder)


def random_requests(n, categories, tasks, count=40):
    """Histories of 0 to 70 items, some of them long ago."""
    rng = np.random.default_rng(1)
    for number in range(count):
        events = int(rng.integers(70)) if number else 0
        yield {
            "history": rng.permutation(n)[:events],
            "history_kind": rng.integers(4, size=events),
            "history_count": rng.integers(1, 5, events).astype(np.float32),
            "history_age_h": np.sort(rng.exponential(300, events).astype(np.float32))[::-1].copy(),
            "history_interval_h": rng.exponential(50, events).astype(np.float32),
            "context_categorical": np.array([rng.integers(size) for size in categories], np.int64),
            "context_numeric": rng.normal(size=9).astype(np.float32),
            "task_weights": rng.normal(size=tasks).astype(np.float32) if number % 3 else np.ones(tasks, np.float32),
            "exclude": rng.permutation(n)[: rng.integers(n // 2)],
            "k": np.array(20),
        }


NARROW = {"heads": 2, "inner": 12, "context": 20, "pooling": 17, "repeat": 9, "head": 33, "item": 8}
WIDE = {"heads": 4, "inner": 96, "context": 300, "pooling": 64, "repeat": 31, "head": 80, "item": 8}
