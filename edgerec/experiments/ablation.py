"""Ablations: what each part of the student's training, or of the teacher, gains on a log; judged on valid."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import torch

from edgerec.config import Config, Scalar
from edgerec.distillation.student import needs_teacher, new_student, train_student
from edgerec.ensemble.ensemble import Ensemble
from edgerec.ensemble.members import Members
from edgerec.ensemble.scoring import EnsembleScorer, TorchScorer
from edgerec.ensemble.weights import choose_weights
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
from edgerec.metrics import Estimate, TaskMetrics
from edgerec.stages import pipeline
from edgerec.stages.labels import labelled_examples
from edgerec.stages.run import WEIGHTS, Run, student_settings
from edgerec.training.calibrate import calibrated
from edgerec.training.teacher import fit_on_valid

__all__ = ["BASE", "LOG_ALONE", "WHAT", "Ablations", "ablate", "changes_of", "judged_network"]

What: TypeAlias = Literal["student", "teacher"]
Change: TypeAlias = Mapping[str, Scalar | tuple[str, ...]]
"""Values of settings, such as ``{"distillation.hard": 0.0}``."""
Figures: TypeAlias = TaskMetrics
"""By task, in the metric that decides for it."""
Metrics: TypeAlias = Mapping[str, Mapping[str, Estimate]]
"""By task and metric."""

BASE = "as the settings say"
_TERMS = ("probabilities", "listwise", "top_list", "neighbours", "alignment")
LOG_ALONE: Mapping[str, float] = {"hard": 1.0, **dict.fromkeys(_TERMS, 0.0)}
"""Values of ``[distillation]`` for a student that learns from the log alone."""
_WITHOUT_PROBABILITIES = "without teacher's probabilities"
_STUDENT: Mapping[str, Change] = {
    "the log alone": {f"distillation.{term}": weight for term, weight in LOG_ALONE.items()},
    "the teacher alone": {"distillation.hard": 0.0, "distillation.hard_impressions": 0.0},
    _WITHOUT_PROBABILITIES: {"distillation.probabilities": 0.0},
    "without teacher's softmax": {"distillation.listwise": 0.0},
    "without teacher's top list": {"distillation.top_list": 0.0},
    "and neighbours": {"distillation.neighbours": 0.5},
    "and alignment": {"distillation.alignment": 0.5},
    "weighted by confidence": {"distillation.confidence": True},
    "temperature 2": {"distillation.temperature": 2.0},
    "early-checkpoint teacher first": {"distillation.early_teacher_epochs": 4},
    "no requests after the log's end": {"distillation.future": 0.0},
    "no pseudo-labelled requests": {"distillation.pseudo_labelled": 0.0, "distillation.future": 0.0},
    "no folded factors": {"student.factor": 0},
    "no transitions": {"student.transitions": 0},
    "no quantization-aware training": {"distillation.qat": 0.0},
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
"""Changes of the settings by name, for the student and for the teacher."""
_LEARNED = ("seed", "data", "task", "evaluation", "teacher", "ensemble", "student", "distillation")
"""Sections of the settings that a result depends on."""


@dataclass(frozen=True)
class Ablations:
    """Figures on valid, as means over `seeds`: of the settings as they are (`base`), and with each change.

    Attributes:
        of: what was trained. metrics: the deciding metric of each task. changed: figures by name of the change.
    """

    of: What
    seeds: tuple[int, ...]
    metrics: dict[str, str]
    base: Figures
    changed: dict[str, Figures]

    def differences(self) -> dict[str, Figures]:
        """What each change adds, paired by request and seed."""
        return {name: {t: e.minus(self.base[t]) for t, e in own.items()} for name, own in self.changed.items()}

    def table(self) -> tuple[Sequence[str], list[list[str]]]:
        """Columns and rows for the screen."""
        rows = [[BASE, *(f"{e.value:.4f}" for e in self.base.values())]]
        rows += [[n, *(f"{e.value:+.4f} ±{e.se:.4f}" for e in of.values())] for n, of in self.differences().items()]
        return ("", *(f"{task} {metric}" for task, metric in self.metrics.items())), rows

    def to_json(self) -> dict[str, object]:
        """The part of ablations.json for the student or the teacher."""
        changes = {name: {t: e.to_json() for t, e in of.items()} for name, of in self.differences().items()}
        base = {task: e.to_json() for task, e in self.base.items()}
        return {"seeds": list(self.seeds), "metrics": self.metrics, "base": base, "changes": changes}


def changes_of(config: Config, what: What) -> dict[str, Config]:
    """The settings as they are, and with each change that changes something, by name."""
    settings = {BASE: config}
    for name, values in WHAT[what].items():
        made = applied(config, values)
        if name == _WITHOUT_TEXT and config.data.items.text:
            settings[name] = made
        elif name.startswith("with ") and getattr(config.teacher, next(iter(values)).partition(".")[2]):
            continue  # the settings have it already, only less or more of it
        elif name == _WITHOUT_PROBABILITIES and not any(task.kind in ("binary", "regression") for task in config.tasks):
            continue  # it is about impressions
        elif made != config:
            settings[name] = made
    return settings


def ablate(run: Run, what: What = "student", only: Sequence[str] = (), seeds: Sequence[int] | None = None) -> Ablations:
    """Train with each change and judge on valid; writes the part of report/ablations.json for `what`.

    All students have the same teacher, which did not learn from valid, and are judged with their INT8 table. Of a
    teacher one network, which saw a part of the users, stands for the mean of all folds, blended with the ensemble.
    What an earlier call has trained is not trained again.
    Args:
        only: these changes; all by default. seeds: that of the settings by default.
    Raises:
        ConfigError: there is no such change.
    """
    config = run.config
    plain = on_valid(config).model_copy(update={"training": on_one_device(config)})
    wanted = changes_of(plain, what)
    if unknown := set(only) - set(wanted):
        named = ", ".join(f'"{name}"' for name in wanted if name != BASE)
        raise ConfigError(f'ablate: no change "{sorted(unknown)[0]}" of this {what}; there are {named}')
    wanted = {name: of for name, of in wanted.items() if name == BASE or not only or name in only}
    numbers = tuple(seeds or (config.seed,))
    trainings = (Students if what == "student" else Teachers)(replace(run, asked=plain))
    results: dict[str, list[Metrics]] = {name: [] for name in wanted}
    for seed in numbers:
        for name in trainings.ordered(wanted):
            results[name].append(trainings.result(name, wanted[name].model_copy(update={"seed": seed})))
    deciding_of = trainings.deciding_metrics(results[BASE][0])
    means = {
        name: {task: mean_over_seeds([one[task][metric] for one in of_seeds]) for task, metric in deciding_of.items()}
        for name, of_seeds in results.items()
    }
    report = Ablations(what, numbers, deciding_of, means.pop(BASE), means)
    _write(report, config, run.report)
    return report


def _write(report: Ablations, config: Config, folder: Path) -> None:
    """Write ablations.json, which keeps the part for what was not trained, and draw the page anew."""
    path = folder / "ablations.json"
    before = read_json(path) if path.is_file() else {}
    whole = {**before, "part": "valid", report.of: report.to_json() | {"settings": settings_of(config)}}
    write_json(path, whole, sort_keys=False)  # in the order of the table
    redraw(folder)


class Trainings:
    """Trainings of one run with changed settings; results are stored in work/ablations/ of the run."""

    what: What

    def __init__(self, run: Run) -> None:
        """`base` is the run whose dataset, and teacher, the trainings read."""
        self.run, self.base = run, run
        self.folder = run.folder / "work" / "ablations"

    def ordered(self, wanted: Mapping[str, Config]) -> Iterator[str]:
        """Names of the changes, in the order that needs the least work."""
        return iter(wanted)

    def result(self, name: str, config: Config) -> Metrics:
        """The metrics of one training, read from disk if an earlier call has done it."""
        self.prepare()
        key = self.key([name, config.model_dump(mode="json", include={*_LEARNED})])
        path = self.folder / f"{key}.json"
        if not path.exists():
            self.run.progress.headline(f"{name}, seed {config.seed}")
            work = self.folder / key
            metrics = self.judged(name, config, work)
            whole = {t: {m: e.to_json(deviations=True) for m, e in own.items()} for t, own in metrics.items()}
            write_json(work / "result.json", whole)
            (work / "result.json").replace(path)
            shutil.rmtree(work)
        return {t: {m: Estimate.from_json(e) for m, e in own.items()} for t, own in read_json(path).items()}

    def key(self, made_by: Sequence[object]) -> str:
        """A short name for what was made from this run's dataset with these plain values."""
        values = json.dumps([self.what, *made_by], sort_keys=True).encode()
        return hashlib.sha256(values + (self.base.dataset / "dataset.json").read_bytes()).hexdigest()[:16]

    def deciding_metrics(self, metrics: Metrics) -> dict[str, str]:
        """The deciding metric of each task that can be judged on valid."""
        names = {task.name: deciding(task, self.run.config.evaluation.k) for task in self.data.tasks}
        return {t: m for t, m in names.items() if m in metrics.get(t, {}) and math.isfinite(metrics[t][m].value)}

    def prepare(self) -> None:
        """Make what all trainings need."""
        pipeline.run(self.run.config, self.run.folder, self.run.progress, until="prepare")

    @property
    def data(self) -> LearningData:
        """The data of the settings as they are."""
        return self.base.learning_data("valid")

    def judged(self, name: str, config: Config, work: Path) -> Metrics:
        """Train and judge; an interrupted training goes on in `work`."""
        raise NotImplementedError


class Students(Trainings):
    """Students of one teacher."""

    what = "student"

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.base = replace(run, folder=taught_on_train(run))
        self._data: LearningData | None = None
        self._labelled: dict[str, Examples] = {}

    def ordered(self, wanted: Mapping[str, Config]) -> Iterator[str]:
        return iter(sorted(wanted, key=lambda name: (self._labels(wanted[name]) != self._labels(wanted[BASE]), name)))

    def prepare(self) -> None:
        """There is nothing to make: the teacher's run is complete."""

    @property
    def data(self) -> LearningData:
        self._data = self._data or super().data
        return self._data

    def judged(self, name: str, config: Config, work: Path) -> Metrics:
        examples, progress = self._examples(config), self.run.progress
        settings = student_settings(config)
        student = new_student(settings, self.data)
        train_student(settings, self.data, examples, student, config.distillation.epochs, work, progress, name)
        expectations = calibrated(student, self.data, config.seed)
        student.qat = True
        return evaluate_scorer(TorchScorer([student.eval()], self.data, expectations), self.data, config.evaluation.k)

    def _labels(self, config: Config) -> str:
        d = config.distillation
        early = "-early" if d.early_teacher_epochs else ""
        return f"{d.pseudo_labelled:g}-{d.future:g}{early}" if needs_teacher(d) else "none"

    def _examples(self, config: Config) -> Examples:
        """The examples with labels; only one set of labels at a time is in memory."""
        key = self._labels(config)
        if key not in self._labelled:
            plain = config.model_copy(update={"seed": self.run.config.seed})
            folder = self.folder / f"labels-{key}"
            self._labelled = {key: labelled_examples(replace(self.base, asked=plain), self.data, folder)[0]}
        return self._labelled[key]


class Teachers(Trainings):
    """One network each, blended with the members that the change leaves."""

    what = "teacher"

    def judged(self, name: str, config: Config, work: Path) -> Metrics:
        run = replace(self.base, asked=config)
        data = run.learning_data("valid")
        if name == _WITHOUT_TEXT:
            features = replace(data.features, text=torch.zeros((len(data.features.text), 0)))
            data = replace(data, features=features, text_source=None)
        settings = config.model_dump(mode="json", include={"seed", "data", "task", "ensemble"})
        shared = self.folder / f"members-{self.key([settings, data.shape.text])}"
        return judged_network(run, data, work, shared, name)


def judged_network(
    run: Run, data: LearningData, work: Path, members: Path, title: str
) -> dict[str, dict[str, Estimate]]:
    """Metrics of one network, blended with the ensemble, on the evaluation split of `data`.

    The members of the ensemble are stored in the folder `members`.
    """
    config, settings, progress = run.config, run.ensemble_settings, run.progress
    network, _ = fit_on_valid(config.teacher, config.training, config.seed, data, work / "network", progress, title)
    others = Members.fit(settings, data, members, [0], None, progress)
    weights = choose_weights(settings, data, [network.eval()], others, work / WEIGHTS, progress)
    scorer = EnsembleScorer(Ensemble(config.ensemble.candidates, data, [network], others, weights))
    return evaluate_scorer(scorer, data, config.evaluation.k)
