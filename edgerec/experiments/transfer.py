"""The transfer report: does a task gain from being learned with the others, and which way of sharing serves best?"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np

from edgerec.config import Config
from edgerec.ensemble.scoring import TorchScorer
from edgerec.errors import ConfigError
from edgerec.evaluation.page import redraw
from edgerec.evaluation.quality import evaluate_scorer
from edgerec.evaluation.report import settings_of
from edgerec.examples.batches import Examples
from edgerec.examples.load import LearningData
from edgerec.files import read_json, write_json
from edgerec.metrics import Estimate, TaskMetrics
from edgerec.models.experts import SHARING
from edgerec.progress import Progress
from edgerec.stages.run import Run
from edgerec.tasks import Task
from edgerec.training.teacher import fit_on_valid
from edgerec.training.weighting import WEIGHTINGS

CERTAIN = 1.96
"""Standard errors beyond which a difference is no chance: an interval of 95 %."""

Figures: TypeAlias = TaskMetrics
"""By task, in the metric that decides for it."""


@dataclass(frozen=True)
class SharingStrategy:
    """How the tasks are learned together: [teacher] `sharing` and `loss_weights`."""

    sharing: str
    loss_weights: str

    def __str__(self) -> str:
        return f"{self.sharing}, {self.loss_weights}"


@dataclass(frozen=True)
class TransferReport:
    """Each task alone and together with the others, on valid, as means over `seeds`.

    Attributes:
        metrics: by task.
        together: by way; the first one is that of the settings.
    """

    seeds: tuple[int, ...]
    metrics: dict[str, str]
    alone: Figures
    together: dict[SharingStrategy, Figures]

    def gain(self, strategy: SharingStrategy, over: SharingStrategy | None = None) -> tuple[float, float]:
        """Mean over the tasks of the relative gain over being learned alone, or in another way; and its error at most.

        Source: Maninis et al., CVPR 2019, section 5.3. The error is that of tasks which err together.
        """
        other = self.alone if over is None else self.together[over]
        differences = [self.together[strategy][t].minus(other[t]) for t in self.alone]
        shares = [1 / abs(e.value) if e.value else math.nan for e in self.alone.values()]
        return tuple(
            float(np.mean([s * x for s, x in zip(shares, values, strict=True)]))
            for values in ([d.value for d in differences], [d.se for d in differences])
        )  # type: ignore[return-value]

    def pick(self) -> SharingStrategy:
        """The way of the largest mean gain, unless its lead over that of the settings can be chance."""
        configured, best = next(iter(self.together)), max(self.together, key=lambda strategy: self.gain(strategy)[0])
        lead, error = self.gain(best, configured)
        return best if lead > CERTAIN * error else configured

    def table(self) -> tuple[Sequence[str], list[list[str]]]:
        """Columns and rows for the screen: a row a task and way."""
        columns = ("task", "metric", "together by", "alone", "together", "difference", "verdict")
        rows = []
        for task, alone in self.alone.items():
            for strategy, found in self.together.items():
                difference = found[task].minus(alone)
                figures = (_figure(alone), _figure(found[task]), _figure(difference, "+"))
                rows.append([task, self.metrics[task], str(strategy), *figures, verdict(difference)])
        return columns, rows

    def strategies(self) -> tuple[Sequence[str], list[list[str]]]:
        """Columns and rows for the screen: the mean gain of each way, the largest first."""
        ordered = sorted(self.together, key=lambda strategy: -self.gain(strategy)[0])
        return ("together by", "mean gain over alone"), [[str(w), _percent(*self.gain(w))] for w in ordered]

    def sentence(self) -> str:
        """What the evidence picks."""
        configured, best = next(iter(self.together)), max(self.together, key=lambda strategy: self.gain(strategy)[0])
        strategy, (value, error) = self.pick(), self.gain(self.pick())
        said = f'sharing = "{strategy.sharing}", loss_weights = "{strategy.loss_weights}"'
        if best != configured:
            lead = f"the lead of {best} over {configured} is {_percent(*self.gain(best, configured))}"
            said += f": {lead}" + ("" if strategy == best else ", which can be chance")
        if value < -CERTAIN * error:
            said += "; but the tasks lose by being learned together: a network for each serves them better"
        return f"the evidence picks {said}"

    def to_json(self) -> dict[str, Any]:
        """The content of transfer.json."""
        tasks = {
            task: {
                "metric": self.metrics[task],
                "alone": alone.to_json(),
                "together": {
                    str(strategy): {
                        **found[task].to_json(),
                        "difference": found[task].minus(alone).to_json(),
                        "verdict": verdict(found[task].minus(alone)),
                    }
                    for strategy, found in self.together.items()
                },
            }
            for task, alone in self.alone.items()
        }
        gains = {
            str(strategy): dict(zip(("value", "se_at_most"), self.gain(strategy), strict=True))
            for strategy in self.together
        }
        picked = {"sharing": self.pick().sharing, "loss_weights": self.pick().loss_weights}
        return {"part": "valid", "seeds": list(self.seeds), "tasks": tasks, "gain": gains, "picked": picked}


def verdict(difference: Estimate) -> str:
    """Of together minus alone."""
    if not abs(difference.value) > CERTAIN * difference.se:
        return "no difference shown"
    return "gains" if difference.value > 0 else "loses"


def transfer(
    config: Config, run_dir: Path, progress: Progress, seeds: int = 1, compare: bool = False
) -> TransferReport:
    """Train each task alone and all together, on the same users, and judge them on valid; writes report/transfer.json.

    A task that comes after others is learned with these. Each network is trained for the epochs that are best for its
    own tasks. What was trained is not trained again, whatever a later call asks for beside it.
    Args:
        seeds: how many, from the settings' on.
        compare: all ways of sharing and weighing, not only that of the settings.
    Raises:
        ConfigError: there is one task only.
        DataError: the run has no dataset.
    """
    if len(config.task) < 2:
        raise ConfigError("edgerec transfer compares tasks learned together with each alone; here is one task only")
    settings = settings_of(config)
    # One process each, and nothing compiled: some ways of weighing need it, and all are to be compared.
    training = config.training.model_copy(update={"devices": 1, "num_nodes": 1, "compile": False})
    config = config.model_copy(update={"training": training})
    strategies = [SharingStrategy(config.teacher.sharing, config.teacher.loss_weights)]
    if compare:
        strategies += [
            strategy
            for strategy in (SharingStrategy(s, w) for s, w in product(SHARING, WEIGHTINGS))
            if strategy not in strategies
        ]
    numbers = tuple(range(config.seed, config.seed + seeds))
    judged = [_of_seed(config.model_copy(update={"seed": n}), run_dir, strategies, progress) for n in numbers]
    metrics = {task: metric for task, (metric, _) in judged[0][0].items()}
    means = [_over_seeds([found[i] for found in judged]) for i in range(1 + len(strategies))]
    report = TransferReport(numbers, metrics, means[0], dict(zip(strategies, means[1:], strict=True)))
    write_json(run_dir / "report" / "transfer.json", report.to_json() | {"settings": settings})
    redraw(run_dir / "report")
    return report


_Judged: TypeAlias = dict[str, tuple[str, Estimate]]
"""By task, the metric that decides and what it is."""


def _of_seed(config: Config, run_dir: Path, strategies: Sequence[SharingStrategy], progress: Progress) -> list[_Judged]:
    """The tasks alone, then together in each way."""

    @cache
    def data() -> LearningData:
        return Run(config, run_dir, progress).learning_data("valid")

    def with_teacher(**changes: str) -> Config:
        return config.model_copy(update={"teacher": config.teacher.model_copy(update=changes)})

    alone: _Judged = {}
    names = [task.name for task in config.task]
    for name in names:
        tasks = with_parents(name, config)
        title = f"{name} alone, seed {config.seed}"
        found = _judged(with_teacher(loss_weights="fixed"), run_dir, data, tasks, title, progress)
        alone |= {name: found[name]} if name in found else {}
    together = []
    for strategy in strategies:
        title = f"together by {strategy}, seed {config.seed}"
        changed = with_teacher(sharing=strategy.sharing, loss_weights=strategy.loss_weights)
        together.append(_judged(changed, run_dir, data, names, title, progress))
    return [alone, *together]


def _judged(
    config: Config,
    run_dir: Path,
    data: Callable[[], LearningData],
    names: Sequence[str],
    title: str,
    progress: Progress,
) -> _Judged:
    """What a network that learns the tasks `names` is worth on valid; trained only if no call has done so before."""
    settings = config.model_dump(mode="json", include={"seed", "task", "teacher", "training", "data"})
    key = hashlib.sha256(json.dumps([settings, list(names), list(config.evaluation.k)], sort_keys=True).encode())
    key.update((run_dir / "dataset" / "dataset.json").read_bytes() if (run_dir / "dataset").exists() else b"")
    folder = run_dir / "work" / "transfer" / key.hexdigest()[:12]
    result = folder / "result.json"
    if not result.exists():
        own = only(data(), names)
        model, _ = fit_on_valid(config.teacher, config.training, config.seed, own, folder / "model", progress, title)
        found = evaluate_scorer(TorchScorer([model.eval()], own), own, config.evaluation.k)
        metrics = {task.name: deciding(task, config.evaluation.k) for task in own.tasks}
        values = {task: [metric, found[task][metric].to_json(deviations=True)] for task, metric in metrics.items()}
        write_json(folder / "unfinished.json", values)
        (folder / "unfinished.json").rename(result)
        shutil.rmtree(folder / "model")
    read = {task: (metric, Estimate.from_json(value)) for task, (metric, value) in read_json(result).items()}
    return {task: (metric, e) for task, (metric, e) in read.items() if math.isfinite(e.value)}


def with_parents(name: str, config: Config) -> list[str]:
    """A task, and before it those that it comes after."""
    after = {task.name: task.after for task in config.task}
    chain = [name]
    while (parent := after[chain[0]]) is not None:
        chain.insert(0, parent)
    return chain


def only(data: LearningData, names: Sequence[str]) -> LearningData:
    """`data` for a model that learns the tasks `names`; what it is told of users and items stays the same."""
    tasks = tuple(task for task in data.tasks if task.name in names)
    kinds = {task.kind for task in tasks}

    def of(examples: Examples) -> Examples:
        return replace(
            examples,
            tasks=tasks,
            sessions=examples.sessions if kinds & {"retrieval", "related"} else None,
            impressions=examples.impressions if kinds & {"binary", "regression"} else None,
        )

    return replace(data, train=of(data.train), evaluation=of(data.evaluation))


def deciding(task: Task, k: Sequence[int]) -> str:
    """The metric by which a task is compared."""
    ranking = {"retrieval": f"ndcg@{k[0]}", "related": "capped_recall@10"}
    return ranking.get(task.kind, "auc" if task.kind == "binary" else "xauc")


def _over_seeds(found: Sequence[_Judged]) -> Figures:
    """The mean of each task over the seeds."""
    return {task: mean_over_seeds([of[task][1] for of in found]) for task in found[0]}


def mean_over_seeds(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of one metric on the same cases; its error has that of the cases and that of the seeds.

    Of two such means over the same seeds, the difference is paired by case and by seed.
    """
    n, values = len(estimates), np.array([e.value for e in estimates])
    deviations = [e.deviations for e in estimates]
    if any(d is None for d in deviations):
        return Estimate(float(values.mean()), estimates[0].n)
    of_cases = np.mean(np.stack(cast("list[Any]", deviations)), axis=0)
    of_seeds = (values - values.mean()) / math.sqrt(n * (n - 1)) if n > 1 else np.zeros(0)
    return Estimate(float(values.mean()), estimates[0].n, np.concatenate([of_cases, of_seeds]))


def _figure(e: Estimate, sign: str = "") -> str:
    return f"{e.value:{sign}.4f} ±{e.se:.4f}"


def _percent(value: float, error: float) -> str:
    return f"{100 * value:+.2f} % ±{100 * error:.2f}"
