"""`edgerec fit`: from a device's budget to the best bundle inside it.

Each trial is a whole small bundle: a student distilled for a part of the epochs, pruned, rounded, and asked through the
runtime on the valid part. What cannot fit by the cost model is never trained. The best trial is then made again with
all epochs, measured on this machine and judged as `edgerec run` does it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from edgerec.bench.measure import Measured, Target, measure, verdicts
from edgerec.bundle import Bundle
from edgerec.compression.catalog_filter import never_shown
from edgerec.compression.graphs import Expectation
from edgerec.compression.pruning import pruned_student
from edgerec.config import SIZES, Config
from edgerec.devices import Profile, load_profile
from edgerec.distillation.student import new_student, train_student
from edgerec.errors import EdgerecError, QualityError
from edgerec.evaluation.page import write_page
from edgerec.evaluation.quality import evaluate_bundle, evaluate_scorer
from edgerec.evaluation.report import Report
from edgerec.examples.load import catalogue_length
from edgerec.experiments.device_search.calibrate import calibrate, made_up, to_json
from edgerec.experiments.device_search.cost import CostModel, Costs, Point
from edgerec.experiments.device_search.report import FitReport, TrialRow, chosen, front
from edgerec.experiments.device_search.trials import Untrained
from edgerec.experiments.tuning.search import on_one_device, on_valid, taught_on_train
from edgerec.experiments.tuning.space import Values, applied
from edgerec.files import read_json, write_json
from edgerec.metrics import ModelMetrics
from edgerec.models.student import Student, StudentSizes
from edgerec.progress import Progress
from edgerec.stages import pipeline
from edgerec.stages.evaluate import seal
from edgerec.stages.labels import labelled_examples
from edgerec.stages.quantize import build
from edgerec.stages.run import Run
from edgerec.training.calibrate import calibrate as calibrate_student
from edgerec.training.checkpoint import load_student, save_student

SHORT = 0.25
"""Share of the epochs of a trial's student."""
DIMS = (8, 16, 24, 32, 48, 64)
HIDDEN = (16, 32, 64, 96, 128)
CUTS = (0.0, 0.25, 0.5)
TABLES = ("int8", "int4", "pq")
DRAWS = 30
"""Settings in a row that may be hopeless before the search takes it that nothing else fits."""
SLACK = 1.3
"""A trial is hopeless if it is expected to take so many times what the device allows: predictions of times err."""


def fit(config: Config, run_dir: Path, progress: Progress, trials: int, corrections: Sequence[Path] = ()) -> FitReport:
    """Search, finish the best bundle in ``fit/DEVICE/`` of the run, and measure it.

    Goes on where an earlier call was stopped.
    Args:
        trials: that are trained. corrections: files of `edgerec bench --save`, from the device.
    Raises:
        QualityError: nothing fits, or what was chosen turns out not to; it says what would have to give.
    """
    profile = load_profile(config.device)
    known = [Point.read(path) for path in corrections]
    search = _Search(config, run_dir, profile, known, progress)
    search.make(trials)
    rows = search.rows()
    best = chosen(rows)
    if best is None:
        report = search.report(rows, None, {}, {})
        _write(search.folder, report)
        raise QualityError(search.nothing_fits(rows))
    return search.finish(rows, best)


class _Search:
    """One search in ``fit/DEVICE/``; students, which no device changes, are shared in ``fit/students/``."""

    def __init__(
        self, config: Config, run_dir: Path, profile: Profile, corrections: Sequence[Point], progress: Progress
    ) -> None:
        self.config, self.run_dir, self.profile, self.progress = config, run_dir, profile, progress
        self.corrections = corrections
        self.shared, self.folder = run_dir / "fit", run_dir / "fit" / profile.name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.trial_config = on_valid(config).model_copy(update={"training": on_one_device(config)})
        self.base = taught_on_train(self.trial_config, run_dir, progress)
        progress.stage(f"Searching for {profile.name}")
        self.run = Run(self.trial_config, self.base, progress)
        self.data = self.run.learning_data("valid")
        self.untrained = Untrained(self.data.shape, self.data.features, self.data.tasks)
        self.space = space_of(config, profile)
        self.gone = never_shown(config.pruning.never_shown, self.data.dataset, "valid", self.data.n_items)
        part = config.evaluation.part
        n_items = catalogue_length(config.data, self.data.dataset, part)
        self.n_items = n_items - len(never_shown(config.pruning.never_shown, self.data.dataset, part, n_items))
        self.study = self._study()
        self.model = CostModel.fit(self._points())
        self._examples: Any = None
        self._teacher: dict[str, float] | None = None

    def make(self, trials: int) -> None:
        """Make trials until so many are trained, or nothing that could fit is drawn any more."""
        hopeless = 0
        while len(self.study.get_trials(states=[TrialState.COMPLETE])) < trials and hopeless < DRAWS:
            trial = self.study.ask()
            values = plain({key: trial.suggest_categorical(key, of) for key, of in self.space.items()})
            settings = applied(self.trial_config, values)
            costs = self.costs(settings)
            trial.set_user_attr("settings", values)
            trial.set_user_attr("expected", asdict(costs))
            if self._same_as_before(values, trial.number):
                hopeless += 1
                self.study.tell(trial, state=TrialState.PRUNED)
                continue
            if over := self.hopeless(costs):
                hopeless += 1
                trial.set_user_attr("why", over)
                self.study.tell(trial, state=TrialState.PRUNED)
                continue
            hopeless = 0
            said = ", ".join(f"{key.partition('.')[2]} = {value}" for key, value in values.items())
            n = len(self.study.get_trials(states=[TrialState.COMPLETE]))
            self.progress.say(f"trial {n + 1} of {trials}: {said}")
            try:
                quality, tasks = self._trained(settings)
                costs = self.costs(settings)
            except EdgerecError as error:  # these settings are no good; others may be
                hopeless += 1
                self.progress.say(f"   failed: {error}")
                self.study.tell(trial, state=TrialState.FAIL)
                continue
            except BaseException:  # Ctrl-C, or a mistake of ours: the next call goes on
                self.study.tell(trial, state=TrialState.FAIL)
                raise
            trial.set_user_attr("expected", asdict(costs))
            trial.set_user_attr("tasks", tasks)
            self.progress.say(
                f"   keeps {quality:.1%} of the teacher, {costs.bundle_mb:.3f} MB, {costs.p95_ms:.2f} ms expected"
            )
            self.study.tell(trial, [quality, costs.bundle_mb, costs.p95_ms])

    def rows(self) -> list[TrialRow]:
        """Every trial that was trained or found hopeless."""
        found = []
        for trial in self.study.get_trials(deepcopy=False):
            expected = trial.user_attrs.get("expected")
            if expected is None or (trial.state == TrialState.PRUNED and "why" not in trial.user_attrs):
                continue
            quality = trial.values[0] if trial.state == TrialState.COMPLETE else None
            costs = Costs(**expected)
            over = costs.over(self.profile)
            found.append(
                TrialRow(
                    trial.number, trial.user_attrs["settings"], quality, trial.user_attrs.get("tasks", {}), costs, over
                )
            )
        best = front([row for row in found if row.quality is not None])
        return [row.on_front() if row in best else row for row in found]

    def costs(self, settings: Config) -> Costs:
        """What the bundle of these settings is expected to cost on the device."""
        other = self.study.user_attrs.get("other_bytes", 0)  # told by the first trial that is made
        work = self.untrained.work(settings, self.n_items)
        return self.model.on(work, self.profile, self.corrections, other)

    def hopeless(self, costs: Costs) -> str | None:
        """Why a trial need not be trained: sizes are known exactly, memory nearly, times roughly."""
        slack = {"bundle_mb": 1.0, "peak_ram_mb": 1.1, "p95_ms": SLACK, "cold_start_ms": SLACK}
        over = {name: (v, limit) for name, (v, limit) in costs.over(self.profile).items() if v > slack[name] * limit}
        return "; ".join(f"{name} {v:.3g}, at most {limit:.3g}" for name, (v, limit) in over.items()) or None

    def nothing_fits(self, rows: Sequence[TrialRow]) -> str:
        """What the nearest miss needs, and what would have to give."""

        def excess(row: TrialRow) -> float:
            return max((value / limit for value, limit in row.over.values()), default=0.0)

        nearest = min(rows, key=excess)
        told = "; ".join(
            f"{name} must be at least {value:.3g}, the budget has {limit:.3g}"
            for name, (value, limit) in nearest.over.items()
        )
        set_to = ", ".join(f"{key} = {value}" for key, value in nearest.settings.items())
        return (
            f"nothing fits {self.profile.name}: the nearest of {len(rows)} settings ({set_to}) is over it: {told}; "
            f"raise these figures of the profile, or have fewer items ({self.n_items:,} now) or tasks"
        )

    def finish(self, rows: Sequence[TrialRow], best: TrialRow) -> FitReport:
        """Make the chosen bundle with all epochs, judge it, and measure it against the budget."""
        settings = applied(self.config, dict(best.settings))
        pipeline.run(self.config, self.run_dir, self.progress, until="train")
        self._lend("dataset", "teacher", "soft", "stages/prepare.json", "stages/train.json")
        pipeline.run(settings, self.folder, self.progress, until="evaluate")
        if not (self.run_dir / "soft").exists():  # made once for all devices
            shutil.copytree(self.folder / "soft", self.run_dir / "soft")
        target = Target.of(self.profile.to_json(), self.profile.name)
        self.progress.say("measuring the bundle")
        measured, pace = self._measured(target)
        kept = verdicts(measured, target)
        limits = {name: (limit, value) for name, (limit, value, _) in kept.items()}
        report = self.report(rows, best, self._checked(settings, measured, pace), limits)
        _write(self.folder, report)
        whole = Report.read(self.folder / "report").with_search(report.to_json())
        whole.write(self.folder / "report")
        write_page(whole, self.folder / "report")
        seal(self.folder / "bundle", whole)
        if over := [name for name, (_, _, ok) in kept.items() if not ok]:
            raise QualityError(
                f"{self.folder / 'bundle'}: over the budget of {self.profile.name}, measured here: {', '.join(over)}"
            )
        return report

    def _measured(self, target: Target) -> tuple[Measured, float]:
        """The finished bundle, and how many times slower than when the model was fitted this machine is now.

        A machine that others use has no one speed: a bundle whose time is known is measured in turn with ours.
        """
        with tempfile.TemporaryDirectory() as folder:
            known, sizes = Path(folder) / "known", StudentSizes.of(*SIZES["std"])
            work = made_up(
                self.untrained, self.data.encoder, self.profile, sizes, self.n_items, self.profile.kernel, known
            )
            measured, beside = measure([self.folder / "bundle", known], target.threads)
        return measured, beside.p50_ms / (self.model.here(work).p95_ms / self.model.tail)

    def _checked(self, settings: Config, measured: Measured, pace: float) -> dict[str, tuple[float, float]]:
        """What the cost model expects of the finished bundle on this machine, beside what was measured."""
        work = self.untrained.work(settings, self.n_items)
        found, costs = Point.of(work, measured).measured, self.model.here(work)
        actual = Bundle.open(self.folder / "bundle").manifest.device["work"]["model_bytes"]
        return {
            "model_mb": (work.model_bytes / 1e6, actual / 1e6),
            "peak_ram_mb": (costs.peak_ram_mb, found["peak_ram_mb"]),
            "p50_ms": (pace * costs.p95_ms / self.model.tail, found["p50_ms"]),
        }

    def _lend(self, *names: str) -> None:
        """Give the folder of this device what the run has already made."""
        for name in names:
            source, target = self.run_dir / name, self.folder / name
            if target.is_dir():
                shutil.rmtree(target)
            target.unlink(missing_ok=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                # What no stage after the teacher writes is not stored twice, where the disk allows it.
                shutil.copytree(source, target, copy_function=shutil.copy2 if name == "soft" else _link)
            elif source.exists():
                shutil.copy2(source, target)

    def report(
        self,
        rows: Sequence[TrialRow],
        best: TrialRow | None,
        checked: Mapping[str, tuple[float, float]],
        measured: Mapping[str, tuple[float, float | None]],
    ) -> FitReport:
        """All that was found."""
        return FitReport(self.profile.name, tuple(rows), best, dict(checked), dict(measured), self.folder / "bundle")

    # -------------------------------------------------------------------------------------------- one trial

    def _trained(self, settings: Config) -> tuple[float, dict[str, float]]:
        """The share of the teacher that is kept, in the mean and by task."""
        data, work = self.data, self.folder / "work"
        shutil.rmtree(work, ignore_errors=True)  # of a trial that was stopped
        student = self._student(settings)
        four_bits, made_by = settings.quantization.table == "int4", Run(settings, work, self.progress).student_settings
        pruned = pruned_student(
            settings.pruning, made_by, four_bits, data, self._soft(), student, work / "pruned", self.progress
        )
        expectations = {name: Expectation(**v) for name, v in calibrate_student(pruned, data).items()}
        build(settings, data, pruned, expectations, work / "bundle", self.gone)
        sizes = {path.name: path.stat().st_size for path in (work / "bundle").iterdir()}
        model = sum(size for name, size in sizes.items() if name.endswith((".onnx", ".bin")))
        self.study.set_user_attr("other_bytes", sum(sizes.values()) - sizes["catalog.sqlite"] - model)
        found = figures(evaluate_bundle(work / "bundle", data, settings.evaluation.k, self.progress), settings)
        tasks = {task: value / self._taught()[task] for task, value in found.items()}
        shutil.rmtree(work)
        return statistics.mean(tasks.values()), tasks

    def _student(self, settings: Config) -> Student:
        """Distilled for a part of the epochs; of the same widths it is made once."""
        d = settings.distillation
        short = d.model_copy(update={"epochs": max(1, round(SHORT * d.epochs))})
        settings = settings.model_copy(update={"distillation": short})
        said = settings.model_dump_json(include={"seed", "task", "student", "distillation"})
        key = hashlib.sha256(said.encode() + (self.base / "stages" / "train.json").read_bytes()).hexdigest()[:12]
        place = self.shared / "students" / key
        if (place / "model.json").exists():
            return load_student(place, self.data.shape, self.data.features, short.dropout)
        made_by = Run(settings, self.run_dir, self.progress).student_settings
        student = new_student(made_by, self.data)
        work = self.shared / "work" / key
        train_student(made_by, self.data, self._soft(), student, short.epochs, work, self.progress, "student")
        save_student(student, place, {})
        shutil.rmtree(work, ignore_errors=True)
        return student

    def _soft(self) -> Any:
        if self._examples is None:
            self._examples = labelled_examples(self.run, self.data)[0]
        return self._examples

    def _taught(self) -> dict[str, float]:
        """The teacher's figure of each task on valid, made once."""
        if self._teacher is None:
            stamp = hashlib.sha256((self.base / "stages" / "train.json").read_bytes()).hexdigest()
            path = self.shared / "teacher.json"
            if not path.exists() or read_json(path)["stamp"] != stamp:
                scorer = self.run.scorer("teacher", self.data)
                found = figures(evaluate_scorer(scorer, self.data, self.config.evaluation.k), self.trial_config)
                write_json(path, {"stamp": stamp, "figures": found})
            self._teacher = read_json(path)["figures"]
        return self._teacher

    # -------------------------------------------------------------------------------------------- what is kept

    def _points(self) -> list[Point]:
        """Measurements of this machine, made once for each thread count and set of bodies."""
        kernels = sorted({*self.space["quantization.kernel"], self.profile.kernel})
        path = self.shared / f"machine-{self.profile.threads}-{'-'.join(kernels)}.json"
        if not path.exists():
            points = calibrate(self.untrained, self.data.encoder, self.profile, kernels, self.progress)
            write_json(path, {"points": to_json(points)})
        return [Point.of_json(values) for values in read_json(path)["points"]]

    def _study(self) -> optuna.Study:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        said = [self.trial_config.model_dump_json(exclude={"device", "name"}), repr(self.space), repr(self.profile)]
        key = hashlib.sha256("\n".join(said).encode() + (self.base / "stages" / "train.json").read_bytes()).hexdigest()
        study = optuna.create_study(
            storage=f"sqlite:///{self.folder / 'study.db'}",
            study_name=key[:12],
            load_if_exists=True,
            directions=["maximize", "minimize", "minimize"],
        )
        study.sampler = optuna.samplers.TPESampler(seed=self.config.seed + len(study.trials), n_startup_trials=6)
        for values in first_of(self.config, self.space):
            study.enqueue_trial(values, skip_if_exists=True)
        return study

    def _same_as_before(self, values: Values, number: int) -> bool:
        return any(
            trial.user_attrs.get("settings") == values
            for trial in self.study.get_trials(deepcopy=False, states=[TrialState.COMPLETE, TrialState.PRUNED])
            if trial.number != number
        )


def space_of(config: Config, profile: Profile) -> dict[str, list[Any]]:
    """What is searched, by "section.key": width, hidden units, pruning, bits and body of what the device can run."""
    kernels = ["u8s8", "fp32"] if profile.runtime == "onnxruntime-web" else ["u8s8", "nbits8", "fp32"]
    dim, hidden, *_ = config.student.widths
    space: dict[str, list[Any]] = {
        "student.dim": sorted({*DIMS, dim}),
        "student.hidden": sorted({*HIDDEN, hidden}),
        "pruning.hidden": list(CUTS),
        "pruning.heads": [0.0, 0.5],
        "quantization.table": list(TABLES),
        "quantization.kernel": kernels,
    }
    if config.student.transitions:
        space["student.transitions"] = [0, config.student.transitions // 2, config.student.transitions]
    return space


def plain(values: Values) -> Values:
    """The same bundle by its simplest settings: float32 are not packed, and codebooks have one body."""
    if values["quantization.kernel"] == "fp32":
        return values | {"quantization.table": "int8"}
    if values["quantization.table"] == "pq":
        return values | {"quantization.kernel": "u8s8"}
    return values


def first_of(config: Config, space: Mapping[str, Sequence[Any]]) -> list[Values]:
    """Where the search begins: the widths of the settings, the sizes that have names, and the least of all."""
    found: list[Values] = []
    named = [SIZES[size][:2] for size in ("nano", "std", "small", "large")]
    for dim, hidden in dict.fromkeys([config.student.widths[:2], *named]):
        values: Values = {key: of[0] for key, of in space.items()}
        values |= {"student.dim": dim, "student.hidden": hidden, "pruning.hidden": 0.25}
        if config.student.transitions:
            values["student.transitions"] = config.student.transitions
        found.append(values)
    least: Values = {key: of[0] for key, of in space.items()}
    found.append(least | {"pruning.hidden": CUTS[-1], "quantization.table": TABLES[-1]})
    return [values for values in found if all(values[key] in of for key, of in space.items())]


def figures(found: ModelMetrics, config: Config) -> dict[str, float]:
    """Of each task the figure that counts: for AUC and XAUC what they are above chance."""
    k = config.evaluation.k[0]
    names = {"retrieval": (f"ndcg@{k}", 0.0), "binary": ("auc", 0.5), "regression": ("xauc", 0.5),
             "related": ("capped_recall@10", 0.0)}  # fmt: skip
    values = {}
    for task in config.tasks:
        name, chance = names[task.kind]
        if task.name in found and name in found[task.name]:
            values[task.name] = found[task.name][name].value - chance
    return values


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _write(folder: Path, report: FitReport) -> None:
    write_json(folder / "fit.json", report.to_json(), sort_keys=False)
