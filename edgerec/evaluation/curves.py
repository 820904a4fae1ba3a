"""Learning curves, read from the event files that training wrote."""

from __future__ import annotations

from pathlib import Path

__all__ = ["read_curves"]

Curve = list[tuple[int, float]]
PLACES = {"teacher": "teacher/choose-log", "student": "student/student-log"}
"""The network whose early stopping was decided on the validation split, and the student."""
NOT_LOSSES = ("train/gradient_norm", "train/learning_rate")
MAX_POINTS = 200


def read_curves(run_dir: Path) -> dict[str, dict[str, Curve]]:
    """Losses by stage and name: (step, value); a stage without event files has none."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    by_stage: dict[str, dict[str, Curve]] = {}
    for stage, place in PLACES.items():
        if not (run_dir / place).is_dir():
            continue
        events = EventAccumulator(str(run_dir / place))
        events.Reload()
        curves = {}
        for name in events.Tags()["scalars"]:
            # A task without rows in a step has a loss of exactly 0 there.
            points = [(int(e.step), float(e.value)) for e in events.Scalars(name) if e.value != 0]
            if name.startswith(("train/", "valid/")) and name not in NOT_LOSSES and len(points) > 1:
                curves[name] = points[:: max(len(points) // MAX_POINTS, 1)]
        by_stage[stage] = curves
    return by_stage
