"""The kiosk page of a run's bundle in Chromium: first paint, first list of the visitor's own, bytes, and pictures.

--pictures writes its screens at 1920x1080 and 390x844, light and dark. Needs Chromium and the packages that tools/web
installs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgerec.errors import ConfigError
from edgerec.ship.web import embed_web
from tools.benchmarks.shared import javascript
from tools.benchmarks.shared.command import Parser, Row, add_json, add_run, print_rows

DURATION = "1 minute"
VISITS = 7
"""First visits, each in a fresh context; the figures are their medians."""


def measure(bundle: Path, pictures: Path | None, search: str) -> Row:
    """Figures of first visits; pictures of the screens into a folder."""
    chromium = javascript.chromium()
    if chromium is None or not javascript.installed():
        raise ConfigError("this benchmark needs Chromium and the packages of devices/web: run tools/web")
    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "page"
        embed_web(bundle, folder, "Gift shop", "en", None, currency="GBP")
        given = None if pictures is None else str(pictures.absolute())
        job = {"folder": str(folder), "pictures": given, "search": search, "visits": VISITS, "chromium": chromium}
        figures: Row = javascript.run_script("screens.mjs", job)
        return figures


def main(arguments: Sequence[str]) -> int:
    """Print one row."""
    parser = Parser(__name__, __doc__)
    add_run(parser)
    parser.add_argument("--pictures", type=Path, help="folder for pictures of the screens")
    parser.add_argument("--search", default="cakestnd", help="what is typed for the picture of a search")
    add_json(parser)
    options = parser.parse_args(arguments)
    print_rows([measure(options.run / "bundle", options.pictures, options.search)], options.json)
    return 0
