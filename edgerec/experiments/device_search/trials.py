"""The work of a bundle, from its settings alone: nothing is trained for it."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from edgerec.bundle.size import bundle_size
from edgerec.compression.export import ExportedStudent, export_student
from edgerec.compression.graphs import Expectation
from edgerec.compression.pruning import left_of
from edgerec.compression.quantization import write_graphs
from edgerec.compression.storage import LEVELS_OF_4
from edgerec.compression.workload import Workload, macs
from edgerec.config import Config
from edgerec.devices import load_profile
from edgerec.distillation.student import sizes_of
from edgerec.models.inputs import ItemFeatures, Shape
from edgerec.models.student import Student, StudentSizes
from edgerec.tasks import Task, scored_tasks


def final_sizes(config: Config) -> StudentSizes:
    """The widths of a student after pruning."""
    whole = sizes_of(config.student)
    levels = LEVELS_OF_4 if config.quantization.table == "int4" else whole.levels
    return replace(whole, **left_of(config.pruning, whole, 1.0), levels=levels)


def kernel_asked(config: Config) -> str:
    """The kernel that the settings ask for."""
    asked = config.quantization.kernel
    return load_profile(config.device).kernel if asked == "auto" else asked


class Untrained:
    """Students with random weights, exported once for each set of widths.

    Every tensor is random, so that no two are equal by chance and stored as one.
    """

    def __init__(self, shape: Shape, features: ItemFeatures, tasks: tuple[Task, ...]) -> None:
        self.shape, self.features, self.tasks = shape, features, tasks
        self._exported: dict[StudentSizes, ExportedStudent] = {}

    def exported(self, sizes: StudentSizes) -> ExportedStudent:
        """A student of these widths."""
        same = replace(sizes, levels=StudentSizes.levels, factor=0)  # neither changes the graph
        if same not in self._exported:
            torch.manual_seed(0)
            student = Student(self.shape, self.features, len(scored_tasks(self.tasks)), same)
            with torch.no_grad():
                for parameter in student.parameters():
                    parameter.normal_(std=0.1)
                student.step.zero_()
            statistics = np.zeros((self.shape.n_items, self.shape.statistics), np.float32)
            self._exported[same] = export_student(student, statistics, self.tasks)
        return self._exported[same]

    def expectations(self) -> dict[str, Expectation]:
        """The same for every regression target."""
        return {t.name: Expectation(1.0, 0.0, 1.0) for t in self.tasks if t.kind == "regression"}

    def work(self, config: Config, n_items: int) -> Workload:
        """The bytes and operations of the bundle of these settings, with so many items."""
        sizes, kernel = final_sizes(config), kernel_asked(config)
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            exported = longer(self.exported(sizes), n_items)
            write_graphs(exported, kernel, config.quantization.table, self.expectations(), place)
            weight = bundle_size(place).model
        return self.counted(sizes, kernel, weight, n_items)

    def counted(self, sizes: StudentSizes, kernel: str, weight: int, n_items: int) -> Workload:
        """The work of a bundle whose model has `weight` bytes, for `n_items` items."""
        tasks = len(scored_tasks(self.tasks))
        return Workload(kernel, n_items, weight, n_items * sizes.dim, n_items * tasks, macs(self.shape, sizes, tasks))


def longer(exported: ExportedStudent, n_items: int) -> ExportedStudent:
    """The same request tower over an item table of `n_items` rows, which repeats the rows there are."""
    again = np.arange(n_items) % len(exported.table)
    return replace(
        exported,
        table=exported.table[again],
        scales=exported.scales[again],
        prior=exported.prior[:, again],
        transitions=None if exported.transitions is None else exported.transitions[again],
        transition_weight=None if exported.transition_weight is None else exported.transition_weight[again],
        relation_prior=None if exported.relation_prior is None else exported.relation_prior[again],
    )
