"""The transfer report: does a task gain from being learned with the others, and which sharing strategy is best?"""

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
from typing import TypeAlias

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
from edgerec.stages.run import Run
from edgerec.tasks import Task
from edgerec.training.teacher import fit_on_valid
from edgerec.training.weighting import WEIGHTINGS

CERTAIN = 1.96
"""A difference of more standard errors than these is not chance: a confidence interval of 95 %."""

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
    """Each task learned alone and together with the others, judged on valid, as means over `seeds`.

    Attributes:
        metrics: the deciding metric of each task. alone: figures of the tasks learned alone.
        together: figures by sharing strategy; the first strategy is that of the settings.
    """

    seeds: tuple[int, ...]
    metrics: dict[str, str]
    alone: Figures
    together: dict[SharingStrategy, Figures]

    def gain(self, strategy: SharingStrategy, over: SharingStrategy | None = None) -> tuple[float, float]:
        """Mean relative gain over the tasks, compared with learning alone or with another strategy, and its error.

        The error is an upper bound: that of tasks whose errors are fully correlated.
        Source: Maninis et al., CVPR 2019, section 5.3.
        """
        other = self.alone if over is None else self.together[over]
        differences = [self.together[strategy][t].minus(other[t]) for t in self.alone]
        shares = [1 / abs(e.value) if e.value else math.nan for e in self.alone.values()]
        return tuple(
            float(np.mean([s * x for s, x in zip(shares, values, strict=True)]))
            for values in ([d.value for d in differences], [d.se for d in differences])
        )  # type: ignore[return-value]

    def pick(self) -> SharingStrategy:
        """The strategy with the largest mean gain; that of the settings, if the lead over it can be chance."""
        configured, best = next(iter(self.together)), max(self.together, key=lambda strategy: self.gain(strategy)[0])
        lead, error = self.gain(best, configured)
        return best if lead > CERTAIN * error else configured

    def table(self) -> tuple[Sequence[str], list[list[str]]]:
        """Columns and rows for the screen: one row for each task and strategy."""
        columns = ("task", "metric", "strategy", "alone", "together", "difference", "verdict")
        rows = []
        for task, alone in self.alone.items():
            for strategy, together in self.together.items():
                difference = together[task].minus(alone)
                figures = (_figure(alone), _figure(together[task]), _figure(difference, "+"))
                rows.append([task, self.metrics[task], str(strategy), *figures, verdict(difference)])
        return columns, rows

    def strategies(self) -> tuple[Sequence[str], list[list[str]]]:
        """Columns and rows for the screen: the mean gain of each strategy, the largest first."""
        ordered = sorted(self.together, key=lambda strategy: -self.gain(strategy)[0])
        return ("strategy", "mean gain over alone"), [[str(s), _percent(*self.gain(s))] for s in ordered]

    def sentence(self) -> str:
        """The strategy that the figures suggest, for the screen."""
        configured, best = next(iter(self.together)), max(self.together, key=lambda strategy: self.gain(strategy)[0])
        strategy, (value, error) = self.pick(), self.gain(self.pick())
        text = f'the evidence picks sharing = "{strategy.sharing}", loss_weights = "{strategy.loss_weights}"'
        if best != configured:
            lead = f"the lead of {best} over {configured} is {_percent(*self.gain(best, configured))}"
            text += f": {lead}" + ("" if strategy == best else ", which can be chance")
        if value < -CERTAIN * error:
            text += "; but the tasks lose by being learned together: a network for each task is better"
        return text

    def to_json(self) -> dict[str, object]:
        """The content of transfer.json."""
        tasks = {
            task: {
                "metric": self.metrics[task],
                "alone": alone.to_json(),
                "together": {
                    str(strategy): {
                        **together[task].to_json(),
                        "difference": together[task].minus(alone).to_json(),
                        "verdict": verdict(together[task].minus(alone)),
                    }
                    for strategy, together in self.together.items()
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
    """What a difference, together minus alone, shows."""
    if not abs(difference.value) > CERTAIN * difference.se:
        return "no difference shown"
    return "gains" if difference.value > 0 else "loses"


def transfer(run: Run, seeds: int = 1, compare: bool = False) -> TransferReport:
    """Train each task alone and all together, on the same users, and judge them on valid; writes report/transfer.json.

    A conditional task is learned with the tasks that it comes after. Each network is trained for the epochs that are
    best for its own tasks. What an earlier call has trained is not trained again.
    Args:
        seeds: how many, beginning with that of the settings.
        compare: try all sharing strategies, not only that of the settings.
    Raises:
        ConfigError: there is only one task.
        DataError: the run has no dataset.
    """
    config = run.config
    if len(config.task) < 2:
        raise ConfigError("edgerec transfer compares tasks learned together with each alone; here is one task only")
    # One process each, and nothing compiled: some weightings need it, and all are to be compared.
    training = config.training.model_copy(update={"devices": 1, "num_nodes": 1, "compile": False})
    strategies = strategies_of(config, compare)
    numbers = tuple(range(config.seed, config.seed + seeds))
    judged = [
        _of_seed(replace(run, asked=config.model_copy(update={"training": training, "seed": seed})), strategies)
        for seed in numbers
    ]
    metrics = {task: metric for task, (metric, _) in judged[0][0].items()}
    means = [_over_seeds([of_seed[i] for of_seed in judged]) for i in range(1 + len(strategies))]
    report = TransferReport(numbers, metrics, means[0], dict(zip(strategies, means[1:], strict=True)))
    write_json(run.report / "transfer.json", report.to_json() | {"settings": settings_of(config)})
    redraw(run.report)
    return report


def strategies_of(config: Config, compare: bool) -> list[SharingStrategy]:
    """The sharing strategy of the settings, and with `compare` all others after it."""
    configured = SharingStrategy(config.teacher.sharing, config.teacher.loss_weights)
    others = (SharingStrategy(*pair) for pair in product(SHARING, WEIGHTINGS)) if compare else ()
    return list(dict.fromkeys([configured, *others]))


_Judged: TypeAlias = dict[str, tuple[str, Estimate]]
"""The deciding metric of each task, and its value."""


def _of_seed(run: Run, strategies: Sequence[SharingStrategy]) -> list[_Judged]:
    """The tasks alone, then together by each strategy."""
    config = run.config

    @cache
    def data() -> LearningData:
        return run.learning_data("valid")

    def with_teacher(**changes: str) -> Run:
        return replace(run, asked=config.model_copy(update={"teacher": config.teacher.model_copy(update=changes)}))

    alone: _Judged = {}
    names = [task.name for task in config.task]
    for name in names:
        title = f"{name} alone, seed {config.seed}"
        judged = _judged(with_teacher(loss_weights="fixed"), data, with_parents(name, config), title)
        alone |= {name: judged[name]} if name in judged else {}
    together = []
    for strategy in strategies:
        title = f"together by {strategy}, seed {config.seed}"
        changed = with_teacher(sharing=strategy.sharing, loss_weights=strategy.loss_weights)
        together.append(_judged(changed, data, names, title))
    return [alone, *together]


def _judged(run: Run, data: Callable[[], LearningData], names: Sequence[str], title: str) -> _Judged:
    """Figures on valid of a network that learns the tasks `names`; trained only if no call has done so before."""
    folder = _folder(run, names)
    result = folder / "result.json"
    if not result.exists():
        config, own = run.config, only(data(), names)
        network, _ = fit_on_valid(
            config.teacher, config.training, config.seed, own, folder / "model", run.progress, title
        )
        metrics = evaluate_scorer(TorchScorer([network.eval()], own), own, config.evaluation.k)
        names_of = {task.name: deciding(task, config.evaluation.k) for task in own.tasks}
        values = {task: [name, metrics[task][name].to_json(deviations=True)] for task, name in names_of.items()}
        write_json(folder / "unfinished.json", values)
        (folder / "unfinished.json").rename(result)
        shutil.rmtree(folder / "model")
    read = {task: (metric, Estimate.from_json(value)) for task, (metric, value) in read_json(result).items()}
    return {task: (metric, e) for task, (metric, e) in read.items() if math.isfinite(e.value)}


def _folder(run: Run, names: Sequence[str]) -> Path:
    """Folder of one training's result; it differs for other settings, tasks or data."""
    settings = run.config.model_dump(mode="json", include={"seed", "task", "teacher", "training", "data"})
    made_by = [settings, list(names), list(run.config.evaluation.k)]
    key = hashlib.sha256(json.dumps(made_by, sort_keys=True).encode())
    if run.dataset.exists():
        key.update((run.dataset / "dataset.json").read_bytes())
    return run.folder / "work" / "transfer" / key.hexdigest()[:12]


def with_parents(name: str, config: Config) -> list[str]:
    """A task, and before it the tasks that it comes after."""
    after = {task.name: task.after for task in config.task}
    names = [name]
    while (parent := after[names[0]]) is not None:
        names.insert(0, parent)
    return names


def only(data: LearningData, names: Sequence[str]) -> LearningData:
    """`data` for a model that learns the tasks `names`; features of users and items stay the same."""
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


def _over_seeds(judged: Sequence[_Judged]) -> Figures:
    """The mean of each task over the seeds."""
    return {task: mean_over_seeds([of_seed[task][1] for of_seed in judged]) for task in judged[0]}


def mean_over_seeds(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of one metric on the same requests; its error holds the errors over requests and over seeds.

    The difference of two such means over the same seeds is paired by request and by seed.
    """
    n, values = len(estimates), np.array([e.value for e in estimates])
    deviations = [e.deviations for e in estimates if e.deviations is not None]
    if len(deviations) < n:
        return Estimate(float(values.mean()), estimates[0].n)
    of_requests = np.mean(np.stack(deviations), axis=0)
    of_seeds = (values - values.mean()) / math.sqrt(n * (n - 1)) if n > 1 else np.zeros(0)
    return Estimate(float(values.mean()), estimates[0].n, np.concatenate([of_requests, of_seeds]))


def _figure(e: Estimate, sign: str = "") -> str:
    return f"{e.value:{sign}.4f} ±{e.se:.4f}"


def _percent(value: float, error: float) -> str:
    return f"{100 * value:+.2f} % ±{100 * error:.2f}"
