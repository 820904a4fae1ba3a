"""From a public set to the lists of every stage, for the requests of valid or test."""

from __future__ import annotations

import statistics
import time
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from edgerec.bundle import MANIFEST
from edgerec.bundle.size import CATALOG, STUDENT, bundle_size
from edgerec.config import Config
from edgerec.ensemble.scoring import STAGES, TorchModel
from edgerec.evaluation.runtime_model import RuntimeModel
from edgerec.examples.evaluation_requests import find_evaluation_requests
from edgerec.metrics import Estimate
from edgerec.progress import Progress
from edgerec.runtime import ArrayRecommender
from edgerec.stages import pipeline
from edgerec.stages.run import Run
from tools.benchmarks.published.score import score
from tools.benchmarks.published.sets import Part, PublicSet

Int = npt.NDArray[np.int64]
Line: TypeAlias = Literal["train", "train and valid"]
"""What is learned from. With "train", the valid items are no more than input at test."""
LINES: tuple[Line, ...] = ("train", "train and valid")
HOME = Path(__file__).parent
OPEN_GATES = {
    "distillation": {"min_ndcg_retained": 0.0},
    "evaluation": {"min_ndcg_retained": 0.0, "beat_baselines": False},
}
"""What falls short is reported, not refused."""
TIMED = 300
"""Requests whose time is taken."""


@dataclass(frozen=True)
class Chain:
    """One set, line and seed: its settings and its run.

    Attributes:
        folder: of the run; the log that edgerec is given lies beside it.
    """

    public: PublicSet
    line: Line
    seed: int
    folder: Path
    values: Mapping[str, Any]

    @classmethod
    def of(
        cls, public: PublicSet, line: Line, seed: int, out: Path, changes: Sequence[Mapping[str, Any]] = ()
    ) -> Chain:
        """With the settings of the set, and `changes` of them."""
        name = public.protocol.settings or public.name
        values = tomllib.loads((HOME / f"{name}.toml").read_text("utf-8"))
        learned = {"name": public.name, "seed": seed, "evaluation": {"part": "valid" if line == "train" else "test"}}
        for change in (OPEN_GATES, *changes, learned):
            _merge(values, change)
        return cls(public, line, seed, out / public.name / f"{line.replace(' ', '-')}-{seed}", values)

    @property
    def config(self) -> Config:
        """The checked settings."""
        return Config.of(dict(self.values), self.folder.parent, f"settings of {self.public.name}")

    def build(self, progress: Progress) -> Run:
        """Write the log that edgerec is given, and run all stages up to the bundle; what is finished is kept."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        for name, table in (("log", self.public.log()), ("items", self.public.catalogue())):
            new = self.folder.parent / f"{name}.part"
            table.write_parquet(new)
            new.replace(self.folder.parent / f"{name}.parquet")
        config = self.config
        pipeline.run(config, self.folder, progress, until="quantize")
        return Run(config, self.folder, progress)

    def lists(self, run: Run, part: Part, stages: Iterable[str]) -> Lists:
        """The lists of each stage, "int8" included, for all requests of a part.

        The bundle and the models before it stay as they are; what they are given are the pasts of the requests.
        """
        own = run.learning_data()
        asked = own if part == run.part else run.learning_data(part)
        requests, task = find_evaluation_requests(asked), asked.tasks[0]
        sessions = asked.evaluation.sessions
        assert sessions is not None
        users = asked.dataset.users()["id"].to_numpy()[sessions.requests.user[requests.rows]].astype(np.int64)
        ids = np.array([int(item) for item in asked.dataset.items()["id"].head(asked.n_items)])
        lists: dict[str, Int] = {}
        ms = 0.0
        for stage in stages:
            if stage in STAGES:
                kept = part == run.part  # then `distill` has asked this stage the same
                model = run.model(stage, own, requests) if kept else TorchModel(run.scorer(stage, own), asked, requests)
                top = model.lists(task)
            else:
                with ArrayRecommender.of(run.bundle, "native") as recommender:
                    runtime = RuntimeModel(recommender, asked, requests, run.progress)
                    top, ms = runtime.lists(task), _ms(recommender, runtime)
            lists[stage] = np.where(top >= 0, ids[top], -1)
        return Lists(users, lists, ms)


@dataclass(frozen=True)
class Lists:
    """Lists by stage, (R, K) items of the public file; the users who ask, (R,); and milliseconds a request of INT8."""

    users: Int
    by_stage: Mapping[str, Int]
    ms: float

    def figures(self, public: PublicSet, part: Part) -> dict[str, dict[str, Estimate]]:
        """Recall and NDCG of each stage; a user of the part who is not among `users` scores 0."""
        protocol = public.protocol
        past = dict(public.before(part).group_by("user").agg("item").iter_rows())
        true = dict(public.of_part(part).group_by("user").agg("item").iter_rows())
        asked = sorted(user for user in true if user in past)
        row = {user: r for r, user in enumerate(self.users.tolist())}
        seen = None if protocol.repeats else [np.unique(past[user]) for user in asked]
        truth = [np.array(true[user]) for user in asked]
        n_items = int(public.rows["item"].to_numpy().max()) + 1
        figures = {}
        for stage, lists in self.by_stage.items():
            none = np.full(lists.shape[1], -1)
            of_users = np.stack([lists[row[user]] if user in row else none for user in asked])
            figures[stage] = score(of_users, truth, seen, n_items, protocol.k, protocol.whole_ideal)
        return figures


def sizes_of(bundle: Path) -> dict[str, int]:
    """Bytes of the model alone, of what an app with the native engine reads, and of the whole folder."""
    own = {path.name: path.stat().st_size for path in bundle.iterdir()}
    read = own[STUDENT] + own[MANIFEST] + own[CATALOG] + own["policy.json"]
    return {"student.bin": own[STUDENT], "with catalogue": read, "whole folder": bundle_size(bundle).total}


def _ms(recommender: ArrayRecommender, model: RuntimeModel) -> float:
    """Median milliseconds of a list of ten, history encoded and items named by index."""
    times = []
    for request in islice(model.session_requests(), TIMED):
        start = time.perf_counter_ns()
        recommender.rank(10, **request)
        times.append((time.perf_counter_ns() - start) / 1e6)
    return statistics.median(times)


def _merge(values: dict[str, Any], change: Mapping[str, Any]) -> None:
    for key, value in change.items():
        if isinstance(value, Mapping):
            _merge(values.setdefault(key, {}), value)
        else:
            values[key] = value
