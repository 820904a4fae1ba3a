"""The INT8 stage: from the pruned student to a whole bundle."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import polars as pl

from edgerec.bundle import Catalog, dump_json, write_bundle, write_catalog
from edgerec.bundle.catalog import OWN_COLUMNS
from edgerec.bundle.columns_file import COLUMNS, columns_file
from edgerec.bundle.policy import Policy
from edgerec.bundle.size import BundleSize
from edgerec.compression.choice import Pick, pick_body
from edgerec.compression.current import items_now, newest_statistics, with_added
from edgerec.compression.export import ExportedStudent, export_student, with_priors
from edgerec.compression.graph import OPSET, pack
from edgerec.compression.graphs import (
    Catalogue,
    Expectation,
    recommend_graph,
    score_graph,
    similar_graph,
    vectors_graph,
)
from edgerec.compression.newcomers import fit_newcomers
from edgerec.compression.shown import among, without
from edgerec.compression.work import Work, macs
from edgerec.config import Config
from edgerec.devices import load_profile
from edgerec.errors import ConfigError
from edgerec.files import read_json
from edgerec.models.student import Student, StudentSizes
from edgerec.progress import Progress, Silent
from edgerec.tasks import Encoded, scored_tasks
from edgerec.tasks.history import Int
from edgerec.training.checkpoint import load_student
from edgerec.training.load import LearningData, load_learning_data

MIB = 2**20
K = 10
"""Length of the lists that conformance.json keeps."""
COLD_ONE_IN = 10
"""Conformance requests without a past."""
RELATED = 32
"""Items whose related ones conformance.json keeps, at most."""
NONE = np.zeros(0, np.int64)
NEWCOMERS = "newcomers.npz"
"""What gives a row to an item that comes later."""


@dataclass(frozen=True)
class QuantizeReport:
    """Size of the bundle by file, in bytes, and which body its graphs have and why."""

    sizes: dict[str, int]
    pick: Pick

    @property
    def model_bytes(self) -> int:
        """All that is needed to score: graphs and weights."""
        return BundleSize.of(self.sizes).model

    def lines(self) -> Sequence[str]:
        """For the screen."""
        total = sum(self.sizes.values())
        return [
            f"bundle: {self.model_bytes / MIB:.2f} MiB of graphs and weights, {total / MIB:.2f} MiB with all files",
            self.pick.why,
        ]


def quantize(config: Config, run_dir: Path, progress: Progress) -> QuantizeReport:
    """Write the bundle of a run; an older one is replaced whole or not at all.

    Raises:
        ConfigError: the device's runtime is too old for the graphs, or cannot run the body that is asked for.
    """
    device = load_profile(config.device)
    if device.opset < OPSET:
        raise ConfigError(f"device {device.name}: knows operator set {device.opset}, and the graphs need {OPSET}")
    if config.quantization.body == "nbits8" and device.runtime == "onnxruntime-web":
        raise ConfigError(f"[quantization] body nbits8 is many times slower than u8s8 on {device.name}, a browser")
    data = load_learning_data(config, run_dir, config.evaluation.part, progress)
    pruned = run_dir / "pruned"
    student = load_student(pruned, data.shape, data.features)
    facts = read_json(pruned / "model.json")
    expectations = {name: Expectation(**values) for name, values in facts["expectations"].items()}
    gone = np.array(facts["never_shown"], np.int64)
    pick = build(config, data, student, expectations, run_dir / "bundle", gone, progress)
    return QuantizeReport({p.name: p.stat().st_size for p in sorted((run_dir / "bundle").iterdir())}, pick)


def build(
    config: Config,
    data: LearningData,
    student: Student,
    expectations: Mapping[str, Expectation],
    out: Path,
    gone: Int = NONE,
    progress: Progress | None = None,
) -> Pick:
    """Write a student as the bundle `out`, without the items `gone`; returns the body that its graphs have."""
    progress = progress or Silent()
    exported = export_student(student, data.statistics.values[-1], data.tasks)
    if config.quantization.newer_rows is not None:
        exported = with_priors(
            exported, student, newest_statistics(config, data, config.quantization.newer_rows, progress)
        )
    exported = without(exported, gone)
    kept = np.setdiff1d(np.arange(data.n_items), gone)
    now = items_now(config, data, list(_catalog_rows(data, kept)), _attributes(data))
    meta = data.dataset.meta
    newcomers = fit_newcomers(student, data) if meta.text or meta.items.categorical or meta.items.numeric else None
    if now.added and newcomers is None:
        raise ConfigError(
            "[quantization] items_now has new items, and [data.items] no text or attribute to tell them by"
        )
    if newcomers is not None:
        exported = with_added(exported, newcomers, now, config)
    if config.quantization.items_now is not None:
        hidden = sum(not row["available"] for row in now.rows)
        progress.say(f"{config.quantization.items_now}: {now.added:,} new items, {hidden:,} that are not shown")
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        requests = [among(kept, r) for r in _some_requests(data, config.quantization.conformance)]
        pick = pick_body(exported, config, expectations, requests, scratch)
        files = write_graphs(exported, pick.body, config.quantization.table, expectations, scratch)
        for name in files.names:
            onnx.checker.check_model(str(scratch / name), full_check=True)
        content: dict[str, bytes | Path] = {name: scratch / name for name in (*files.names, "weights.bin")}
        if newcomers is not None:
            content[NEWCOMERS] = newcomers.to_bytes()
        weight = BundleSize.of({name: (scratch / name).stat().st_size for name in (*files.names, "weights.bin")}).model
        n, tasks = len(now.rows), len(exported.tasks)
        work = Work(pick.body, n, weight, n * student.sizes.dim, n * tasks, macs(data.shape, student.sizes, tasks))
        related = exported.relation is not None
        content["conformance.json"] = dump_json(_conformance(n, tasks, scratch, requests, related))
        content["report.json"] = dump_json({"format": 1, "name": config.name, "metrics": {}})
        write_catalog(scratch / "catalog.sqlite", now.rows, list(_attributes(data)))
        content["catalog.sqlite"] = scratch / "catalog.sqlite"
        if config.quantization.web or load_profile(config.device).runtime == "onnxruntime-web":
            content[COLUMNS] = columns_file(scratch / "catalog.sqlite")
        content["policy.json"] = _checked_policy(config, data, scratch / "catalog.sqlite")
        write_bundle(out, content, _manifest(config, data, files.tensors, student.sizes, work))
    return pick


@dataclass(frozen=True)
class Written:
    """Graphs in a folder, beside their weights.bin: their names, and what the manifest lists of the weights."""

    names: tuple[str, ...]
    tensors: list[dict[str, Any]]


def write_graphs(
    exported: ExportedStudent, body: str, table: str, expectations: Mapping[str, Expectation], folder: Path
) -> Written:
    """Write all graphs of a student and their weights into `folder`; the names are those of `body_of`."""
    items = Catalogue.of(exported, body, table)
    builders = [recommend_graph(exported, items, expectations), score_graph(exported, items, expectations)]
    if exported.relation is not None:
        builders.append(similar_graph(exported, items))
    builders.append(vectors_graph(items, exported.table.shape[1]))
    models, tensors = pack(builders, folder / "weights.bin")
    for builder, model in zip(builders, models, strict=True):
        (folder / f"{builder.name}.onnx").write_bytes(model)
    return Written(tuple(f"{builder.name}.onnx" for builder in builders), tensors)


def _manifest(
    config: Config, data: LearningData, tensors: list[dict[str, Any]], sizes: StudentSizes, work: Work
) -> dict[str, Any]:
    scored = [t for t in data.tasks if t.kind != "related"]
    return {
        "name": config.name,
        "version": config.version,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "tasks": [{**t.to_json(), "index": i} for i, t in enumerate(scored)],
        "n_items": work.items,
        "dim": sizes.dim,
        "inputs": data.encoder.to_json(),
        "tensors": tensors,
        "settings": config.model_dump(mode="json", exclude_unset=True, exclude={"tuning"}),
        "metrics": {},
        "device": {**load_profile(config.device).to_json(), "work": asdict(work)},
    }


def _policy(config: Config) -> dict[str, Any]:
    """As in the settings. Every task counts by its weight there; amounts have their own unit, so beside others 0."""
    scored = scored_tasks(config.tasks)
    alone = all(t.kind == "regression" for t in scored)
    weights = {t.name: t.weight if alone or t.kind != "regression" else 0.0 for t in scored}
    return {"weights": weights, **config.policy.model_dump(mode="json", exclude_unset=True)}


def _checked_policy(config: Config, data: LearningData, catalog: Path) -> bytes:
    """policy.json, read as a device will read it.

    Raises:
        ConfigError: it does not fit the catalogue or the tasks.
    """
    policy, scored = _policy(config), [t.name for t in scored_tasks(config.tasks)]
    with closing(Catalog(catalog)) as found:
        try:
            Policy.parse(policy, found, scored, data.encoder.binary)
        except ConfigError as error:
            raise ConfigError(f"[policy]: {error}") from None
    return dump_json(policy)


def _attributes(data: LearningData) -> dict[str, str]:
    """Columns of the dataset's items by their name in the catalogue.

    An attribute that is called like one of the catalogue's own columns, such as "title", is "item_title" there.
    """
    names = [c.removeprefix("raw.") for c in data.dataset.items().columns if c.startswith("raw.")]
    return {f"item_{name}" if name.lower() in OWN_COLUMNS else name: f"raw.{name}" for name in names}


def _catalog_rows(data: LearningData, kept: Int) -> Iterator[dict[str, Any]]:
    items = data.dataset.items()[kept]
    attributes = [pl.col(column).alias(name) for name, column in _attributes(data).items()]
    chosen = items.select(pl.col("id"), pl.col("title").fill_null(pl.col("id")), *attributes)
    return chosen.iter_rows(named=True)


def _conformance(
    n_items: int, tasks: int, folder: Path, encoded: Sequence[Encoded], with_related: bool
) -> dict[str, Any]:
    """Real requests with this machine's answers."""
    requests: list[dict[str, Any]] = []
    recommend = ort.InferenceSession(str(folder / "recommend.onnx"), providers=["CPUExecutionProvider"])
    known = {i.name for i in recommend.get_inputs()}
    k = min(K, n_items)
    for number, real in enumerate(encoded):
        request = _cold(real) if number % COLD_ONE_IN == COLD_ONE_IN - 1 else real
        # All tasks, then each alone, in turn.
        weights = np.ones(tasks, np.float32) if number % (tasks + 1) == 0 else np.eye(tasks, dtype=np.float32)[
            number % (tasks + 1) - 1
        ]  # fmt: skip
        exclude = real.history[: number % 4]
        inputs = {**vars(request), "task_weights": weights, "exclude": exclude, "k": np.array(k, np.int64)}
        feed = {name: value for name, value in inputs.items() if name in known}
        item, utility, probability, _ = recommend.run(None, feed)
        if np.isfinite(utility).all():
            expect = {"item": item.tolist(), "utility": _short(utility, 7), "probability": _short(probability, 7)}
            requests.append({"inputs": {n: _short(v, 9) for n, v in feed.items()}, "expect": expect})
    if with_related and n_items > k:
        similar = ort.InferenceSession(str(folder / "similar.onnx"), providers=["CPUExecutionProvider"])
        for item in range(min(len(encoded), n_items, RELATED)):
            feed = {"item": np.array(item), "exclude": np.zeros(0, np.int64), "k": np.array(k, np.int64)}
            found, score = similar.run(None, feed)
            if np.isfinite(score).all():
                requests.append({"graph": "similar.onnx", "inputs": {n: _short(v, 9) for n, v in feed.items()},
                                 "expect": {"related": found.tolist(), "score": _short(score, 7)}})  # fmt: skip
    return {"requests": requests}


def _short(values: npt.NDArray[Any], digits: int) -> Any:
    """As JSON with so many significant digits; nine tell a number of 32 bits exactly."""
    if values.dtype.kind != "f":
        return values.tolist()
    return [_short(v, digits) for v in values] if values.ndim else float(f"{float(values):.{digits}g}")


def _cold(request: Encoded) -> Encoded:
    """The same without a past, in the same context."""
    nothing = {name: value[:0] for name, value in vars(request).items() if name.startswith("history")}
    return replace(request, **nothing, context_numeric=np.zeros_like(request.context_numeric))


def _some_requests(data: LearningData, count: int) -> Iterator[Encoded]:
    """Requests of the fit rows, cold ones among them."""
    source = data.fit.visits or data.fit.rows
    assert source is not None
    requests = source.requests
    for r in np.linspace(0, len(requests) - 1, min(count, len(requests))).astype(np.int64):
        batch = requests.batch(np.array([r]))
        length = int(batch.present.sum())
        yield Encoded(
            history=batch.item[0, :length].numpy(),
            history_kind=batch.kind[0, :length].numpy(),
            history_count=batch.count[0, :length].numpy(),
            history_age_h=batch.age_h[0, :length].numpy(),
            history_interval_h=batch.interval_h[0, :length].numpy(),
            context_categorical=batch.categorical[0].numpy(),
            context_numeric=batch.numeric[0].numpy(),
        )
