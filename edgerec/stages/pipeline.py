"""The whole way from a log to a judged bundle, stage by stage, each repeated only when what it depends on changed.

A stage leaves a stamp in `RUN/stages/NAME.json` once its output is whole: the key it was made for (a hash of its
settings, its input stages' outputs and the version) and a hash of what it wrote. The stamp is removed before the
stage starts, so an interrupted stage is stale; it lies beside the outputs since a bundle holds only what its
manifest lists.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

from edgerec import __version__
from edgerec.devices import load_profile
from edgerec.errors import DataError, QualityError, need
from edgerec.files import write_whole

if TYPE_CHECKING:
    from edgerec.config import Config
    from edgerec.progress import Progress
    from edgerec.stages.run import Run

__all__ = ["STAGES", "Stage", "StageReport", "is_fresh", "run", "run_stage", "stage_named"]


class StageReport(Protocol):
    """What a stage found: a small frozen dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def lines(self) -> Sequence[str]:
        """For a person to read."""


StageFunction: TypeAlias = "Callable[[Run], StageReport]"


@dataclass(frozen=True)
class Stage:
    """One step of the way.

    Attributes:
        name: of the command.
        title: a sentence for the screen.
        function: "module:function", loaded when the stage runs, since most need the `train` extra.
        folder: where the output lies, under the run's folder.
        after: the stages whose output is read.
        settings: what of the settings matters: sections, or "section.key".
    """

    name: str
    title: str
    function: str
    folder: str
    after: tuple[str, ...]
    settings: tuple[str, ...]

    def load(self) -> StageFunction:
        """The function that does it.

        Raises:
            MissingExtraError: the `train` extra is not installed.
        """
        module, _, name = self.function.partition(":")
        function: StageFunction = getattr(need(module, "train", f"edgerec {self.name}"), name)
        return function


# The part that is judged decides what may be learned from: train alone for valid, train and valid for test.
_LEARNING = ("seed", "task", "evaluation.part")

STAGES = (
    Stage("prepare", "Preparing the data", "edgerec.stages.prepare:prepare", "dataset", (), ("data", "task", "name")),
    Stage(
        "train",
        "Training the teacher",
        "edgerec.stages.train:train",
        "teacher",
        ("prepare",),
        (*_LEARNING, "teacher", "ensemble", "training"),
    ),
    Stage(
        "distill",
        "Distilling the student",
        "edgerec.stages.distill:distill",
        "student",
        ("prepare", "train"),
        (*_LEARNING, "student", "distillation"),
    ),
    Stage(
        "prune",
        "Pruning the student",
        "edgerec.stages.prune:prune",
        "pruned",
        ("prepare", "train", "distill"),
        (*_LEARNING, "student", "distillation", "pruning", "quantization.table"),
    ),
    Stage(
        "quantize",
        "Building the INT8 bundle",
        "edgerec.stages.quantize:quantize",
        "bundle",
        ("prepare", "prune"),
        ("seed", "name", "version", "device", "quantization", "policy", "evaluation.part"),
    ),
    Stage(
        "evaluate",
        "Judging every stage",
        "edgerec.stages.evaluate:evaluate",
        "report",
        ("prepare", "train", "distill", "prune", "quantize"),
        ("seed", "evaluation"),
    ),
)


def stage_named(name: str) -> Stage:
    """The stage of that name."""
    return next(stage for stage in STAGES if stage.name == name)


def run(config: Config, run_dir: Path, progress: Progress, until: str | None = None) -> dict[str, StageReport]:
    """Run every stale stage up to and including `until`, and only those.

    Returns:
        The reports of the stages that ran, by name.
    """
    reports = {}
    for stage in STAGES:
        if is_fresh(stage, config, run_dir):
            progress.say(f"{stage.name}: fresh, nothing to do")
            _refuse_failures(stage, _read_stamp(stage, run_dir))
        else:
            reports[stage.name] = _execute(stage, config, run_dir, progress)
        if stage.name == until:
            break
    return reports


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
    return _execute(stage, config, run_dir, progress)


def is_fresh(stage: Stage, config: Config, run_dir: Path) -> bool:
    """Was the stage run to its end with the settings, inputs and version of now?"""
    stamp = _read_stamp(stage, run_dir)
    return stamp is not None and stamp["key"] == _key(stage, config, run_dir)


def _execute(stage: Stage, config: Config, run_dir: Path, progress: Progress) -> StageReport:
    function = stage.load()
    progress.stage(stage.title)
    _stamp_path(stage, run_dir).unlink(missing_ok=True)
    from edgerec.stages.run import Run  # loads torch

    report = function(Run(config, run_dir, progress))
    for line in report.lines():
        progress.say(line)
    stamp = {"key": _key(stage, config, run_dir), "output": _hash_folder(run_dir / stage.folder)}
    failures = getattr(report, "failures", ())
    if failures:
        stamp["failures"] = "; ".join(failures)
    write_whole(_stamp_path(stage, run_dir), json.dumps(stamp, indent=1))
    _refuse_failures(stage, stamp)
    return report


def _refuse_failures(stage: Stage, stamp: dict[str, str] | None) -> None:
    """A stage whose gate failed is whole, and can be looked at; nothing goes on from it by `run`."""
    if stamp and stamp.get("failures"):
        raise QualityError(f"{stage.name}: {stamp['failures']}; see [{_GATES[stage.name]}] in the settings")


_GATES = {"distill": "distillation", "evaluate": "evaluation"}
"""Sections that hold the gates of a stage."""


# ------------------------------------------------------------------------------------------------ staleness


def _stamp_path(stage: Stage, run_dir: Path) -> Path:
    return run_dir / "stages" / f"{stage.name}.json"


def _read_stamp(stage: Stage, run_dir: Path) -> dict[str, str] | None:
    """The stamp of a finished stage whose output is still there."""
    if not (run_dir / stage.folder).is_dir():
        return None
    try:
        stamp = json.loads(_stamp_path(stage, run_dir).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stamp if isinstance(stamp, dict) and stamp.keys() - {"failures"} == {"key", "output"} else None


def _key(stage: Stage, config: Config, run_dir: Path) -> str:
    """Hash of everything that the output depends on."""
    everything = config.model_dump(mode="json")
    depends: dict[str, Any] = {
        "version": __version__,
        "settings": {path: _at(everything, path) for path in stage.settings},
        "inputs": {name: (_read_stamp(stage_named(name), run_dir) or {}).get("output") for name in stage.after},
    }
    if stage.name == "prepare":
        home = config.resolve(".")  # the same log is the same, from wherever the command is given
        depends["files"] = {os.path.relpath(path, home): _hash_file(Path(path)) for path in _source_files(config)}
    if stage.name == "quantize":
        now = (config.quantization.newer_rows, config.quantization.items_now)
        depends["files"] = {path: _hash_file(Path(config.resolve(path))) for path in now if path is not None}
    if "device" in stage.settings:
        depends["device"] = load_profile(config.device).to_json()
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()


def _at(values: dict[str, Any], path: str) -> Any:
    section, _, key = path.partition(".")
    return values[section][key] if key else values[section]


def _source_files(config: Config) -> Iterator[str]:
    """The files that the settings name; a missing one is left to `prepare`, which says so."""
    data = config.data
    edges = data.graph.edges if data.graph else None
    for path in (data.interactions, data.items.path, data.users.path, edges):
        if path is not None:
            yield from sorted(filter(os.path.isfile, glob.glob(config.resolve(path), recursive=True)))


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hash_folder(folder: Path) -> str:
    files: Iterable[Path] = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = (f"{path.relative_to(folder).as_posix()} {_hash_file(path)}\n" for path in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()
