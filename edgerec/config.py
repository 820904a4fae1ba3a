"""`edgerec.toml` as frozen, checked settings: read whole and validated before any work.

Each section is one class here; its fields are the section's keys, documented with unit and default.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PrivateAttr,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from edgerec.errors import ConfigError

if TYPE_CHECKING:
    from edgerec.tasks import Task

__all__ = [
    "Config",
    "ContextConfig",
    "DataConfig",
    "DistillationConfig",
    "EvaluationConfig",
    "GraphConfig",
    "ItemsConfig",
    "PruningConfig",
    "QuantizationConfig",
    "Settings",
    "SplitConfig",
    "StudentConfig",
    "TaskConfig",
    "TeacherConfig",
    "UsersConfig",
    "duration_ms",
    "nearest",
]

Name = Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
TaskName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Columns = tuple[Annotated[str, Field(min_length=1)], ...]
Expression = Annotated[str, Field(min_length=1)]
"""A column of the log, or an SQL expression over its row (Polars SQL)."""

MAX_BINARY_TASKS = 8
"""An event's kind is a bit mask in one byte."""

_DURATION = re.compile(r"([1-9]\d*)(w|d|h|min)")
_UNIT_MS = {"w": 7 * 86_400_000, "d": 86_400_000, "h": 3_600_000, "min": 60_000}


class Settings(BaseModel):
    """A frozen section that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


# ---------------------------------------------------------------------------- [data]


class ContextConfig(Settings):
    """What is known about a request before anything is shown."""

    categorical: Columns = ()
    """Columns of the log with few values."""
    numeric: Columns = ()
    """Columns of the log with numbers, raw; a missing value stays missing."""
    from_time: tuple[Literal["hour", "weekday"], ...] = ()
    """Read off the row's time in the log's time zone; Monday is 0."""

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        names = [*self.categorical, *self.numeric, *self.from_time]
        for name in names:
            if names.count(name) > 1:
                raise _problem(f"{name!r} is named twice; leave one out")
        return self


class SplitConfig(Settings):
    """How the log is cut into train, valid and test."""

    by: Literal["time", "rows", "leave-last-out"] = "time"
    """time: cuts the calendar; rows: at quantiles of the rows' times; leave-last-out: each user's last two events."""
    valid: float | str | None = None
    """A duration ("28d", "12h", "4w") or a fraction of the span or rows, before the test part; 0.1 if left out."""
    test: float | str | None = None
    """A duration or a fraction, the last part; 0.1 if left out."""
    core: int = Field(0, ge=0)
    """leave-last-out: keep only users and items with at least this many rows among themselves; 0 keeps all."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        given = [value for value in (self.valid, self.test) if value is not None]
        if self.by == "leave-last-out":
            if given:
                raise _problem("takes no valid or test; leave-last-out always holds out one event each")
            return self
        if self.core:
            raise _problem('core is for by = "leave-last-out"; leave it out, or change by')
        for value in self.parts:
            if isinstance(value, str):
                duration_ms(value)
            elif not 0 < value < 1:
                raise _problem(f'expected a fraction between 0 and 1 or a duration such as "28d", got {value}')
        kinds = {isinstance(value, str) for value in self.parts}
        if len(kinds) == 2:
            raise _problem("expected valid and test both as durations or both as fractions")
        if self.by == "rows" and kinds == {True}:
            raise _problem('by = "rows" expects fractions such as valid = 0.1; durations need by = "time"')
        if kinds == {False} and sum(float(value) for value in self.parts) >= 1:
            raise _problem("valid and test leave nothing to train on; their sum must be below 1")
        return self

    @property
    def parts(self) -> tuple[float | str, float | str]:
        """(valid, test) with the default filled in."""
        return (0.1 if self.valid is None else self.valid, 0.1 if self.test is None else self.test)


class ItemsConfig(Settings):
    """Attributes of items."""

    path: str | None = None
    """A table with one row an item; left out, the attributes are taken from the log."""
    id: Expression | None = None
    """The item's id in `path`; the [data] item expression if left out."""
    text: Columns = ()
    """Text columns; the first non-empty one is the item's title."""
    categorical: Columns = ()
    numeric: Columns = ()

    @property
    def columns(self) -> Columns:
        """All attribute columns."""
        return self.text + self.categorical + self.numeric


class UsersConfig(Settings):
    """Attributes of users."""

    path: str | None = None
    """A table with one row a user; left out, the attributes are taken from the log."""
    id: Expression | None = None
    """The user's id in `path`; the [data] user expression if left out."""
    categorical: Columns = ()
    numeric: Columns = ()

    @property
    def columns(self) -> Columns:
        """All attribute columns."""
        return self.categorical + self.numeric


class GraphConfig(Settings):
    """A knowledge graph around the items."""

    edges: str
    """A table with the columns head, relation and tail."""


class DataConfig(Settings):
    """The log and the tables beside it. Paths are relative to the settings file."""

    interactions: str
    """CSV, Parquet or JSONL, one row an event; a glob is allowed."""
    user: Expression
    item: Expression
    time: Expression
    """A date, a date with time, text of one of these, or epoch seconds, milliseconds, ..."""
    session: Expression | None = None
    """Rows of one basket or visit; its time is the time of its first row, and the split never cuts it."""
    where: Expression | None = None
    """Only rows for which this holds are kept."""
    timezone: str = "UTC"
    """Of times that carry no zone, of hours and weekdays, and of the midnight at which a split cuts."""
    after: Columns = ()
    """Columns known only after the exposure: never features."""
    context: ContextConfig = ContextConfig()
    split: SplitConfig = SplitConfig()
    items: ItemsConfig = ItemsConfig()
    users: UsersConfig = UsersConfig()
    graph: GraphConfig | None = None

    @model_validator(mode="after")
    def _known_timezone(self) -> Self:
        zones = available_timezones()
        if self.timezone not in zones:
            raise _problem(f"no time zone is called {self.timezone!r}" + _hint(self.timezone, zones))
        return self

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of `timezone`."""
        return ZoneInfo(self.timezone)


# ---------------------------------------------------------------------------- [[task]]


class TaskConfig(Settings):
    """One thing to predict."""

    name: TaskName
    kind: Literal["retrieval", "binary", "regression", "related"]
    label: Expression | None = None
    """A column or SQL expression; of a retrieval task: the rows that count as consumption."""
    repeats: Literal["allow", "exclude"] = "allow"
    """retrieval: may an item of the history be recommended again?"""
    after: str | None = None
    """binary: the earlier binary task without which this one cannot happen."""
    clip: float | None = Field(None, gt=0, le=1)
    """regression: labels are clipped at this quantile of the train part."""
    weight: float = Field(1.0, ge=0, allow_inf_nan=False)
    """Of the task in the joint loss."""
    unit: str | None = None
    """regression: the unit of the label, for display."""

    @model_validator(mode="after")
    def _keys_of_its_kind(self) -> Self:
        if self.kind in ("binary", "regression") and self.label is None:
            raise _problem(f"a {self.kind} task needs a label; add label = a column or an SQL expression")
        for key, kinds in _KEYS_OF_KINDS.items():
            if key in self.model_fields_set and self.kind not in kinds:
                raise _problem(f"{key} is for {' and '.join(kinds)} tasks, not for {self.kind}; leave it out")
        return self

    def to_task(self) -> Task:
        """The task as the rest of the toolchain knows it."""
        from edgerec.tasks import Task

        return Task(**self.model_dump())


_KEYS_OF_KINDS = {
    "label": ("retrieval", "binary", "regression"),
    "repeats": ("retrieval",),
    "after": ("binary",),
    "clip": ("regression",),
    "unit": ("regression",),
}


# ---------------------------------------------------------------------------- later stages


class EvaluationConfig(Settings):
    """What the report is computed on."""

    part: Literal["test", "valid"] = "test"
    """valid: fitted on train, to choose settings; test: fitted on train and valid, once."""
    k: tuple[Annotated[int, Field(ge=1)], ...] = (10, 20)
    """Lengths of the lists that ranking metrics look at."""


class TeacherConfig(Settings):
    """The teacher."""

    text_model: str | None = None
    """Folder or hub name of a `transformers` model for item texts; None takes the packaged MiniLM if installed."""
    text_components: int = Field(64, ge=1)
    """Leading principal components of the text vectors that teacher and student see."""
    dim: int = Field(48, ge=4)
    """Width of item and user vectors."""
    hidden: int = Field(96, ge=4)
    """Hidden units of each part."""
    heads: int = Field(4, ge=1)
    """Attention heads over the history."""
    experts: int = Field(4, ge=1)
    """Experts that the tasks share."""
    dropout: float = Field(0.2, ge=0, lt=1)
    epochs: int = Field(7, ge=1)
    """At most; fewer where the validation loss stops falling."""
    patience: int = Field(2, ge=1)
    """Epochs without a better validation loss before training stops."""
    learning_rate: PositiveFloat = 2e-3
    weight_decay: NonNegativeFloat = 1.0
    """Of the item ids' own vectors; all else has 0.01."""
    visits: int = Field(128, ge=1)
    """Requests of a training step."""
    rows: int = Field(1024, ge=1)
    """Shown rows of a training step."""
    visits_per_epoch: int = Field(20_000, ge=1)
    """Of more visits an epoch sees a random part."""
    folds: int = Field(3, ge=2)
    """Groups of users; one teacher is trained without each and labels it for the student. Their mean is the teacher."""


class StudentConfig(Settings):
    """The student."""

    dim: int = Field(32, ge=4)
    """Width of the item table."""
    hidden: int = Field(64, ge=4)
    """Hidden units of the request tower."""
    heads: int = Field(4, ge=1)
    """Attention heads over the history."""
    max_history: int = Field(256, ge=1)
    """Distinct past items that are looked at, the latest ones."""


class DistillationConfig(Settings):
    """How the student learns from the teacher."""

    soft_share: float = Field(0.5, ge=0, le=1)
    """Part of the loss that comes from the teacher's labels; the rest comes from the log's."""
    temperature: PositiveFloat = 1.0
    """Softens teacher and student logits of the catalogue alike."""
    unlabelled: NonNegativeFloat = 1.0
    """Requests of the same users at other times, labelled by the teacher alone: this many for each visit."""
    visits_per_epoch: int = Field(16_000, ge=1)
    """Visits and unlabelled requests that an epoch sees, a random part of them."""
    epochs: int = Field(8, ge=1)
    learning_rate: PositiveFloat = 3e-3
    weight_decay: NonNegativeFloat = 1.0
    """Of the item ids' own vectors; all else has 0.01."""
    dropout: float = Field(0.1, ge=0, lt=1)
    history_dropout: float = Field(0.1, ge=0, lt=1)
    """Each past item is left out of a training history with this probability."""


class PruningConfig(Settings):
    """What is cut out of the student."""

    hidden: float = Field(0.25, ge=0, lt=1)
    """Share of hidden units to cut, the least important ones."""
    dim: float = Field(0.0, ge=0, lt=1)
    """Share of the item table's width to cut."""
    epochs: int = Field(2, ge=0)
    """Recovery training after the cut."""


class QuantizationConfig(Settings):
    """How the student becomes an INT8 bundle."""

    conformance: int = Field(32, ge=1)
    """Requests whose answers are kept in the bundle, so that every runtime can check itself."""


# ---------------------------------------------------------------------------- the whole file


class Config(Settings):
    """A whole settings file."""

    name: Name
    """Names the run's folder and the bundle."""
    device: str = "kiosk-x86"
    """A profile in devices/."""
    seed: int = Field(0, ge=0)
    """Of all randomness."""
    data: DataConfig
    task: tuple[TaskConfig, ...] = ()
    """What to predict; at least one."""
    evaluation: EvaluationConfig = EvaluationConfig()
    teacher: TeacherConfig = TeacherConfig()
    student: StudentConfig = StudentConfig()
    distillation: DistillationConfig = DistillationConfig()
    pruning: PruningConfig = PruningConfig()
    quantization: QuantizationConfig = QuantizationConfig()

    _folder: Path = PrivateAttr(default_factory=Path)

    @classmethod
    def load(cls, path: str | Path) -> Config:
        """Read and check a settings file.

        Raises:
            ConfigError: the file is missing or no TOML, a key is unknown, or a value is not what it must be.
        """
        path = Path(path)
        try:
            values = tomllib.loads(path.read_text("utf-8"))
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
            config = cls.model_validate(values)
        except ValidationError as error:
            raise ConfigError(f"{source}: {_explain(error, values)}") from None
        config._folder = folder
        return config

    @property
    def tasks(self) -> tuple[Task, ...]:
        """All tasks, in the order of the file."""
        return tuple(task.to_task() for task in self.task)

    def resolve(self, path: str) -> str:
        """A path of the settings, seen from the current folder; a glob stays a glob."""
        return str(self._folder / path)

    @model_validator(mode="after")
    def _tasks_fit_together(self) -> Self:
        if not self.task:
            raise _problem('there is no [[task]]; add at least one, such as name = "next", kind = "retrieval"')
        seen: dict[str, str] = {}
        for task in self.task:
            if task.name in seen:
                raise _problem(f"[[task]] {task.name}: two tasks have this name; rename one")
            if task.after is not None and seen.get(task.after) != "binary":
                raise _problem(
                    f"[[task]] {task.name}: after = {task.after!r} is not an earlier binary task"
                    + _hint(task.after, [name for name, kind in seen.items() if kind == "binary"])
                )
            if task.kind == "related" and self.data.session is None:
                raise _problem(f"[[task]] {task.name}: a related task needs sessions; set session in [data]")
            seen[task.name] = task.kind
        if set(seen.values()) == {"related"}:
            raise _problem(
                "[[task]]: related tasks alone recommend nothing to a user; add one that does, such as "
                'name = "next", kind = "retrieval"'
            )
        if sum(kind == "binary" for kind in seen.values()) > MAX_BINARY_TASKS:
            raise _problem(f"[[task]]: expected at most {MAX_BINARY_TASKS} binary tasks, got more; leave some out")
        return self

    @model_validator(mode="after")
    def _no_feature_leaks_a_label(self) -> Self:
        after = dict.fromkeys(self.data.after, "is listed in [data] after")
        labels = {
            column: f"is part of the label of task {task.name!r}"
            for task in reversed(self.task)
            if task.label is not None
            for column in _identifiers(task.label)
        }
        data = self.data
        for section, columns in {
            "[data] context": data.context.categorical + data.context.numeric,
            "[data.items]": data.items.columns,
            "[data.users]": data.users.columns,
        }.items():
            for column in columns:
                if why := (labels | after).get(column):
                    raise _problem(
                        f"{section}: column {column!r} cannot be a feature: it {why}, so it is known only after the "
                        "exposure; remove it from the features"
                    )
        return self


def duration_ms(text: str) -> int:
    """Length of "4w", "28d", "12h" or "30min" in milliseconds, days taken as 24 hours.

    >>> duration_ms("12h")
    43200000
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise _problem(f'expected a duration such as "28d", "12h" or "4w", or a fraction such as 0.1, got {text!r}')
    return int(match[1]) * _UNIT_MS[match[2]]


def nearest(word: str, words: Any) -> str | None:
    """The one of `words` that `word` was probably meant to be, or None."""
    by_lower = {str(other).lower(): str(other) for other in words}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None


def _hint(word: str, words: Any) -> str:
    close = nearest(word, words)
    return f"; did you mean {close!r}?" if close else ""


def _problem(message: str) -> PydanticCustomError:
    """A message that reaches the user as it is (pydantic puts "Value error, " before a ValueError's)."""
    return PydanticCustomError("edgerec", "{message}", {"message": message})


def _identifiers(expression: str) -> set[str]:
    """Names an SQL expression may read: no strings, no functions; keywords do no harm."""
    bare = re.sub(r"'(?:[^']|'')*'", " ", expression)
    quoted = set(re.findall(r'"([^"]+)"', bare)) | set(re.findall(r"`([^`]+)`", bare))
    unquoted = re.findall(r"[^\W\d]\w*(?!\w*\s*\()", re.sub(r'"[^"]*"|`[^`]*`', " ", bare))
    return quoted | set(unquoted) | {expression}


# ---------------------------------------------------------------------------- messages


def _explain(error: ValidationError, values: dict[str, Any]) -> str:
    """The first problem in one line, and how many more there are."""
    problems = error.errors()
    # An unknown key explains the missing one beside it, so it goes first.
    problems.sort(key=lambda problem: problem["type"] != "extra_forbidden")
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return _explain_one(problems[0], values) + more


def _explain_one(problem: ErrorDetails, values: dict[str, Any]) -> str:
    loc = tuple(part for part in problem["loc"] if part not in ("float", "str", "constrained-str"))
    message = problem["msg"][:1].lower() + problem["msg"][1:]
    if problem["type"] == "extra_forbidden":
        keys = _model_at(loc[:-1]).model_fields
        section = _section(loc[:-1], values)
        return f"{section + ' ' if section else ''}has no key {loc[-1]!r}{_hint(str(loc[-1]), keys)}"
    if problem["type"] == "edgerec":
        return f"{_section(loc, values)}: {message}" if loc else problem["msg"]
    section, key = _section(loc[:-1], values), loc[-1] if loc else ""
    where = f"{section + ' ' if section else ''}{key}:"
    if problem["type"] == "missing":
        return f"{where} expected a value, found none; add it"
    message = re.sub(r"^(input|value) should", "expected it to", message)
    return f"{where} {message}, got {problem['input']!r}"


def _section(loc: tuple[int | str, ...], values: dict[str, Any]) -> str:
    """A place in the settings as it is written in the file."""
    match loc:
        case ():
            return ""
        case ("task", int(index), *rest):
            task = values["task"][index]
            name = task.get("name", f"number {index + 1}") if isinstance(task, dict) else f"number {index + 1}"
            return " ".join([f"[[task]] {name}", *map(str, rest)])
        case ("data", ("items" | "users" | "graph") as table, *rest):
            return " ".join([f"[data.{table}]", *map(str, rest)])
        case (section, *rest):
            return " ".join([f"[{section}]", *map(str, rest)])
    raise AssertionError(loc)


def _model_at(loc: tuple[int | str, ...]) -> type[BaseModel]:
    model: type[BaseModel] = Config
    for part in loc:
        if part == "task":
            model = TaskConfig
        elif isinstance(part, str):
            annotation = model.model_fields[part].annotation
            options = [annotation, *getattr(annotation, "__args__", ())]
            model = next(o for o in options if isinstance(o, type) and issubclass(o, BaseModel))
    return model
