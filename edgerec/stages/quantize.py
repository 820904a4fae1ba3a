"""The quantization stage: from the pruned student to a whole INT8 bundle."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars as pl

from edgerec.bundle import Catalog, dump_json, write_bundle, write_catalog
from edgerec.bundle.catalog import OWN_COLUMNS
from edgerec.bundle.columns_file import COLUMNS, columns_file
from edgerec.bundle.policy import Policy
from edgerec.bundle.size import STUDENT, BundleSize, bundle_size
from edgerec.compression.catalog_filter import among, without
from edgerec.compression.cold_start import fit_cold_start
from edgerec.compression.current import ItemsNow, NewerRows, TableNow, items_now, newest_statistics, with_added
from edgerec.compression.export import ExportedStudent, export_student, with_priors
from edgerec.compression.graph import OPSET, ManifestTensor
from edgerec.compression.graphs import Expectation
from edgerec.compression.kernel_choice import KernelChoice, choose_kernel
from edgerec.compression.quantization import conformance, some_requests, write_graphs
from edgerec.compression.workload import Workload, macs
from edgerec.config import Config
from edgerec.data.readers import Reading
from edgerec.devices import load_profile
from edgerec.errors import BundleError, ConfigError, MissingExtraError
from edgerec.examples.load import LearningData
from edgerec.files import read_json
from edgerec.models.student import Student, StudentSizes
from edgerec.progress import Progress, Silent
from edgerec.runtime.conformance import first_difference
from edgerec.runtime.engine import CONFORMANCE
from edgerec.runtime.native import NativeEngine
from edgerec.stages.run import Run
from edgerec.tasks import scored_tasks
from edgerec.tasks.cold_start import ColdStartTable
from edgerec.tasks.history import Int
from edgerec.training.checkpoint import load_student

MIB = 2**20
NONE = np.zeros(0, np.int64)
COLD_START = "newcomers.npz"
"""File of the cold-start table, which gives a row to a new item."""


@dataclass(frozen=True)
class QuantizeReport:
    """Size of the bundle's files in bytes, by name, and the kernel of its graphs."""

    sizes: dict[str, int]
    kernel: KernelChoice

    @property
    def model_bytes(self) -> int:
        """Bytes of graphs and weights: all that is needed to score."""
        return BundleSize.of(self.sizes).model

    def lines(self) -> Sequence[str]:
        """For the screen."""
        total = sum(self.sizes.values())
        return [
            f"bundle: {self.model_bytes / MIB:.2f} MiB of graphs and weights, {total / MIB:.2f} MiB with all files",
            self.kernel.why,
        ]


def quantize(run: Run) -> QuantizeReport:
    """Write the bundle of a run; an older one is replaced as a whole or not at all.

    Raises:
        ConfigError: the device's runtime is too old for the graphs, or is not suited to the kernel.
    """
    config = run.config
    device = load_profile(config.device)
    if device.opset < OPSET:
        raise ConfigError(f"device {device.name}: knows operator set {device.opset}, and the graphs need {OPSET}")
    if config.quantization.kernel == "nbits8" and device.runtime == "onnxruntime-web":
        raise ConfigError(f"[quantization] kernel nbits8 is many times slower than u8s8 on {device.name}, a browser")
    data = run.learning_data()
    pruned = run.folder / "pruned"
    student = load_student(pruned, data.shape, data.features)
    facts = read_json(pruned / "model.json")
    expectations = {name: Expectation(**values) for name, values in facts["expectations"].items()}
    gone = np.array(facts["never_shown"], np.int64)
    kernel = build(config, data, student, expectations, run.bundle, gone, run.progress, facts["fallback"])
    return QuantizeReport({p.name: p.stat().st_size for p in sorted(run.bundle.iterdir())}, kernel)


def build(
    config: Config,
    data: LearningData,
    student: Student,
    expectations: Mapping[str, Expectation],
    out: Path,
    gone: Int = NONE,
    progress: Progress | None = None,
    fallback: Mapping[str, Any] | None = None,
) -> KernelChoice:
    """Write a student as the bundle `out`, without the items `gone`; returns the kernel of its graphs.

    `fallback`: which tasks popularity ranks, for the manifest.
    """
    q, device = config.quantization, load_profile(config.device)
    kept = np.setdiff1d(np.arange(data.n_items), gone)
    progress = progress or Silent()
    contents = _contents(config, data, student, gone, kept, progress)
    exported, rows = contents.exported, contents.now.rows
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        requests = [among(kept, request) for request in some_requests(data, q.conformance)]
        with progress.track(None, "choosing the kernel"):
            choice = choose_kernel(exported, q, device, expectations, requests, scratch)
        with progress.track(None, "writing the graphs"):
            graphs = write_graphs(exported, choice.kernel, q.table, expectations, scratch)
            for name in graphs.names:
                onnx.checker.check_model(str(scratch / name), full_check=True)
        n, tasks, related = len(rows), len(exported.tasks), exported.relation is not None
        work = Workload(
            kernel=choice.kernel,
            items=n,
            model_bytes=bundle_size(scratch).model,
            table=n * student.sizes.dim,
            logits=n * tasks,
            macs=macs(data.shape, student.sizes, tasks),
        )
        catalog = scratch / "catalog.sqlite"
        write_catalog(catalog, rows, list(_attributes(data)))
        files: dict[str, bytes | Path] = {name: scratch / name for name in graphs.files}
        files["catalog.sqlite"] = catalog
        if contents.cold_start is not None:
            files[COLD_START] = contents.cold_start.to_bytes()
        with progress.track(None, "answering the conformance requests"):
            answers = conformance(n, tasks, scratch, requests, related)
            files[CONFORMANCE] = dump_json(answers)
        if STUDENT in graphs.files:
            with progress.track(None, "comparing the native engine with the graphs"):
                _compare_engine((scratch / STUDENT).read_bytes(), answers["requests"], progress)
        files["report.json"] = dump_json({"format": 1, "name": config.name, "metrics": {}})
        if q.web or device.runtime == "onnxruntime-web":
            files[COLUMNS] = columns_file(catalog)
        files["policy.json"] = _checked_policy(config, data, catalog)
        manifest = _manifest(config, data, graphs.tensors, student.sizes, work)
        write_bundle(out, files, manifest | {"fallback": dict(fallback or {})})
    return choice


def _compare_engine(student: bytes, requests: Sequence[Mapping[str, Any]], progress: Progress) -> None:
    """Refuse a bundle whose engine would give other answers than its graphs.

    Raises:
        BundleError: the first difference.
    """
    try:
        differs = first_difference(requests, NativeEngine(student), STUDENT)
    except MissingExtraError as error:
        progress.say(f"{STUDENT} is not compared with the graphs: {error}")
        return
    if differs is not None:
        raise BundleError(f"{STUDENT}: {differs} than the graphs; this is an error of edgerec: please report it")


@dataclass(frozen=True)
class _Contents:
    """The parts of a bundle before its graphs are written."""

    exported: ExportedStudent
    now: ItemsNow
    cold_start: ColdStartTable | None


def _contents(
    config: Config, data: LearningData, student: Student, gone: Int, kept: Int, progress: Progress
) -> _Contents:
    """The student without the items `gone`, with current priors and the new items of ``[quantization]``."""
    q = config.quantization
    with progress.track(None, "exporting the student"):
        exported = export_student(student, data.statistics.values[-1], data.tasks)
    if q.newer_rows is not None:
        newer = _newer_rows(config, q.newer_rows, data.dataset.meta.time_format)
        exported = with_priors(exported, student, newest_statistics(newer, data, progress))
    exported = without(exported, gone)
    now = items_now(_table_now(config), list(_catalog_rows(data, kept)), _attributes(data))
    meta = data.dataset.meta
    cold_start = None
    if meta.text or meta.items.categorical or meta.items.multi or meta.items.numeric:
        with progress.track(None, "learning rows of new items"):
            cold_start = fit_cold_start(student, data)
    if cold_start is not None:
        exported = with_added(exported, cold_start, now, config.data.items)
    elif now.added:
        raise ConfigError("[quantization] items_now has new items, but [data.items] has no text or attribute for them")
    if q.items_now is not None:
        hidden = sum(not row["available"] for row in now.rows)
        progress.say(f"{q.items_now}: {now.added:,} new items, {hidden:,} that are not available")
    return _Contents(exported, now, cold_start)


def _newer_rows(config: Config, path: str, time_format: str | None) -> NewerRows:
    return NewerRows(
        config.resolve(path), path, config.data.model_copy(update={"time_format": time_format}), config.task
    )


def _table_now(config: Config) -> TableNow | None:
    path, data = config.quantization.items_now, config.data
    if path is None:
        return None
    return TableNow(config.resolve(path), path, data.items, data.items.id or data.item, Reading.of(data, data.items))


def _manifest(
    config: Config, data: LearningData, tensors: list[ManifestTensor], sizes: StudentSizes, work: Workload
) -> dict[str, Any]:
    scored = [t for t in data.tasks if t.kind != "related"]
    settings = config.model_dump(mode="json", exclude_unset=True, exclude={"tuning"})
    settings["data"]["time_format"] = data.dataset.meta.time_format  # later files of times are read as the log was
    return {
        "name": config.name,
        "version": config.version,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "tasks": [{**t.to_json(), "index": i} for i, t in enumerate(scored)],
        "n_items": work.items,
        "dim": sizes.dim,
        "inputs": data.encoder.to_json(),
        "tensors": tensors,
        "settings": settings,
        "metrics": {},
        "device": {**load_profile(config.device).to_json(), "work": work.to_json()},
    }


def _policy(config: Config) -> dict[str, Any]:
    """As in the settings; a task has its weight in [[task]], but 0 if it is a regression task beside others."""
    scored = scored_tasks(config.tasks)
    alone = all(t.kind == "regression" for t in scored)
    weights = {t.name: t.weight if alone or t.kind != "regression" else 0.0 for t in scored}
    return {"weights": weights, **config.policy.model_dump(mode="json", exclude_unset=True)}


def _checked_policy(config: Config, data: LearningData, catalog: Path) -> bytes:
    """The content of policy.json, after a check as on a device.

    Raises:
        ConfigError: it does not fit the catalogue or the tasks.
    """
    policy, scored = _policy(config), [t.name for t in scored_tasks(config.tasks)]
    with closing(Catalog(catalog)) as opened:
        try:
            Policy.parse(policy, opened, scored, data.encoder.binary)
        except ConfigError as error:
            raise ConfigError(f"[policy]: {error}") from None
    return dump_json(policy)


def _attributes(data: LearningData) -> dict[str, str]:
    """Columns of the dataset's items by their name in the catalogue.

    An attribute with the name of one of the catalogue's own columns, such as "title", is "item_title" there.
    """
    names = [c.removeprefix("raw.") for c in data.dataset.items().columns if c.startswith("raw.")]
    return {f"item_{name}" if name.lower() in OWN_COLUMNS else name: f"raw.{name}" for name in names}


def _catalog_rows(data: LearningData, kept: Int) -> Iterator[dict[str, Any]]:
    items = data.dataset.items()[kept]
    attributes = [pl.col(column).alias(name) for name, column in _attributes(data).items()]
    chosen = items.select(pl.col("id"), pl.col("title").fill_null(pl.col("id")), *attributes)
    return chosen.iter_rows(named=True)
