"""Ablations: what each part of the student's training, or of the teacher, brings on one's own log; judged on valid."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch

from edgerec.config import Config
from edgerec.distillation.student import needs_teacher, new_student, train_student
from edgerec.ensemble.ensemble import Ensemble, Members, choose_weights
from edgerec.ensemble.scoring import EnsembleScorer, TorchScorer
from edgerec.errors import ConfigError
from edgerec.evaluation.page import redraw
from edgerec.evaluation.quality import evaluate_scorer
from edgerec.evaluation.report import settings_of
from edgerec.examples.batches import Examples
from edgerec.examples.load import LearningData
from edgerec.experiments.transfer import deciding, mean_over_seeds
from edgerec.experiments.tuning.search import on_one_device, on_valid, taught_on_train
from edgerec.experiments.tuning.space import applied
from edgerec.files import read_json, write_json
from edgerec.metrics import Estimate, ModelMetrics, TaskMetrics
from edgerec.progress import Progress
from edgerec.stages import pipeline
from edgerec.stages.labels import labelled_examples
from edgerec.stages.run import WEIGHTS, Run
from edgerec.training.calibrate import calibrate
from edgerec.training.teacher import fit_on_valid

__all__ = ["BASE", "LOG_ALONE", "WHAT", "Ablations", "ablate", "changes_of", "judged_network"]

What: TypeAlias = Literal["student", "teacher"]
Change: TypeAlias = dict[str, Any]
"""Values of settings, such as ``{"distillation.hard": 0.0}``."""
Figures: TypeAlias = TaskMetrics
"""By task, in the metric that decides for it."""
Found: TypeAlias = ModelMetrics
"""By task and metric."""

BASE = "as the settings say"
_TERMS = ("probabilities", "listwise", "top_list", "neighbours", "alignment")
LOG_ALONE: Mapping[str, float] = {"hard": 1.0, **dict.fromkeys(_TERMS, 0.0)}
"""Of ``[distillation]``: a student that no teacher teaches."""
_WITHOUT_PROBABILITIES = "without teacher's probabilities"
_STUDENT: Mapping[str, Change] = {
    "the log alone": {f"distillation.{term}": weight for term, weight in LOG_ALONE.items()},
    "the teacher alone": {"distillation.hard": 0.0},
    _WITHOUT_PROBABILITIES: {"distillation.probabilities": 0.0},
    "without teacher's softmax": {"distillation.listwise": 0.0},
    "without teacher's top list": {"distillation.top_list": 0.0},
    "and neighbours": {"distillation.neighbours": 0.5},
    "and alignment": {"distillation.alignment": 0.5},
    "weighed by confidence": {"distillation.confidence": True},
    "temperature 2": {"distillation.temperature": 2.0},
    "easy labels first": {"distillation.early_teacher_epochs": 4},
    "no requests after the log's end": {"distillation.future": 0.0},
    "no pseudo-labelled requests": {"distillation.pseudo_labelled": 0.0, "distillation.future": 0.0},
    "no folded factors": {"student.factor": 0},
    "no transitions": {"student.transitions": 0},
    "not rounded in training": {"distillation.qat": 0.0},
}
_WITHOUT_TEXT = "without text"
_TEACHER: Mapping[str, Change] = {
    _WITHOUT_TEXT: {},
    "without graph": {"teacher.graph_layers": 0},
    "with graph": {"teacher.graph_layers": 2},
    "without sequence": {"teacher.sequence": 0},
    "with sequence": {"teacher.sequence": 50},
    "without ensemble": {"ensemble.members": ()},
}
WHAT: Mapping[What, Mapping[str, Change]] = {"student": _STUDENT, "teacher": _TEACHER}
"""Changes of the settings, by what they are of and by name."""
_LEARNED = ("seed", "data", "task", "evaluation", "teacher", "ensemble", "student", "distillation")
"""Sections of the settings that a result depends on."""


@dataclass(frozen=True)
class Ablations:
    """Figures on valid, as means over `seeds`: of the settings as they are (`base`), and with each change.

    Attributes:
        of: what was trained anew. metrics: by task, the one that decides. found: by change.
    """

    of: What
    seeds: tuple[int, ...]
    metrics: dict[str, str]
    base: Figures
    found: dict[str, Figures]

    def differences(self) -> dict[str, Figures]:
        """What each change adds, paired by case and seed."""
        return {name: {t: e.minus(self.base[t]) for t, e in found.items()} for name, found in self.found.items()}

    def table(self) -> tuple[Sequence[str], list[list[str]]]:
        """Columns and rows for the screen."""
        rows = [[BASE, *(f"{e.value:.4f}" for e in self.base.values())]]
        rows += [[n, *(f"{e.value:+.4f} ±{e.se:.4f}" for e in of.values())] for n, of in self.differences().items()]
        return ("", *(f"{task} {metric}" for task, metric in self.metrics.items())), rows

    def to_json(self) -> dict[str, Any]:
        """What ablations.json holds of a student or teacher."""
        changes = {name: {t: e.to_json() for t, e in of.items()} for name, of in self.differences().items()}
        base = {task: e.to_json() for task, e in self.base.items()}
        return {"seeds": list(self.seeds), "metrics": self.metrics, "base": base, "changes": changes}


def changes_of(config: Config, what: What) -> dict[str, Config]:
    """The settings as they are, and with each change that changes something, by name."""
    found = {BASE: config}
    for name, values in WHAT[what].items():
        made = applied(config, values)
        if name == _WITHOUT_TEXT and config.data.items.text:
            found[name] = made
        elif name.startswith("with ") and getattr(config.teacher, next(iter(values)).partition(".")[2]):
            continue  # it is with that already, only less or more of it
        elif name == _WITHOUT_PROBABILITIES and not any(task.kind in ("binary", "regression") for task in config.tasks):
            continue  # it is about impressions
        elif made != config:
            found[name] = made
    return found


def ablate(
    config: Config,
    run_dir: Path,
    progress: Progress,
    what: What = "student",
    only: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
) -> Ablations:
    """Train with each change and judge on valid; writes report/ablations.json, beside what it holds of the other.

    One teacher that did not learn from valid labels for all students; a student is judged with its INT8 table. Of a
    teacher one network that saw a part of the users stands for the mean of all folds', blended with the ensemble.
    What was trained is not trained again, whatever a later call asks for beside it.
    Args:
        only: these changes; all by default. seeds: that of the settings by default.
    Raises:
        ConfigError: there is no such change.
    """
    plain = on_valid(config).model_copy(update={"training": on_one_device(config)})
    wanted = changes_of(plain, what)
    if unknown := set(only) - set(wanted):
        named = ", ".join(f'"{name}"' for name in wanted if name != BASE)
        raise ConfigError(f'ablate: no change "{sorted(unknown)[0]}" of this {what}; there are {named}')
    wanted = {name: of for name, of in wanted.items() if name == BASE or not only or name in only}
    numbers = tuple(seeds or (config.seed,))
    train = _Students(plain, run_dir, progress) if what == "student" else _Teachers(plain, run_dir, progress)
    found: dict[str, list[Found]] = {name: [] for name in wanted}
    for seed in numbers:
        for name in train.ordered(wanted):
            found[name].append(train.kept(name, wanted[name].model_copy(update={"seed": seed})))
    metrics = train.metrics(found[BASE][0])
    means = {n: {t: mean_over_seeds([one[t][m] for one in of]) for t, m in metrics.items()} for n, of in found.items()}
    report = Ablations(what, numbers, metrics, means.pop(BASE), means)
    path = run_dir / "report" / "ablations.json"
    before = read_json(path) if path.is_file() else {}
    whole = {**before, "part": "valid", what: report.to_json() | {"settings": settings_of(config)}}
    write_json(path, whole, sort_keys=False)  # in the order of the table
    redraw(path.parent)
    return report


class _Trained:
    """Results of one run, kept in work/ablations/ of it."""

    what: What

    def __init__(self, config: Config, run_dir: Path, progress: Progress) -> None:
        self.config, self.run_dir, self.progress = config, run_dir, progress
        self.folder = run_dir / "work" / "ablations"
        self.base = run_dir

    def ordered(self, wanted: Mapping[str, Config]) -> Iterator[str]:
        """In which order it is done with the least work."""
        return iter(wanted)

    def kept(self, name: str, config: Config) -> Found:
        """The figures of one training, from disk where it was done before."""
        self.prepare()
        key = self.key([name, config.model_dump(mode="json", include={*_LEARNED})])
        path = self.folder / f"{key}.json"
        if not path.exists():
            self.progress.stage(f"{name}, seed {config.seed}")
            work = self.folder / key
            found = self.judged(name, config, work)
            whole = {t: {m: e.to_json(deviations=True) for m, e in of.items()} for t, of in found.items()}
            write_json(work / "result.json", whole)
            (work / "result.json").replace(path)
            shutil.rmtree(work)
        return {t: {m: Estimate.from_json(e) for m, e in of.items()} for t, of in read_json(path).items()}

    def key(self, of: Sequence[Any]) -> str:
        """Stands for what was made of this run's dataset with these plain values."""
        told = json.dumps([self.what, *of], sort_keys=True).encode()
        return hashlib.sha256(told + (self.base / "dataset" / "dataset.json").read_bytes()).hexdigest()[:16]

    def metrics(self, found: Found) -> dict[str, str]:
        """By task, the metric that decides, where valid holds something to judge by."""
        of = {task.name: deciding(task, self.config.evaluation.k) for task in self.data.tasks}
        return {t: m for t, m in of.items() if m in found.get(t, {}) and math.isfinite(found[t][m].value)}

    def prepare(self) -> None:
        """Make what all trainings need."""
        pipeline.run(self.config, self.run_dir, self.progress, until="prepare")

    @property
    def data(self) -> LearningData:
        """Of the settings as they are."""
        return Run(self.config, self.base, self.progress).learning_data("valid")

    def judged(self, name: str, config: Config, work: Path) -> Found:
        """Train and judge; an interrupted training goes on in `work`."""
        raise NotImplementedError


class _Students(_Trained):
    """Students of one teacher."""

    what = "student"

    def __init__(self, config: Config, run_dir: Path, progress: Progress) -> None:
        super().__init__(config, run_dir, progress)
        self.base = taught_on_train(config, run_dir, progress)
        self._data: LearningData | None = None
        self._labelled: dict[str, Examples] = {}

    def ordered(self, wanted: Mapping[str, Config]) -> Iterator[str]:
        return iter(sorted(wanted, key=lambda name: (self._labels(wanted[name]) != self._labels(wanted[BASE]), name)))

    def prepare(self) -> None:
        """Nothing: the teacher's run is there."""

    @property
    def data(self) -> LearningData:
        self._data = self._data or super().data
        return self._data

    def judged(self, name: str, config: Config, work: Path) -> Found:
        examples = self._examples(config)
        settings = Run(config, self.base, self.progress).student_settings
        student = new_student(settings, self.data)
        train_student(settings, self.data, examples, student, config.distillation.epochs, work, self.progress, name)
        expectations = calibrate(student, self.data)
        student.qat = True
        return evaluate_scorer(TorchScorer([student.eval()], self.data, expectations), self.data, config.evaluation.k)

    def _labels(self, config: Config) -> str:
        of = config.distillation
        early = "-easy" if of.early_teacher_epochs else ""
        return f"{of.pseudo_labelled:g}-{of.future:g}{early}" if needs_teacher(of) else "none"

    def _examples(self, config: Config) -> Examples:
        """With labels; one set of them at a time is in memory."""
        key = self._labels(config)
        if key not in self._labelled:
            plain = config.model_copy(update={"seed": self.config.seed})
            folder = self.folder / f"labels-{key}"
            self._labelled = {key: labelled_examples(Run(plain, self.base, self.progress), self.data, folder)[0]}
        return self._labelled[key]


class _Teachers(_Trained):
    """One network each, blended with the members that the change leaves."""

    what = "teacher"

    def judged(self, name: str, config: Config, work: Path) -> Found:
        run = Run(config, self.base, self.progress)
        data = run.learning_data("valid")
        if name == _WITHOUT_TEXT:
            features = replace(data.features, text=torch.zeros((len(data.features.text), 0)))
            data = replace(data, features=features, text_source=None)
        of_rows = config.model_dump(mode="json", include={"seed", "data", "task", "ensemble"})
        shared = self.folder / f"members-{self.key([of_rows, data.shape.text])}"
        return judged_network(run, data, work, shared, name)


def judged_network(run: Run, data: LearningData, work: Path, members: Path, title: str) -> ModelMetrics:
    """What one network is worth on the evaluation split of `data`, blended with the ensemble, which is kept in `members`."""
    config, settings, progress = run.config, run.ensemble_settings, run.progress
    network, _ = fit_on_valid(config.teacher, config.training, config.seed, data, work / "network", progress, title)
    others = Members.fit(settings, data, members, [0], None, progress)
    weights = choose_weights(settings, data, [network.eval()], others, work / WEIGHTS, progress)
    scorer = EnsembleScorer(Ensemble(config.ensemble.candidates, data, [network], others, weights))
    return evaluate_scorer(scorer, data, config.evaluation.k)
