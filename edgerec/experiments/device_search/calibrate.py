"""Measures bundles with random weights on this machine, so that the costs of other bundles can be predicted."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path

from edgerec.bench.measure import measure
from edgerec.bundle import dump_json, write_bundle, write_catalog
from edgerec.bundle.size import bundle_size
from edgerec.compression.quantization import write_graphs
from edgerec.compression.workload import Workload
from edgerec.config import SIZES
from edgerec.config.stages import Size
from edgerec.devices import Profile
from edgerec.experiments.device_search.cost import Point
from edgerec.experiments.device_search.trials import Untrained, longer
from edgerec.models.student import StudentSizes
from edgerec.progress import Progress
from edgerec.tasks import RequestEncoder, scored_tasks

WIDTHS: tuple[Size, ...] = ("nano", "std", "large")
TIMES = (1, 4, 16)
"""Lengths of the measured catalogs, as multiples of the real one; none has more than `MOST_ITEMS` items."""
MOST_ITEMS = 200_000
CALLS, COLD_CALLS = 150, 1
ROUNDS = 2
"""How often each bundle is measured, in turn with the others."""


def calibrate(
    untrained: Untrained,
    encoder: RequestEncoder,
    profile: Profile,
    kernels: Sequence[str],
    progress: Progress,
    widths: Sequence[Size] = WIDTHS,
    times: Sequence[int] = TIMES,
    calls: int = CALLS,
) -> list[Point]:
    """Measure bundles of several widths and catalog lengths with each kernel, with the profile's number of threads."""
    n = untrained.shape.n_items
    lengths = sorted({min(n * factor, max(MOST_ITEMS, n)) for factor in times})
    variants = list(product(widths, lengths, kernels))
    with (
        tempfile.TemporaryDirectory() as folder,
        progress.track(len(variants) * ROUNDS, "measuring this machine") as track,
    ):
        bundles = [Path(folder) / str(number) for number in range(len(variants))]
        works = [
            made_up(untrained, encoder, profile, StudentSizes.of(*SIZES[width]), length, kernel, bundle)
            for (width, length, kernel), bundle in zip(variants, bundles, strict=True)
        ]
        points: list[list[Point]] = [[] for _ in variants]
        for _ in range(ROUNDS):
            for bundle, work, own in zip(bundles, works, points, strict=True):
                engine = engine_of(profile)
                (measured,) = measure([bundle], profile.threads, 1, calls, COLD_CALLS, engine)
                own.append(Point.of(work, measured))
                track.advance()
    return [_least(own) for own in points]


def engine_of(profile: Profile) -> str:
    """The engine that measures here for a device; of a browser, the one of this machine that is most like it."""
    return "onnxruntime" if profile.runtime == "onnxruntime" else "auto"


def _least(points: Sequence[Point]) -> Point:
    """The lowest figures of several measurements of one bundle: those that other processes disturbed least."""
    return Point(points[0].work, {name: min(p.measured[name] for p in points) for name in points[0].measured})


def made_up(
    untrained: Untrained,
    encoder: RequestEncoder,
    profile: Profile,
    sizes: StudentSizes,
    n_items: int,
    kernel: str,
    out: Path,
) -> Workload:
    """Write a bundle with random weights for a catalog of any length; returns its work."""
    exported = longer(untrained.exported(sizes), n_items)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        files = write_graphs(exported, kernel, "int8", untrained.expectations(), scratch)
        write_catalog(scratch / "catalog.sqlite", _items(n_items), [])
        content: dict[str, bytes | Path] = {n: scratch / n for n in (*files.files, "catalog.sqlite")}
        scored = scored_tasks(untrained.tasks)
        content["policy.json"] = dump_json({"weights": {t.name: 1.0 for t in scored}, "where": None})
        write_bundle(out, content, {
            "name": "made-up", "version": 1, "created": "", "n_items": n_items, "dim": sizes.dim,
            "tasks": [{**t.to_json(), "index": i} for i, t in enumerate(scored)], "inputs": encoder.to_json(),
            "tensors": files.tensors, "settings": {}, "metrics": {}, "device": profile.to_json(),
        })  # fmt: skip
    return untrained.counted(sizes, kernel, bundle_size(out).model, n_items)


def _items(n: int) -> Iterator[dict[str, str]]:
    return ({"id": str(i), "title": str(i)} for i in range(n))


def to_json(points: Sequence[Point]) -> list[dict[str, object]]:
    """The points as plain values, which `Point.of_json` reads."""
    return [{"work": asdict(point.work), "measured": dict(point.measured)} for point in points]
