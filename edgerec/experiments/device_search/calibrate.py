"""Bundles with random weights, measured on this machine, so that costs of others can be predicted."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
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
"""Catalogues of so many times the items there are, at most `MOST_ITEMS`."""
MOST_ITEMS = 200_000
CALLS, COLD_CALLS = 150, 1
ROUNDS = 2
"""Each bundle is measured so often, in turn with the others."""


def calibrate(
    untrained: Untrained, encoder: RequestEncoder, profile: Profile, kernels: Sequence[str], progress: Progress
) -> list[Point]:
    """Measure bundles of three widths and up to three lengths in each body, with the profile's threads."""
    n = untrained.shape.n_items
    lengths = sorted({min(n * times, max(MOST_ITEMS, n)) for times in TIMES})
    eval_requests = [(width, length, kernel) for width in WIDTHS for length in lengths for kernel in kernels]
    with (
        tempfile.TemporaryDirectory() as folder,
        progress.track(len(eval_requests) * ROUNDS, "measuring this machine") as done,
    ):
        places = [Path(folder) / str(number) for number in range(len(eval_requests))]
        works = [
            made_up(untrained, encoder, profile, StudentSizes.of(*SIZES[width]), length, kernel, place)
            for (width, length, kernel), place in zip(eval_requests, places, strict=True)
        ]
        found: list[list[Point]] = [[] for _ in eval_requests]
        for _ in range(ROUNDS):
            for place, work, of in zip(places, works, found, strict=True):
                (measured,) = measure([place], profile.threads, processes=1, calls=CALLS, cold=COLD_CALLS)
                of.append(Point.of(work, measured))
                done.advance()
    return [_least(of) for of in found]


def _least(points: Sequence[Point]) -> Point:
    """Of several measurements of one bundle what was disturbed least."""
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
    """Write a bundle with random weights for a catalogue of any length; returns its work."""
    exported = longer(untrained.exported(sizes), n_items)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        files = write_graphs(exported, kernel, "int8", untrained.expectations(), scratch)
        write_catalog(scratch / "catalog.sqlite", _items(n_items), [])
        content: dict[str, bytes | Path] = {n: scratch / n for n in (*files.names, "weights.bin", "catalog.sqlite")}
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
    """For a file that another call reads."""
    return [{"work": asdict(point.work), "measured": dict(point.measured)} for point in points]
