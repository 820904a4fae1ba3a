"""The INT8 stage: from the pruned student to a whole bundle."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import polars as pl

from edgerec.bundle import dump_json, write_bundle, write_catalog
from edgerec.bundle.catalog import OWN_COLUMNS
from edgerec.compression.export import export_student
from edgerec.compression.graph import OPSET, GraphBuilder, pack
from edgerec.compression.graphs import Catalogue, Expectation, recommend_graph, score_graph, similar_graph
from edgerec.compression.newcomers import fit_newcomers
from edgerec.config import Config
from edgerec.devices import load_profile
from edgerec.errors import ConfigError
from edgerec.progress import Progress
from edgerec.tasks import Encoded, scored_tasks
from edgerec.training.checkpoint import load_student, read_json
from edgerec.training.load import LearningData, load_learning_data

MIB = 2**20
K = 10
"""Length of the lists that conformance.json keeps."""
NEWCOMERS = "newcomers.npz"
"""What gives a row to an item that comes later."""


@dataclass(frozen=True)
class QuantizeReport:
    """Size of the bundle by file, in bytes."""

    sizes: dict[str, int]

    @property
    def model_bytes(self) -> int:
        """All that is needed to score: graphs and weights."""
        return sum(size for name, size in self.sizes.items() if name.endswith(".onnx") or name == "weights.bin")

    def lines(self) -> Sequence[str]:
        """For the screen."""
        total = sum(self.sizes.values())
        return [f"bundle: {self.model_bytes / MIB:.2f} MiB of graphs and weights, {total / MIB:.2f} MiB with all files"]


def quantize(config: Config, run_dir: Path, progress: Progress) -> QuantizeReport:
    """Write the bundle of a run; an older one is replaced whole or not at all.

    Raises:
        ConfigError: the device's runtime is too old for the graphs.
    """
    device = load_profile(config.device)
    if device.opset < OPSET:
        raise ConfigError(f"device {device.name}: knows operator set {device.opset}, and the graphs need {OPSET}")
    data = load_learning_data(config, run_dir, config.evaluation.part, progress)
    pruned = run_dir / "pruned"
    student = load_student(pruned, data.shape, data.features)
    exported = export_student(student, data.statistics.values[-1], data.tasks)
    items = Catalogue.of(exported, device.body, config.quantization.table)
    facts = read_json(pruned / "model.json")["expectations"]
    expectations = {name: Expectation(**values) for name, values in facts.items()}
    builders = [recommend_graph(exported, items, expectations), score_graph(exported, items, expectations)]
    if exported.relation is not None:
        builders.append(similar_graph(exported, items))
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        models, tensors = pack(builders, scratch / "weights.bin")
        files: dict[str, bytes | Path] = {f"{b.name}.onnx": m for b, m in zip(builders, models, strict=True)}
        files["weights.bin"] = scratch / "weights.bin"
        _check_graphs(builders, models, scratch)
        conformance = _conformance(data, scratch, config.quantization.conformance, exported.relation is not None)
        if data.dataset.meta.text or data.dataset.meta.items.categorical or data.dataset.meta.items.numeric:
            files[NEWCOMERS] = fit_newcomers(student, data).to_bytes()
        files["conformance.json"] = dump_json(conformance)
        files["policy.json"] = dump_json(_policy(config))
        files["report.json"] = dump_json({"format": 1, "name": config.name, "metrics": {}})
        write_catalog(scratch / "catalog.sqlite", _catalog_rows(data), list(_attributes(data)))
        files["catalog.sqlite"] = scratch / "catalog.sqlite"
        write_bundle(run_dir / "bundle", files, _manifest(config, data, tensors, student.sizes.dim))
    return QuantizeReport({p.name: p.stat().st_size for p in sorted((run_dir / "bundle").iterdir())})


def _check_graphs(builders: Sequence[GraphBuilder], models: Sequence[bytes], folder: Path) -> None:
    """Write the graphs beside their weights, where they can be loaded, and let onnx check them."""
    for builder, model in zip(builders, models, strict=True):
        path = folder / f"{builder.name}.onnx"
        path.write_bytes(model)
        onnx.checker.check_model(str(path), full_check=True)


def _manifest(config: Config, data: LearningData, tensors: list[dict[str, Any]], dim: int) -> dict[str, Any]:
    scored = [t for t in data.tasks if t.kind != "related"]
    return {
        "name": config.name,
        "version": 1,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "tasks": [{**t.to_json(), "index": i} for i, t in enumerate(scored)],
        "n_items": data.n_items,
        "dim": dim,
        "inputs": data.encoder.to_json(),
        "tensors": tensors,
        "settings": config.model_dump(mode="json", exclude_unset=True, exclude={"tuning"}),
        "metrics": {},
        "device": load_profile(config.device).to_json(),
    }


def _policy(config: Config) -> dict[str, Any]:
    """Every task counts by its weight in the settings; amounts have their own unit, so beside others they count 0."""
    scored = scored_tasks(config.tasks)
    alone = all(t.kind == "regression" for t in scored)
    weights = {t.name: t.weight if alone or t.kind != "regression" else 0.0 for t in scored}
    return {"weights": weights, "where": None}


def _attributes(data: LearningData) -> dict[str, str]:
    """Columns of the dataset's items by their name in the catalogue.

    An attribute that is called like one of the catalogue's own columns, such as "title", is "item_title" there.
    """
    names = [c.removeprefix("raw.") for c in data.dataset.items().columns if c.startswith("raw.")]
    return {f"item_{name}" if name.lower() in OWN_COLUMNS else name: f"raw.{name}" for name in names}


def _catalog_rows(data: LearningData) -> Iterator[Mapping[str, Any]]:
    items = data.dataset.items().head(data.n_items)
    attributes = [pl.col(column).alias(name) for name, column in _attributes(data).items()]
    chosen = items.select(pl.col("id"), pl.col("title").fill_null(pl.col("id")), *attributes)
    return chosen.iter_rows(named=True)


def _conformance(data: LearningData, folder: Path, count: int, related: bool) -> dict[str, Any]:
    """Real requests of the fit rows, cold ones among them, with this machine's answers."""
    requests: list[dict[str, Any]] = []
    recommend = ort.InferenceSession(str(folder / "recommend.onnx"), providers=["CPUExecutionProvider"])
    known = {i.name for i in recommend.get_inputs()}
    tasks = len([t for t in data.tasks if t.kind != "related"])
    k = min(K, data.n_items)
    for encoded in _some_requests(data, count):
        inputs = {**vars(encoded), "task_weights": np.ones(tasks, np.float32), "exclude": encoded.history[:3],
                  "k": np.array(k, np.int64)}  # fmt: skip
        feed = {name: value for name, value in inputs.items() if name in known}
        item, utility, probability, _ = recommend.run(None, feed)
        if np.isfinite(utility).all():
            expect = {"item": item.tolist(), "utility": utility.tolist(), "probability": probability.tolist()}
            requests.append({"inputs": {n: v.tolist() for n, v in feed.items()}, "expect": expect})
    if related and data.n_items > k:
        similar = ort.InferenceSession(str(folder / "similar.onnx"), providers=["CPUExecutionProvider"])
        for item in range(min(count, data.n_items)):
            feed = {"item": np.array(item), "exclude": np.zeros(0, np.int64), "k": np.array(k, np.int64)}
            found, score = similar.run(None, feed)
            if np.isfinite(score).all():
                requests.append({"graph": "similar.onnx", "inputs": {n: v.tolist() for n, v in feed.items()},
                                 "expect": {"related": found.tolist(), "score": score.tolist()}})  # fmt: skip
    return {"requests": requests}


def _some_requests(data: LearningData, count: int) -> Iterator[Encoded]:
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
