"""A static folder with the JavaScript runtime, a bundle, and a kiosk page that uses them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import edgerec
from edgerec.bundle import Bundle
from edgerec.bundle.columns_file import COLUMNS
from edgerec.bundle.size import STUDENT
from edgerec.errors import ConfigError
from edgerec.runtime import Recommender
from edgerec.ship.page import page_settings, popular_items, write_page
from edgerec.ship.python import EmbedReport, folder_size, refuse_full

_HOME: Final = Path(edgerec.__file__).parent
# In a wheel the sources are in the package, in a source tree beside it.
SOURCES: Final = (_HOME / "ship" / "javascript", _HOME.parent / "devices" / "web" / "src")
ENGINE: Final = ("wasm/simd.js", "wasm/scalar.js")
"""Of the runtime: the engine as WebAssembly, which `tools/native` builds."""
NOT_OF_A_PAGE: Final = ("*.d.ts", "node.js", "electron.js", "react-native.js", "journal.js", "onnx.js", "graphs.js")
NOT_READ: Final = ("catalog.sqlite", "newcomers.npz", "report.json", "weights.bin", "*.onnx")
"""Files of a bundle that a page leaves alone."""


def embed_web(
    bundle: Path,
    folder: Path,
    title: str | None,
    language: str,
    public_key: Path | None,
    pictures: Path | None = None,
    currency: str | None = None,
) -> EmbedReport:
    """Write the folder; the bundle is verified first.

    Args:
        public_key: the key that the page pins; then it accepts only bundles signed with it.
        pictures: a folder of pictures that are named like the items' ids, such as 22423.jpg.
        currency: of the prices, such as GBP; without one they are plain numbers.
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
    with Recommender.of(opened) as rec:
        settings = page_settings(rec, title, language, public_key, currency)
        popular = popular_items(rec)
    write_page(folder, settings, popular, pictures, NOT_READ)
    return EmbedReport(folder_size(folder) - folder_size(folder / "bundle"), folder_size(folder / "bundle"))


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
