"""The pruning stage: cuts the student and lets it recover on the teacher's labels."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edgerec.bundle.manifest import FallbackEntry
from edgerec.compression.catalog_filter import ban, never_shown
from edgerec.compression.pruning import bundle_parameters, pruned_student
from edgerec.distillation.fallback import fall_back
from edgerec.models.student import StudentSizes
from edgerec.stages.labels import labelled_examples
from edgerec.stages.run import Run
from edgerec.training.calibrate import calibrated
from edgerec.training.checkpoint import load_student, save_student


@dataclass(frozen=True)
class PruneReport:
    """Parameters of the request tower and the item table before and after, and the widths that are left.

    `never_shown`: number of items that leave the bundle. `fallback`: the tasks that simple baselines rank.
    """

    before: int
    after: int
    sizes: StudentSizes
    never_shown: int = 0
    fallback: Mapping[str, FallbackEntry] = field(default_factory=dict)

    def lines(self) -> Sequence[str]:
        """For the screen."""
        s = self.sizes
        gone = [f"{self.never_shown:,} items that are never recommended leave the bundle"] if self.never_shown else []
        return [
            f"pruned: {self.before:,} -> {self.after:,} parameters in the bundle; {s.dim} dimensions, {s.heads} heads, "
            f"hidden units {s.inner}/{s.context}/{s.pooling}/{s.repeat}/{s.head} (context, its output, attention, "
            "repeat, head)",
            *gone,
            *(f"{task}: {fallback}" for task, fallback in self.fallback.items()),
        ]


def prune(run: Run) -> PruneReport:
    """Prune the student of a run as ``[pruning]`` says, and let it recover on the teacher's labels."""
    config = run.config
    work = run.work_folder("pruned", ("teacher", "student", "distillation", "pruning", "quantization"))
    data = run.learning_data()
    student = load_student(run.folder / "student", data.shape, data.features, config.distillation.dropout)
    examples, _ = labelled_examples(run, data)
    four_bits = config.quantization.table == "int4"
    pruned = pruned_student(
        config.pruning, run.student_settings, four_bits, data, examples, student, work, run.progress
    )
    with run.progress.track(None, "comparing with simple baselines"):
        pruned, fallbacks = fall_back(pruned, data, config.seed)
    with run.progress.track(None, "calibrating"):
        expectations = calibrated(pruned, data, config.seed)
    gone = never_shown(config.pruning.never_shown, data.dataset, run.part, data.n_items)
    ban(pruned, gone)
    out = run.folder / "pruned"
    shutil.rmtree(out, ignore_errors=True)
    facts = {
        "expectations": expectations,
        "never_shown": gone.tolist(),
        "fallback": {task: fallback._asdict() for task, fallback in fallbacks.items()},
    }
    save_student(pruned, out, facts)
    shutil.rmtree(work)
    return PruneReport(
        bundle_parameters(student), bundle_parameters(pruned, len(gone)), pruned.sizes, len(gone), fallbacks
    )
