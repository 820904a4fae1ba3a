"""A static folder with the JavaScript runtime, a bundle, and a kiosk page that uses them."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Callable
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import edgerec
from edgerec.bundle import Bundle
from edgerec.bundle.columns_file import COLUMNS
from edgerec.bundle.sign import public_key_of
from edgerec.bundle.size import STUDENT
from edgerec.errors import ConfigError
from edgerec.files import dump_json, write_json
from edgerec.runtime import Recommender
from edgerec.ship.python import EmbedReport, folder_size, refuse_full

_HOME: Final = Path(edgerec.__file__).parent
# In a wheel the sources are in the package, in a source tree beside it.
SOURCES: Final = (_HOME / "ship" / "javascript", _HOME.parent / "devices" / "web" / "src")
ENGINE: Final = ("wasm/simd.js", "wasm/scalar.js")
"""Of the runtime: the engine as WebAssembly, which `tools/native` builds."""
NOT_OF_A_PAGE: Final = ("*.d.ts", "node.js", "electron.js", "react-native.js", "journal.js", "onnx.js", "graphs.js")
NOT_READ: Final = ("catalog.sqlite", "newcomers.npz", "report.json", "weights.bin", "*.onnx")
"""Files of a bundle that a page leaves alone."""
FALLBACK: Final = 30
"""Items of the list that the page shows while the bundle is damaged."""


def embed_web(bundle: Path, folder: Path, title: str | None, language: str, public_key: Path | None) -> EmbedReport:
    """Write the folder; the bundle is verified first.

    Args:
        public_key: the key that the page pins; then it accepts only bundles signed with it.
    Raises:
        BundleError: the bundle is damaged.
        ConfigError: it was not built for the web, or the engine is not built.
        DataError: `folder` is not empty.
    """
    opened = Bundle.open(bundle)
    for name, setting in ((COLUMNS, "web = true"), (STUDENT, 'kernel = "u8s8"')):
        if name not in opened.manifest.files:
            raise ConfigError(
                f"{bundle}: has no {name}, which a browser reads; set {setting} in [quantization] and run "
                "edgerec quantize"
            )
    source = find_runtime()
    refuse_full(folder)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, folder / "edgerec", ignore=shutil.ignore_patterns(*NOT_OF_A_PAGE))
    shutil.copytree(opened.folder, folder / "bundle")
    shutil.copytree(str(files("edgerec.ship") / "kiosk"), folder, dirs_exist_ok=True)
    with Recommender.of(opened) as rec:
        settings = _settings(rec, title, language, public_key)
        popular = [{"item": r.item, "title": r.title, "attributes": r.attributes} for r in rec.recommend(FALLBACK)]
    write_json(folder / "kiosk.json", settings, sort_keys=False, ensure_ascii=False)
    (folder / "fallback.json").write_bytes(dump_json_list(popular))
    icon = {"src": "icon.svg", "sizes": "any", "type": "image/svg+xml"}
    colors = {"theme_color": "#0b5d4e", "background_color": "#faf9f6"}
    app = {"name": settings["title"], "display": "fullscreen", "start_url": ".", "icons": [icon], **colors}
    (folder / "app.webmanifest").write_bytes(dump_json(app))
    (folder / "files.json").write_bytes(dump_json(_listed(folder)))
    return EmbedReport(folder_size(folder) - folder_size(folder / "bundle"), folder_size(folder / "bundle"))


def dump_json_list(values: list[Any]) -> bytes:
    """A list as JSON."""
    return json.dumps(values, ensure_ascii=False, allow_nan=False).encode()


def find_runtime() -> Path:
    """The folder of the JavaScript runtime, with its engine.

    Raises:
        ConfigError: the engine is not built.
    """
    source = next(path for path in SOURCES if path.is_dir())
    for name in ENGINE:
        if not (source / name).is_file():
            raise ConfigError(
                f"the engine for browsers is not built ({source / name}): run tools/native wasm wasm-simd"
            )
    return source


def serve_folder(folder: Path, port: int, say: Callable[[str], None]) -> None:
    """Serve a folder on this machine until a signal comes; `say` gets its address."""
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    class Page(SimpleHTTPRequestHandler):
        extensions_map = {  # noqa: RUF012
            **SimpleHTTPRequestHandler.extensions_map,
            ".js": "text/javascript",
        }

        def log_message(self, format: str, *arguments: Any) -> None:
            """Requests are not logged."""

    with ThreadingHTTPServer(("127.0.0.1", port), partial(Page, directory=str(folder))) as server:
        say(f"http://127.0.0.1:{server.server_port}/")
        server.serve_forever()


def _settings(rec: Recommender, title: str | None, language: str, public_key: Path | None) -> dict[str, Any]:
    """kiosk.json: the settings of the page, which the shop may edit."""
    model = rec.arrays.model
    numbers = [n for n in model.catalog.columns[4:] if model.catalog.kind_of(n) == "number"]
    price = next((n for n in numbers if "price" in n.lower()), None)
    key = None if public_key is None else public_key_of(public_key)
    assert key is None or len(base64.b64decode(key)) == 32
    return {
        "title": title or rec.bundle.manifest.name,
        "language": language,
        "k": 24,
        "diversity": 0.2,
        "idle_s": 90,
        "price": price,
        "currency": "EUR",
        "tasks": {task: task for task in rec.tasks},
        "weights": dict(model.policy.weights),
        "related": "similar.onnx" in rec.bundle.manifest.files,
        "updates": "next/",
        "update_s": 3600,
        "public_key": key,
    }


def _listed(folder: Path) -> dict[str, Any]:
    """The files that the service worker caches, and a version that changes with any of them."""
    skipped = ("worker.js", *NOT_READ)
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and not any(p.match(name) for name in skipped))
    digest = hashlib.sha256(b"".join(hashlib.sha256(p.read_bytes()).digest() for p in paths)).hexdigest()
    return {"version": digest[:16], "files": ["./", *(p.relative_to(folder).as_posix() for p in paths)]}


def check_language(language: str) -> str:
    """Raise ConfigError for a language that words.js does not have."""
    words = (files("edgerec.ship") / "kiosk" / "words.js").read_text(encoding="utf-8")
    known = [line.strip()[:2] for line in words.splitlines() if line.startswith("  ") and line.strip().endswith(": {")]
    if language not in known:
        raise ConfigError(f"--language: no words for {language!r}; known are {', '.join(known)}")
    return language
