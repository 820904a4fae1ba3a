"""Builds the documentation site: pages written by hand, reference pages from the code, benchmarks from commands."""

from __future__ import annotations

import argparse
import inspect
import json
import re
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel

from edgerec.cli.main import app
from edgerec.config import Config
from tools import package_graph

ROOT = Path(__file__).parents[1]
SITE = ROOT / "tools" / "site"
BUILD = ROOT / "build"
PYTHON = {
    "edgerec.runtime": (
        "Recommender",
        "Recommendation",
        "Recommendations",
        "Reason",
        "Explanation",
        "Events",
        "ArrayRecommender",
    ),
    "edgerec.runtime.experiment": ("Experiment",),
    "edgerec.bundle": ("Bundle",),
    "edgerec.metrics.off_policy": ("estimate_policy", "best_of"),
    "edgerec.metrics.sequential_test": ("always_valid",),
}
"""What the Python page describes."""
MEASURED = ("overhead", "runtimes", "web")
"""Benchmarks that take a run and print a table."""
SCREENS = SITE / "pages" / "images" / "screens"
"""Pictures of the real screens, which `--screens` takes."""
COLORS, SCREEN_BYTES = 128, 60_000
"""Of the palette of such a picture, and the most that it may take."""
BY_ROW = ("glossary", "settings")
"""Pages of tables whose rows the search finds one by one."""


def pages(folder: Path) -> None:
    """All pages of the site, into an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(SITE / "pages", folder)
    (folder / "reference").mkdir()
    (folder / "reference" / "commands.md").write_text(commands(), encoding="utf-8")
    (folder / "reference" / "settings.md").write_text(settings(), encoding="utf-8")
    (folder / "reference" / "python.md").write_text(python(), encoding="utf-8")
    (folder / "benchmarks.md").write_text(benchmarks(), encoding="utf-8")
    (folder / "images" / "packages.svg").write_text(package_graph.drawing(package_graph.imports()), encoding="utf-8")
    architecture = folder / "concepts" / "architecture.md"
    text = architecture.read_text(encoding="utf-8").replace("<!-- generated: packages -->", packages())
    architecture.write_text(text, encoding="utf-8")
    for page in folder.rglob("*.md"):
        page.write_text(with_pictures(page.read_text(encoding="utf-8"), page, folder), encoding="utf-8")
    shutil.copytree(SITE / "assets", folder / "assets")
    index = "globalThis.edgerecSections = " + json.dumps(list(search_index(folder)), ensure_ascii=False) + ";\n"
    (folder / "assets" / "search-index.js").write_text(index, encoding="utf-8")


def with_pictures(text: str, page: Path, folder: Path) -> str:
    """A page with its pictures of screens.

    A line such as ``<!-- screen: kiosk-home | The kiosk's first page -->`` is the place of
    images/screens/NAME.png, which `--screens` takes.
    """

    def picture(found: re.Match[str]) -> str:
        way = "../" * (len(page.relative_to(folder).parts) - 1)
        file = f"{way}images/screens/{found[1]}.png"
        return f"[![{found[2]}]({file})]({file})"  # a tap shows it whole

    return re.sub(r"<!-- screen: ([\w-]+) \| (.+?) -->", picture, text)


def search_index(folder: Path) -> Iterator[dict[str, str]]:
    """What the search knows: heading, address and words of each section of each page."""
    for path in sorted(folder.rglob("*.md")):
        title, address, ids = "", path.relative_to(folder).with_suffix(".html").as_posix(), set[str]()
        text = re.sub(r"<!--.*?-->", "", path.read_text(encoding="utf-8"), flags=re.S)
        for part in re.split(r"^(?=#{1,3} )", _without_headings_in_code(text), flags=re.MULTILINE):
            head, _, body = part.partition("\n")
            if not head.startswith("#"):
                continue
            heading = re.sub(r"[`*]", "", head.lstrip("# "))
            title = title or heading
            anchor = _anchor(heading, ids)
            url = f"{address}#{anchor}"
            yield {"page": title, "heading": heading, "url": url, "text": _words(body)}
            if path.stem in BY_ROW:
                for row in re.findall(r"^\| (?!-|key|term)(.+?) \| (.+)", body, flags=re.MULTILINE):
                    yield {"page": f"{title}, {heading}", "heading": _words(row[0]), "url": url, "text": _words(row[1])}


def _anchor(heading: str, taken: set[str]) -> str:
    """The id that Markdown gives a heading; `taken`: those of the page so far."""
    plain = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode()
    slug = re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())
    names = (slug, *(f"{slug}_{again}" for again in range(1, len(taken) + 1)))
    free = next(name for name in names if name not in taken)
    taken.add(free)
    return free


def _without_headings_in_code(text: str) -> str:
    """Comments in code begin like headings."""
    return re.sub(r"```.*?```", lambda code: re.sub(r"^#", " #", code[0], flags=re.MULTILINE), text, flags=re.S)


def _words(text: str) -> str:
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return " ".join(re.sub(r"```\w*|[`*|]|-{3,}", " ", text).split())


def packages() -> str:
    """CONTRIBUTING's table of the packages."""
    table = re.search(r"^\| package .*?(?=\n\n)", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.M | re.S)
    assert table is not None
    return table.group()


def commands() -> str:
    """Every command with its arguments and options."""
    sections = ["# Commands\n\nExit codes: 0 done, 1 a gate failed, 2 the input is wrong, 130 stopped by Ctrl-C.\n"]
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        if command.hidden:  # the old name of a command
            continue
        rows = (
            f"| {_names_of(p)} | {_cell(' '.join((getattr(p, 'help', None) or '').split()))} |" for p in command.params
        )
        table = "\n".join(["| argument or option | what |", "| --- | --- |", *rows])
        sections.append(f"## edgerec {name}\n\n{inspect.cleandoc(command.help or '')}\n\n{table}\n")
    return "\n".join(sections)


def _names_of(parameter: Any) -> str:
    names = parameter.opts if parameter.param_type_name == "option" else [parameter.name.upper()]
    return ", ".join(f"`{name}`" for name in names)


def settings() -> str:
    """Every key of edgerec.toml with its type, default and meaning."""
    sections = (f"## {title}\n\n{doc}\n\n{table}\n" for title, doc, table in _sections(Config, ""))
    title = "# Settings\n\nThe keys of `edgerec.toml`. Unknown ones are refused, with the nearest known one.\n"
    return "\n".join([title, *sections])


def _sections(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    rows, inner = [], []
    for name, field in model.model_fields.items():
        path = f"{prefix}.{name}" if prefix else name
        nested = _model_of(field.annotation)
        if nested is not None:
            inner.append((path, nested))
            continue
        default = "" if field.is_required() else f"`{_plain(field.get_default(call_default_factory=True))}`"
        rows.append(f"| `{name}` | {_cell(' '.join((field.description or '').split()))} | {default} |")
    if rows:
        title = f"[{prefix}]" if prefix else "Top level"
        yield (
            title,
            inspect.cleandoc(model.__doc__ or ""),
            "\n".join(["| key | what | default |", "| --- | --- | --- |", *rows]),
        )
    for path, nested in inner:
        yield from _sections(nested, path)


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """The settings model in an annotation such as ``tuple[TaskConfig, ...]`` or ``X | None``."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return annotation
    return next((m for m in map(_model_of, getattr(annotation, "__args__", ())) if m is not None), None)


def _plain(value: Any) -> str:
    return str(list(value) if isinstance(value, tuple) else value).replace("|", "\\|")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("``", "`")


def python() -> str:
    """Signatures and docstrings of the public names."""
    sections = ["# Python\n"]
    for module, names in PYTHON.items():
        for name in names:
            thing = getattr(import_module(module), name)
            sections.append(f"## {module}.{name}\n\n{_documented(thing)}")
            if inspect.isclass(thing):
                sections += (
                    f"### {name}.{method}\n\n{_documented(of)}"
                    for method, of in _members(thing).items()
                    if not method.startswith("_")
                    and (inspect.isfunction(of) or isinstance(of, classmethod))
                    and of.__doc__
                )
    return "\n".join(sections)


def _members(thing: type) -> dict[str, Any]:
    """What a class and its bases define, the class's own first."""
    members: dict[str, Any] = {}
    for base in thing.__mro__[:-1]:
        members = {**members, **{name: of for name, of in vars(base).items() if name not in members}}
    return members


def _documented(thing: Any) -> str:
    doc = inspect.cleandoc(thing.__doc__ or "")
    try:
        signature = str(inspect.signature(getattr(thing, "__func__", thing)))
    except (TypeError, ValueError):
        signature = "(...)"
    name = getattr(thing, "__name__", getattr(getattr(thing, "__func__", None), "__name__", ""))
    return f"```text\n{name}{signature}\n\n{doc}\n```\n"


def benchmarks() -> str:
    """The tables that `--measure` printed, each below its command."""
    sections = [
        "# Benchmarks\n\nEach table is what the command above it printed, on two x86-64 cores with AVX-512 VNNI and no "
        "GPU. Timings are of that machine: measure yours by the same commands.\n"
    ]
    for path in sorted((SITE / "measured").glob("*.txt")):
        command, _, table = path.read_text(encoding="utf-8").partition("\n")
        sections.append(f"## {path.stem}\n\n`{command}`\n\n```text\n{table.strip()}\n```\n")
    return "\n".join(sections)


def measure(run: Path) -> None:
    """Run the commands of the benchmark page on a run, and store what they print."""
    for name in MEASURED:
        command = [sys.executable, "-m", "tools.benchmarks", name, str(run)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        line = f"tools/benchmark {name} runs/{Config.load(run / 'edgerec.toml').name}"
        (SITE / "measured" / f"{name}.txt").write_text(f"{line}\n{done.stdout.strip()}\n", encoding="utf-8")


def screens(run: Path) -> list[Path]:
    """Take the pictures of the real screens again, of the bundle and the report of a run; needs Chromium and tools/web.

    Raises:
        ConfigError: one of the two is not installed.
        ValueError: a picture is larger than the documentation bears.
    """
    import tempfile

    from PIL import Image

    from edgerec.errors import ConfigError
    from edgerec.ship.web import embed_web
    from tools.benchmarks.shared import javascript

    chromium = javascript.chromium()
    if chromium is None or not javascript.installed():
        raise ConfigError("pictures need Chromium and the packages of devices/web: run tools/web")
    SCREENS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        folder, pictures = Path(made) / "page", Path(made) / "pictures"
        pictures.mkdir()
        embed_web(run / "bundle", folder, "Gift shop", "en", None, currency="GBP")
        example = javascript.WEB / "examples" / "shop-page.html"
        places = {"folder": folder, "report": (run / "report" / "report.html").absolute(), "example": example}
        job = {"pictures": pictures, "chromium": chromium, **places}
        javascript.run_script("places.mjs", {name: str(value) for name, value in job.items()})
        for path in pictures.iterdir():
            picture = Image.open(path).convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
            picture.save(SCREENS / path.name, optimize=True)
    taken = sorted(SCREENS.glob("*.png"))
    for path in taken:
        if path.stat().st_size > SCREEN_BYTES:
            raise ValueError(f"{path}: {path.stat().st_size} bytes, and {SCREEN_BYTES} is the most")
    return taken


def build() -> Path:
    """The site's folder.

    Raises:
        CalledProcessError: a page links to what is not there, or is in no menu.
    """
    pages(BUILD / "site-pages")
    options = ("--quiet", "--clean", "--strict", "-f", str(SITE / "mkdocs.yml"))
    command = [sys.executable, "-m", "mkdocs", "build", *options]
    subprocess.run(command, cwd=ROOT, check=True)
    return BUILD / "site"


def code_blocks(text: str) -> list[tuple[str, str]]:
    """Language and code of each fenced block of a page."""
    return re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)


if __name__ == "__main__":
    parser = argparse.ArgumentParser("tools/docs", description=__doc__)
    parser.add_argument("--measure", type=Path, metavar="RUN", help="measure the benchmark tables on this run")
    parser.add_argument("--client", action="store_true", help="write the TypeScript client of the HTTP service")
    parser.add_argument("--screens", type=Path, metavar="RUN", help="take the pictures of screens again, of this run")
    given = parser.parse_args()
    if given.client:
        from tools.typescript_client import CLIENT, client

        CLIENT.write_text(client(), encoding="utf-8")
        print(CLIENT)
        sys.exit()
    if given.screens is not None:
        print(*screens(given.screens), sep="\n")
        sys.exit()
    if given.measure is not None:
        measure(given.measure)
    print(build())
