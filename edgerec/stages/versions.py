"""The bundle as it was, or would have been with newer rows, at the time of each request."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import overload

import numpy as np

from edgerec.bundle import MANIFEST, Bundle, write_bundle
from edgerec.compression.catalog_filter import without
from edgerec.compression.current import statistics_until, with_later
from edgerec.compression.export import ExportedStudent, as_of, export_student, with_priors
from edgerec.compression.graphs import Expectation
from edgerec.compression.quantization import write_graphs
from edgerec.compression.workload import Workload
from edgerec.evaluation.runtime_model import Versions
from edgerec.examples.evaluation_requests import EvaluationRequests
from edgerec.examples.load import LearningData
from edgerec.files import read_json
from edgerec.models.student import Student
from edgerec.runtime import ArrayRecommender
from edgerec.runtime.engine import CONFORMANCE
from edgerec.stages.run import Run
from edgerec.tasks.history import Float, Int
from edgerec.tasks.units import MS_PER_DAY
from edgerec.training.checkpoint import load_student

__all__ = ["daily_versions", "versions_of"]

MOST = 256
MAX_BYTES, MAX_DISK_BYTES = 200_000_000, 2_000_000_000
"""Of the versions that are open at a time, and of all, which lie on the disk. Few versions are old where requests lie
far apart: of 100,000 ratings of 22 years, 41 versions cost a hundredth of the AUC of likes, which no device would."""


@contextmanager
def versions_of(run: Run, data: LearningData, eval_requests: EvaluationRequests) -> Iterator[Versions]:
    """The bundle of a run; without a time split also as of up to `MOST` times before the requests.

    Such a version has the weights of the bundle, and knows of the items what was known then, nothing later.
    """
    with ExitStack() as stack:
        last = stack.enter_context(ArrayRecommender.of(run.bundle))
        times = _times(run, data, eval_requests)
        if not len(times):
            yield Versions(last)
            return
        opened = stack.enter_context(_Opened.of(run))
        write = _writer(run, data, as_of)
        with run.progress.track(len(times), "the bundle as of earlier times") as done:
            for index in times.tolist():
                write(data.statistics.values[index], opened.add())
                done.advance()
        yield Versions(last, data.statistics.as_of_ms[times], opened)


@contextmanager
def daily_versions(run: Run, data: LearningData, eval_requests: EvaluationRequests) -> Iterator[Versions]:
    """The bundle of a run with a time split, as newer rows would have refreshed it at the start of each day.

    A day begins a whole number of days after the training rows' end; at most `MOST` of them.
    """
    assert data.evaluation.sessions is not None and not data.by_user
    end_ms = int(data.statistics.as_of_ms[-1])
    last_ms = int(data.evaluation.sessions.requests.time_ms[eval_requests.rows].max(initial=end_ms))
    times = np.arange(end_ms, last_ms + 1, MS_PER_DAY)[:MOST]
    later = data.whole_evaluation_log()
    known = later.item < data.n_items
    labels = {name: values[known] for name, values in later.labels.items()}
    log = with_later(data.train_log, later.user[known], later.item[known], later.time_ms[known], labels)
    with ExitStack() as stack:
        last = stack.enter_context(ArrayRecommender.of(run.bundle))
        opened = stack.enter_context(_Opened.of(run))
        write = _writer(run, data, with_priors)
        for time_ms in times.tolist():
            write(statistics_until(log, data, time_ms), opened.add())
        yield Versions(last, times, opened)


def _times(run: Run, data: LearningData, eval_requests: EvaluationRequests) -> Int:
    """As-of times, ascending, by which the requests fall into groups of about the same size; none with a time split.

    Today's items and newer rows are of one time: bundles with them have no earlier versions.
    """
    q = run.config.quantization
    if not data.by_user or q.newer_rows is not None or q.items_now is not None:
        return np.zeros(0, np.int64)
    sessions, impressions = data.evaluation.sessions, data.evaluation.impressions
    asked = [] if sessions is None else [sessions.requests.time_ms[eval_requests.rows]]
    asked += [] if impressions is None else [impressions.requests.time_ms]
    known = data.statistics.as_of_before(np.concatenate(asked)) if asked else np.zeros(0, np.int64)
    most = int(np.clip(MAX_DISK_BYTES // _bytes_of(run.bundle), 1, MOST))
    if len(np.unique(known)) <= most:
        return np.unique(known)
    return np.unique(np.quantile(known, np.arange(most) / most, method="lower")).astype(np.int64)


def _bytes_of(bundle: Path) -> int:
    return sum(path.stat().st_size for path in bundle.iterdir())


class _Opened(Sequence[ArrayRecommender]):
    """Versions on the disk, of which those that were asked last are open."""

    def __init__(self, folder: Path, most: int) -> None:
        self._folder, self._most, self._n = folder, most, 0
        self._open: dict[int, ArrayRecommender] = {}  # the latest one last

    @classmethod
    @contextmanager
    def of(cls, run: Run) -> Iterator[_Opened]:
        """Versions of the bundle of a run, none yet, in a folder that is removed at the end."""
        work = run.folder / "work"
        work.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=work, prefix="versions-") as folder:
            opened = cls(Path(folder), max(MAX_BYTES // _bytes_of(run.bundle), 1))
            try:
                yield opened
            finally:
                for version in opened._open.values():
                    version.close()

    def add(self) -> Path:
        """Where the next version is written."""
        self._n += 1
        return self._folder / str(self._n - 1)

    def __len__(self) -> int:
        return self._n

    @overload
    def __getitem__(self, place: int) -> ArrayRecommender: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[ArrayRecommender]: ...
    def __getitem__(self, place: int | slice) -> ArrayRecommender | Sequence[ArrayRecommender]:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(self._n))]
        if not 0 <= place < self._n:
            raise IndexError(place)
        version = self._open.pop(place, None) or ArrayRecommender.of(self._folder / str(place))
        self._open[place] = version
        if len(self._open) > self._most:
            self._open.pop(next(iter(self._open))).close()
        return version


Refresh = Callable[[ExportedStudent, Student, Float], ExportedStudent]


def _writer(run: Run, data: LearningData, refresh: Refresh) -> Callable[[Float, Path], None]:
    """Writes the bundle of a run, refreshed with other statistics (N, F), into a folder."""
    pruned, bundle = run.folder / "pruned", Bundle.open(run.bundle)
    student, facts = load_student(pruned, data.shape, data.features), read_json(pruned / "model.json")
    expectations = {name: Expectation(**values) for name, values in facts["expectations"].items()}
    now = export_student(student, data.statistics.values[-1], data.tasks)
    gone = np.array(facts["never_shown"], np.int64)
    manifest = json.loads((bundle.folder / MANIFEST).read_bytes())
    kernel, table = Workload.from_json(manifest["device"]["work"]).kernel, run.config.quantization.table

    def write(statistics: Float, out: Path) -> None:
        exported = without(refresh(now, student, statistics), gone)
        with tempfile.TemporaryDirectory() as folder:
            graphs = write_graphs(exported, kernel, table, expectations, Path(folder))
            changed = {name: Path(folder) / name for name in graphs.files}
            # What the bundle answers is not what this version answers.
            same = {name: bundle.path(name) for name in bundle.manifest.files if name != CONFORMANCE}
            write_bundle(out, {**same, **changed}, manifest | {"tensors": graphs.tensors})

    return write
