"""What the JavaScript runtime costs in Chromium and Node beside onnxruntime-web: a list, the first list, bytes.

The run's own bundle, and made-up catalogues of 10,000 and 100,000 items with its graphs (u8s8, d as in its settings).
A row for Chromium and one for Node: the tenth percentile of a list of 20 with reasons, and of the model alone, by the
engine and by onnxruntime-web with one thread, alternately. Then what a kiosk page of the run downloads, compressed, and
how long it takes to its first list. Needs Chromium, the packages that tools/web installs, and the engine that
tools/native builds.
"""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from edgerec.bundle import write_bundle
from edgerec.bundle.columns_file import COLUMNS, columns_file
from edgerec.devices import load_profile
from edgerec.errors import ConfigError
from edgerec.experiments.device_search.calibrate import made_up
from edgerec.experiments.device_search.trials import Untrained, final_sizes
from edgerec.progress import Silent
from edgerec.ship.web import embed_web
from tools.benchmarks.shared import javascript
from tools.benchmarks.shared.command import FinishedRun, Parser, Row, add_json, add_run, print_rows

DURATION = "3 minutes"
ITEMS = (10_000, 100_000)


def measure(folder: Path) -> tuple[list[Row], Row]:
    """Figures by bundle and host, and those of the kiosk page."""
    chromium = javascript.chromium()
    if chromium is None or not javascript.installed():
        raise ConfigError("this benchmark needs Chromium and the packages of devices/web: run tools/web")
    if not (folder / "bundle" / COLUMNS).exists():
        raise ConfigError(f"{folder}: its bundle has no {COLUMNS}; set web = true in [quantization]")
    run = FinishedRun.load(folder, Silent())
    with tempfile.TemporaryDirectory() as made:
        page = Path(made) / "page"
        embed_web(folder / "bundle", page, None, "en", None)
        bundles = {run.config.name: folder / "bundle"}
        bundles |= {f"items_{n}": write_made_up(run, n, Path(made) / str(n)) for n in ITEMS}
        paths = {name: str(path.absolute()) for name, path in bundles.items()}
        job = {"bundles": paths, "page": str(page), "chromium": chromium}
        figures = javascript.run_script("speed.mjs", job)
        kept = json.loads((page / "files.json").read_text())["files"]
        files = [page / name for name in kept if name != "./"]
        downloads = {"page_download_mb": compressed_mb(files), "page_first_list_ms": figures["page_ms"]}
    rows: list[Row] = []
    for name in bundles:
        for host in ("chromium", "node"):
            row = figures[name][host]
            times = figures[name]["first"] if host == "chromium" else dict.fromkeys(("first_ms", "onnx_first_ms"), "")
            ratios = {f"{what}_ratio": row[f"{what}_ms"] / row[f"onnx_{what}_ms"] for what in ("list", "model")}
            rows.append({"bundle": name, "host": host, **row, **ratios, **times})
    return rows, downloads


def write_made_up(run: FinishedRun, n_items: int, bundle: Path) -> Path:
    """A bundle with the run's graphs for a catalogue of `n_items`, which JavaScript can open."""
    data = run.data
    untrained, profile = Untrained(data.shape, data.features, data.tasks), load_profile("web-wasm")
    made_up(untrained, data.encoder, profile, final_sizes(run.config), n_items, "u8s8", bundle)
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    files: dict[str, bytes | Path] = {name: bundle / name for name in manifest["files"]}
    write_bundle(bundle, {**files, COLUMNS: columns_file(bundle / "catalog.sqlite")}, manifest)
    return bundle


def compressed_mb(paths: Iterable[Path]) -> float:
    """Of all files, each compressed, in MB of 10^6 bytes."""
    return sum(len(gzip.compress(path.read_bytes(), 9)) for path in paths) / 1e6


def main(arguments: Sequence[str]) -> int:
    """Print a row for each bundle and host, and one for the kiosk page."""
    parser = Parser(__name__, __doc__)
    add_run(parser)
    add_json(parser)
    options = parser.parse_args(arguments)
    rows, page = measure(options.run)
    print_rows(rows, options.json)
    print_rows([page], options.json)
    return 0
