"""A static folder with the JavaScript runtime, onnxruntime-web, a bundle, and a kiosk page that uses them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import edgerec
from edgerec.bundle import Bundle
from edgerec.bundle.columns_file import COLUMNS
from edgerec.errors import ConfigError
from edgerec.runtime import Recommender
from edgerec.ship.page import page_settings, popular_items, write_page
from edgerec.ship.python import EmbedReport, folder_size, refuse_full

_HOME: Final = Path(edgerec.__file__).parent
# In a wheel the sources are in the package, in a source tree beside it.
SOURCES: Final = (_HOME / "ship" / "javascript", _HOME.parent / "devices" / "web" / "src")
ORT_FILES: Final = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")


def embed_web(
    bundle: Path,
    folder: Path,
    ort: Path | None,
    title: str | None,
    language: str,
    public_key: Path | None,
    pictures: Path | None = None,
) -> EmbedReport:
    """Write the folder; the bundle is verified first.

    Args:
        ort: folder of the npm package onnxruntime-web, or its dist; None: it is looked for in node_modules.
        public_key: the key that the page pins; then it accepts only bundles signed with it.
        pictures: a folder of pictures that are named like the items' ids, such as 22423.jpg.
    Raises:
        BundleError: the bundle is damaged. ConfigError: it was not built for the web, or there is no onnxruntime-web.
        DataError: `folder` is not empty.
    """
    opened = Bundle.open(bundle)
    if COLUMNS not in opened.manifest.files:
        raise ConfigError(
            f"{bundle}: has no {COLUMNS}, which a browser reads; set web = true in [quantization] and run "
            "edgerec quantize"
        )
    dist = find_ort(ort)
    refuse_full(folder)
    folder.mkdir(parents=True, exist_ok=True)
    source = next(path for path in SOURCES if path.is_dir())
    shutil.copytree(source, folder / "edgerec", ignore=shutil.ignore_patterns("node.js", "*.d.ts"))
    (folder / "ort").mkdir()
    for name in ORT_FILES:
        shutil.copyfile(dist / name, folder / "ort" / name)
    shutil.copytree(opened.folder, folder / "bundle")
    with Recommender.of(opened) as rec:
        settings, popular = page_settings(rec, title, language, public_key), popular_items(rec)
    write_page(folder, settings, popular, pictures)
    return EmbedReport(folder_size(folder) - folder_size(folder / "bundle"), folder_size(folder / "bundle"))


def find_ort(given: Path | None) -> Path:
    """The folder with onnxruntime-web's files: `given`, or of an installed npm package.

    Raises:
        ConfigError: no such folder has them.
    """
    here = [Path("node_modules"), _HOME.parent / "devices" / "web" / "node_modules"]
    places = [given] if given is not None else [home / "onnxruntime-web" for home in here]
    for place in places:
        for folder in (place, place / "dist"):
            if all((folder / name).is_file() for name in ORT_FILES):
                return folder
    raise ConfigError(
        f"no onnxruntime-web in {places[0]}: npm install onnxruntime-web, or give its folder with --ort FOLDER"
    )


def serve_folder(folder: Path, port: int, say: Callable[[str], None]) -> None:
    """Serve a folder on this machine until a signal comes; `say` gets its address."""
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    class Page(SimpleHTTPRequestHandler):
        extensions_map = {  # noqa: RUF012
            **SimpleHTTPRequestHandler.extensions_map,
            ".mjs": "text/javascript",
            ".js": "text/javascript",
            ".wasm": "application/wasm",
        }

        def log_message(self, format: str, *arguments: Any) -> None:
            """Requests are not logged."""

    with ThreadingHTTPServer(("127.0.0.1", port), partial(Page, directory=str(folder))) as server:
        say(f"http://127.0.0.1:{server.server_port}/")
        server.serve_forever()
