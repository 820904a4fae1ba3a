"""From a log to an evaluated bundle, stage by stage; a stage is repeated only when something it depends on changed.

A stage leaves a stamp in `RUN/stages/NAME.json` once its output is whole: the key it was made for (a hash of its
settings, its input files, the outputs of the stages before it, and the version) and a hash of its output. The stamp is
removed before the stage starts, so an interrupted stage is stale; it lies beside the outputs since a bundle holds only
the files that its manifest lists.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

from edgerec import __version__
from edgerec.devices import load_profile
from edgerec.errors import DataError, QualityError, need
from edgerec.files import read_json, write_json
from edgerec.progress import age, duration

if TYPE_CHECKING:
    from edgerec.config import Config
    from edgerec.config.effort import Effort
    from edgerec.examples.load import LearningData
    from edgerec.progress import Progress
    from edgerec.stages.run import Run

__all__ = ["STAGES", "Stage", "StageReport", "is_fresh", "run", "run_stage", "stage_named"]


class StageReport(Protocol):
    """The results of a stage: a small frozen dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def lines(self) -> Sequence[str]:
        """For a person to read."""


StageFunction: TypeAlias = "Callable[[Run], StageReport]"


@dataclass(frozen=True)
class Stage:
    """One step from the log to the evaluated bundle.

    Attributes:
        name: of the command.
        title: a sentence for the screen.
        function: "module:function", loaded when the stage runs, since most need the `train` extra.
        folder: of the output, in the run's folder.
        after: the stages whose output is read; what makes them stale, makes this one stale if their output changes.
        settings: what of the settings makes the stage stale if it changes: sections, or "section.key".
        files: the files outside the run that the settings name and that make the stage stale if they change.
        gates: the section that holds the quality gates of the stage.
    """

    name: str
    title: str
    function: str
    folder: str
    after: tuple[str, ...]
    settings: tuple[str, ...]
    files: Callable[[Config], Iterable[str | None]] = lambda config: ()
    gates: str | None = None

    def load(self) -> StageFunction:
        """The stage's function.

        Raises:
            MissingExtraError: the `train` extra is not installed.
        """
        module, _, name = self.function.partition(":")
        function: StageFunction = getattr(need(module, "train", f"edgerec {self.name}"), name)
        return function


def _log_files(config: Config) -> tuple[str | None, ...]:
    data = config.data
    return data.interactions, data.items.path, data.users.path, data.graph.edges if data.graph else None


def _files_of_now(config: Config) -> tuple[str | None, ...]:
    return config.quantization.newer_rows, config.quantization.items_now


# The evaluation split decides what may be learned from: train alone for valid, train and valid for test. Who is judged
# on valid chooses the members' weights.
_LEARNING = ("seed", "task", "evaluation.part", "evaluation.users")

STAGES = (
    Stage(
        name="prepare",
        title="Preparing the data",
        function="edgerec.stages.prepare:prepare",
        folder="dataset",
        after=(),
        settings=("data", "task", "name", "evaluation.part"),  # the part must have something to be judged on
        files=_log_files,
    ),
    Stage(
        name="train",
        title="Training the teacher",
        function="edgerec.stages.train:train",
        folder="teacher",
        after=("prepare",),
        settings=(*_LEARNING, "teacher", "ensemble", "training", "student.max_history"),
    ),
    Stage(
        name="distill",
        title="Distilling the student",
        function="edgerec.stages.distill:distill",
        folder="student",
        after=("prepare", "train"),
        settings=(*_LEARNING, "student", "distillation"),
        gates="distillation",
    ),
    Stage(
        name="prune",
        title="Pruning the student",
        function="edgerec.stages.prune:prune",
        folder="pruned",
        after=("prepare", "train", "distill"),
        settings=(*_LEARNING, "student", "distillation", "pruning", "quantization.table"),
    ),
    Stage(
        name="quantize",
        title="Building the INT8 bundle",
        function="edgerec.stages.quantize:quantize",
        folder="bundle",
        after=("prepare", "prune"),
        settings=("seed", "name", "version", "device", "quantization", "policy", "evaluation.part"),
        files=_files_of_now,
    ),
    Stage(
        name="evaluate",
        title="Evaluating every stage",
        function="edgerec.stages.evaluate:evaluate",
        folder="report",
        after=("prepare", "train", "distill", "prune", "quantize"),
        settings=("seed", "evaluation"),
        gates="evaluation",
    ),
)
_BESIDE = ("train", "distill", "evaluate")
"""Stages that do some of their work in other processes."""


def stage_named(name: str) -> Stage:
    """The stage of that name."""
    return next(stage for stage in STAGES if stage.name == name)


def run(
    config: Config, run_dir: Path, progress: Progress, until: str | None = None, effort: Effort | None = None
) -> dict[str, StageReport]:
    """Run every stale stage up to and including `until`, and only those.

    Args:
        effort: in place of that of the settings, for later calls too.
    Returns:
        The reports of the stages that ran, by name.
    """
    reports: dict[str, StageReport] = {}
    loaded: dict[str, LearningData] = {}
    stages = STAGES if until is None else STAGES[: STAGES.index(stage_named(until)) + 1]
    _keep_ready(_stale(stages, config, run_dir))
    for stage in stages:
        if is_fresh(stage, config, run_dir):
            progress.say(f"{stage.name}: kept from the last run, made {age(_stamp_path(stage, run_dir))} ago")
            _refuse_failures(stage, _read_stamp(stage, run_dir))
        else:
            reports[stage.name] = _execute(stage, config, run_dir, progress, loaded)
        if stage is STAGES[0] and (run_dir / "dataset" / "dataset.json").exists():
            _announce(stages[1:], config, run_dir, progress, effort)
    return reports


def _announce(
    stages: Sequence[Stage], config: Config, run_dir: Path, progress: Progress, effort: Effort | None
) -> None:
    """Say what is chosen for the log of the dataset, and how long the stages that are stale will take."""
    from edgerec.stages.cost import seconds_here
    from edgerec.stages.effort import log_size, remember, settled  # polars, which a light install has not

    chosen = remember(config, run_dir, effort)
    if all(is_fresh(stage, config, run_dir) for stage in stages):
        return
    for line in chosen:
        progress.say(line)
    stale = {stage.name: stage.title for stage in _stale(stages, config, run_dir)}
    ahead: dict[str, dict[str, float]] = {title: {} for title in stale.values()}
    for (name, part), seconds in seconds_here(settled(config, run_dir), log_size(run_dir)).items():
        if name in stale:
            ahead[stale[name]][part] = seconds
    total_s = sum(sum(parts.values()) for parts in ahead.values())
    progress.say(f"about {duration(total_s)} on this machine for {', '.join(stale)}")
    progress.expect(ahead)


def _stale(stages: Sequence[Stage], config: Config, run_dir: Path) -> list[Stage]:
    """The first stage that is not fresh and those after it that read its output."""
    stale: list[Stage] = []
    for stage in stages:
        if not is_fresh(stage, config, run_dir) or {s.name for s in stale} & set(stage.after):
            stale.append(stage)
    return stale


def run_stage(stage: Stage, config: Config, run_dir: Path, progress: Progress) -> StageReport:
    """Run one stage, whether stale or not; its inputs must be there.

    Raises:
        DataError: a stage before it has not been run to its end.
    """
    for name in stage.after:
        before = stage_named(name)
        if _read_stamp(before, run_dir) is None:
            raise DataError(f"{run_dir / before.folder}: not there or not finished; run: edgerec {name}")
        if not is_fresh(before, config, run_dir):
            progress.say(f"{name}: made with other settings or inputs than now; edgerec run would repeat it")
    _keep_ready([stage])
    return _execute(stage, config, run_dir, progress, {})


def _keep_ready(stages: Sequence[Stage]) -> None:
    """Load what the processes of the stages need, beside what this one does before it starts them."""
    if any(stage.name in _BESIDE for stage in stages) and find_spec("torch"):
        from edgerec.stages.cost import machine_factor
        from edgerec.training.processes import keep_ready

        machine_factor()  # measured, and kept, while nothing else runs
        keep_ready()


def is_fresh(stage: Stage, config: Config, run_dir: Path) -> bool:
    """Tell whether the stage was run to its end with the present settings, inputs and version."""
    stamp = _read_stamp(stage, run_dir)
    return stamp is not None and stamp["key"] == _key(stage, config, run_dir)


def _execute(
    stage: Stage, config: Config, run_dir: Path, progress: Progress, loaded: dict[str, LearningData]
) -> StageReport:
    """Run a stage and leave its stamp; `loaded` hands the learning data on to the next stage."""
    need("polars", "train", f"edgerec {stage.name}")  # the one line of a light install, before any headline
    with progress.stage(stage.title):
        _stamp_path(stage, run_dir).unlink(missing_ok=True)
        with progress.track(None, "loading libraries"):
            function = stage.load()
            from edgerec.stages.run import Run  # loads torch

        report = function(Run(config, run_dir, progress, loaded))
        for line in report.lines():
            progress.say(line)
        stamp = {"key": _key(stage, config, run_dir), "output": _hash_folder(run_dir / stage.folder)}
    failures = getattr(report, "failures", ())
    if failures:
        stamp["failures"] = "; ".join(failures)
    write_json(_stamp_path(stage, run_dir), stamp)
    _refuse_failures(stage, stamp)
    return report


def _refuse_failures(stage: Stage, stamp: dict[str, str] | None) -> None:
    """Stop `run` after a stage whose gate failed; its output is whole and can be inspected."""
    if stamp and stamp.get("failures"):
        raise QualityError(f"{stage.name}: {stamp['failures']}; see [{stage.gates}] in the settings")


# ------------------------------------------------------------------------------------------------ staleness


def _stamp_path(stage: Stage, run_dir: Path) -> Path:
    return run_dir / "stages" / f"{stage.name}.json"


def _read_stamp(stage: Stage, run_dir: Path) -> dict[str, str] | None:
    """The stamp of a finished stage whose output is still there."""
    if not (run_dir / stage.folder).is_dir():
        return None
    try:
        stamp = read_json(_stamp_path(stage, run_dir))
    except DataError:
        return None
    return stamp if stamp.keys() - {"failures"} == {"key", "output"} else None


def _key(stage: Stage, config: Config, run_dir: Path) -> str:
    """Hash of everything that the output depends on."""
    if stage.after:
        from edgerec.stages.effort import settled

        config = settled(config, run_dir)
    everything = config.model_dump(mode="json")
    home = config.resolve(".")  # the same file is the same, from wherever the command is given
    depends: dict[str, object] = {
        "version": __version__,
        "settings": {path: _at(everything, path) for path in stage.settings},
        "inputs": {name: (_read_stamp(stage_named(name), run_dir) or {}).get("output") for name in stage.after},
        "files": {os.path.relpath(path, home): _hash_file(Path(path)) for path in _files(stage, config)},
    }
    if "device" in stage.settings:
        depends["device"] = load_profile(config.device).to_json()
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()


def _at(values: dict[str, Any], path: str) -> object:
    section, _, key = path.partition(".")
    return values[section][key] if key else values[section]


def _files(stage: Stage, config: Config) -> Iterator[str]:
    """The files that a stage reads; a missing one is left to the stage, which reports it."""
    for path in stage.files(config):
        if path is not None:
            for found in sorted(map(Path, glob.glob(config.resolve(path), recursive=True))):
                inside = found.rglob("*") if found.is_dir() else [found]
                yield from sorted(str(file) for file in inside if file.is_file())


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hash_folder(folder: Path) -> str:
    files: Iterable[Path] = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = (f"{path.relative_to(folder).as_posix()} {_hash_file(path)}\n" for path in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
