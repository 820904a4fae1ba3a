"""`edgerec.toml` as frozen, checked settings: read whole and validated before any work.

Each section is one class here; its fields are the section's keys, documented with unit and default.
"""

from edgerec.config.base import Settings, duration_ms, nearest
from edgerec.config.data import ContextConfig, DataConfig, GraphConfig, ItemsConfig, SplitConfig, UsersConfig
from edgerec.config.policy import PolicyConfig
from edgerec.config.stages import (
    SIZES,
    DistillationConfig,
    EnsembleConfig,
    EvaluationConfig,
    PruningConfig,
    QuantizationConfig,
    StudentConfig,
    TeacherConfig,
    TrainingConfig,
)
from edgerec.config.tasks import MAX_BINARY_TASKS, TaskConfig
from edgerec.config.tuning import Range, Scalar, TuningConfig, coerced, grid_values, lower_is_better
from edgerec.config.whole import Config

__all__ = [
    "MAX_BINARY_TASKS",
    "SIZES",
    "Config",
    "ContextConfig",
    "DataConfig",
    "DistillationConfig",
    "EnsembleConfig",
    "EvaluationConfig",
    "GraphConfig",
    "ItemsConfig",
    "PolicyConfig",
    "PruningConfig",
    "QuantizationConfig",
    "Range",
    "Scalar",
    "Settings",
    "SplitConfig",
    "StudentConfig",
    "TaskConfig",
    "TeacherConfig",
    "TrainingConfig",
    "TuningConfig",
    "UsersConfig",
    "coerced",
    "duration_ms",
    "grid_values",
    "lower_is_better",
    "nearest",
]
