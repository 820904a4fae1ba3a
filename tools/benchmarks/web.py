"""What the JavaScript runtime costs in Chromium and Node: a request, the first list beside bare onnxruntime-web, bytes.

The run's own bundle, and made-up catalogues of 10,000 and 100,000 items with its graphs (u8s8, d as in its settings).
Needs Chromium and the packages that tools/web installs.
"""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgerec.bundle import write_bundle
from edgerec.bundle.columns_file import COLUMNS, columns_file
from edgerec.devices import load_profile
from edgerec.errors import ConfigError
from edgerec.experiments.device_search.calibrate import made_up
from edgerec.experiments.device_search.trials import Untrained, final_sizes
from edgerec.progress import Silent
from tools.benchmarks.shared import javascript
from tools.benchmarks.shared.command import FinishedRun, Parser, Row, add_json, add_run, print_rows

DURATION = "2 minutes"
ITEMS = (10_000, 100_000)
UNUSED = ("catalog.sqlite", "newcomers.npz", "report.json")
"""Of a bundle; JavaScript does not load them."""


def measure(folder: Path) -> list[Row]:
    """Figures by bundle."""
    chromium = javascript.chromium()
    if chromium is None or not javascript.installed():
        raise ConfigError("this benchmark needs Chromium and the packages of devices/web: run tools/web")
    if not (folder / "bundle" / COLUMNS).exists():
        raise ConfigError(f"{folder}: its bundle has no {COLUMNS}; set web = true in [quantization]")
    run = FinishedRun.load(folder, Silent())
    with tempfile.TemporaryDirectory() as made:
        bundles = {run.config.name: folder / "bundle"}
        bundles |= {f"items_{n}": write_made_up(run, n, Path(made) / str(n)) for n in ITEMS}
        paths = {name: str(path.absolute()) for name, path in bundles.items()}
        figures = javascript.run_script("speed.mjs", {"bundles": paths, "chromium": chromium})
        return [{"bundle": name, "download_mb": download_mb(path), **figures[name]} for name, path in bundles.items()]


def write_made_up(run: FinishedRun, n_items: int, bundle: Path) -> Path:
    """A bundle with the run's graphs for a catalogue of `n_items`, which JavaScript can open."""
    data = run.data
    untrained, profile = Untrained(data.shape, data.features, data.tasks), load_profile("web-wasm")
    made_up(untrained, data.encoder, profile, final_sizes(run.config), n_items, "u8s8", bundle)
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    files: dict[str, bytes | Path] = {name: bundle / name for name in manifest["files"]}
    write_bundle(bundle, {**files, COLUMNS: columns_file(bundle / "catalog.sqlite")}, manifest)
    return bundle


def download_mb(bundle: Path) -> float:
    """Of what JavaScript loads of a bundle, compressed, in MB of 10^6 bytes."""
    paths = [path for path in bundle.iterdir() if path.name not in UNUSED]
    return sum(len(gzip.compress(path.read_bytes(), 9)) for path in paths) / 1e6


def main(arguments: Sequence[str]) -> int:
    """Print a row for each bundle."""
    parser = Parser(__name__, __doc__)
    add_run(parser)
    add_json(parser)
    options = parser.parse_args(arguments)
    print_rows(measure(options.run), options.json)
    return 0
