"""The whole of `edgerec.toml`: read, checked section by section, then across sections."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, PrivateAttr, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from edgerec.config.base import Name, Settings, hint, problem
from edgerec.config.data import DataConfig
from edgerec.config.effort import Effort
from edgerec.config.messages import explain
from edgerec.config.policy import PolicyConfig
from edgerec.config.renamed import with_new_names
from edgerec.config.stages import (
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
from edgerec.config.tuning import TuningConfig, check_tuning
from edgerec.errors import ConfigError

if TYPE_CHECKING:
    from edgerec.tasks import Task


class Config(Settings):
    """A whole settings file."""

    name: Name
    """Name of the run's folder and of the bundle."""
    device: str = "kiosk-x86"
    """Name of a device profile, see `edgerec devices`, or the path of one."""
    version: int = Field(1, ge=1)
    """Version of the bundle. A device accepts only a higher one, so raise it with every release."""
    seed: int = Field(0, ge=0)
    """Seed of all random numbers."""
    effort: Effort = "normal"
    """How much is learned where these settings do not say, by the size of the log. quick: a first result in minutes;
    normal: what pays; full: all defaults, however long they take. What a setting says always holds."""
    data: DataConfig
    """The log and the tables beside it."""
    task: tuple[TaskConfig, ...] = ()
    """The prediction tasks; at least one."""
    evaluation: EvaluationConfig = EvaluationConfig()
    teacher: TeacherConfig = TeacherConfig()
    ensemble: EnsembleConfig = EnsembleConfig()
    training: TrainingConfig = TrainingConfig()
    student: StudentConfig = StudentConfig()
    distillation: DistillationConfig = DistillationConfig()
    pruning: PruningConfig = PruningConfig()
    quantization: QuantizationConfig = QuantizationConfig()
    policy: PolicyConfig = PolicyConfig()
    tuning: TuningConfig = TuningConfig()

    _folder: Path = PrivateAttr(default_factory=Path)

    @classmethod
    def load(cls, path: str | Path) -> Config:
        """Read and check a settings file.

        Raises:
            ConfigError: the file is missing or not TOML, a key is unknown, or a value is not valid.
        """
        path = Path(path)
        try:
            values = tomllib.loads(path.read_text("utf-8-sig"))
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such file; write one with: edgerec init LOG") from None
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: is not valid TOML: {error}") from None
        return cls.of(values, folder=path.parent, source=path.name)

    @classmethod
    def of(cls, values: dict[str, Any], folder: Path = Path(), source: str = "settings") -> Config:
        """Check settings that are already parsed; paths in them are relative to `folder`.

        Raises:
            ConfigError: as in `load`; `source` is what the message calls the settings.
        """
        try:
            values = with_new_names(values, source)
            config = cls.model_validate(values)
        except PydanticCustomError as error:
            raise ConfigError(f"{source}: {error.message()}") from None
        except ValidationError as error:
            raise ConfigError(f"{source}: {explain(error, values, cls)}") from None
        config._folder = folder
        return config

    @property
    def tasks(self) -> tuple[Task, ...]:
        """All tasks, in the order of the file."""
        return tuple(task.to_task() for task in self.task)

    @property
    def sections(self) -> dict[str, Settings]:
        """Every section by its name."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: section for name, section in values.items() if isinstance(section, Settings)}

    def resolve(self, path: str) -> str:
        """A path of the settings, relative to the current folder; a glob stays a glob."""
        return str(self._folder / path)

    @model_validator(mode="after")
    def _tasks_fit_together(self) -> Self:
        if not self.task:
            raise problem('there is no [[task]]; add at least one, such as name = "next", kind = "retrieval"')
        seen: dict[str, str] = {}
        for task in self.task:
            if task.name in seen:
                raise problem(f"[[task]] {task.name}: two tasks have this name; rename one")
            if task.after is not None and seen.get(task.after) != "binary":
                raise problem(
                    f"[[task]] {task.name}: after = {task.after!r} is not an earlier binary task"
                    + hint(task.after, [name for name, kind in seen.items() if kind == "binary"])
                )
            if task.kind == "related" and self.data.session is None:
                raise problem(f"[[task]] {task.name}: a related task needs sessions; set session in [data]")
            seen[task.name] = task.kind
        if set(seen.values()) == {"related"}:
            raise problem(
                "[[task]]: related tasks alone recommend nothing to a user; add one that does, such as "
                'name = "next", kind = "retrieval"'
            )
        if sum(kind == "binary" for kind in seen.values()) > MAX_BINARY_TASKS:
            raise problem(f"[[task]]: expected at most {MAX_BINARY_TASKS} binary tasks, got more; leave some out")
        return self

    @model_validator(mode="after")
    def _search_fits(self) -> Self:
        check_tuning(self.tuning, self.sections, self.task, self.evaluation.k)
        return self

    @model_validator(mode="after")
    def _no_feature_leaks_a_label(self) -> Self:
        after = dict.fromkeys(self.data.after, "is listed in [data] after")
        if self.data.propensity is not None:
            after[self.data.propensity] = "is the propensity of [data]"
        labels = {
            column: f"is part of the label of task {task.name!r}"
            for task in reversed(self.task)
            if task.label is not None
            for column in identifiers(task.label)
        }
        data = self.data
        for section, columns in {
            "[data] context": data.context.categorical + data.context.numeric,
            "[data.items]": data.items.columns,
            "[data.users]": data.users.columns,
        }.items():
            for column in columns:
                if why := (labels | after).get(column):
                    raise problem(
                        f"{section}: column {column!r} cannot be a feature: it {why}, so it is known only after the "
                        "exposure; remove it from the features"
                    )
        return self


def identifiers(expression: str) -> set[str]:
    """Names that an SQL expression may read, without strings and functions; it may contain keywords."""
    bare = re.sub(r"'(?:[^']|'')*'", " ", expression)
    quoted = set(re.findall(r'"([^"]+)"', bare)) | set(re.findall(r"`([^`]+)`", bare))
    unquoted = re.findall(r"[^\W\d]\w*(?!\w*\s*\()", re.sub(r'"[^"]*"|`[^`]*`', " ", bare))
    return quoted | set(unquoted) | {expression}
