"""The kiosk page in a real Chromium, with and without its server; pictures go to the folder EDGEREC_PICTURES names."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edgerec.bundle.sign import make_keys, sign_bundle
from edgerec.errors import ConfigError, DataError
from edgerec.runtime import Recommender
from edgerec.ship import web
from edgerec.ship.web import embed_web
from tests import toy
from tests.web.conftest import CHROMIUM, WEB, write

EXAMPLES = WEB / "examples"
ESBUILD = WEB / "node_modules" / "@esbuild" / "linux-x64" / "bin" / "esbuild"


def test_a_bundle_without_a_catalogue_for_browsers_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"has no catalog.json.*set web = true in \[quantization\]"):
        embed_web(toy.write(tmp_path), tmp_path / "app", None, "en", None)
    assert not (tmp_path / "app").exists()


def test_without_a_built_engine_it_says_how_to_build_it(tmp_path, monkeypatch):
    monkeypatch.setattr(web, "SOURCES", (tmp_path,))
    with pytest.raises(ConfigError, match=r"engine for browsers is not built .* run tools/native wasm wasm-simd"):
        embed_web(write(tmp_path / "a"), tmp_path / "app", None, "en", None)
    assert not (tmp_path / "app").exists()


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="exists and is not empty"):
        embed_web(write(tmp_path / "a"), tmp_path / "app", None, "en", None)


def test_the_worker_keeps_what_the_page_reads_and_nothing_else(tmp_path):
    embed_web(write(tmp_path / "a"), tmp_path / "app", None, "en", None)
    kept = json.loads((tmp_path / "app" / "files.json").read_text())["files"]
    assert {"index.html", "bundle/student.bin", "edgerec/wasm/simd.js", "edgerec/wasm/scalar.js"} <= set(kept)
    assert not [name for name in kept if name.endswith((".onnx", ".sqlite", "weights.bin", "onnx.js", "node.js"))]
    assert all((tmp_path / "app" / name).exists() for name in kept)
    page = (tmp_path / "app" / "index.html").read_text()
    assert "script-src 'self' 'wasm-unsafe-eval'" in page and "unsafe-eval" not in page.replace("wasm-unsafe-eval", "")


def test_a_folder_of_pictures_without_one_is_refused(tmp_path):
    (tmp_path / "pictures").mkdir()
    with pytest.raises(DataError, match=r"holds no picture; expected files such as 22423.jpg"):
        embed_web(write(tmp_path / "a"), tmp_path / "app", None, "en", None, tmp_path / "pictures")


@pytest.fixture(scope="module")
def seen(node, tmp_path_factory):
    """What a walk through the page saw; its bundle is signed, and the page pins the key."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    pytest.importorskip("cryptography")
    home = tmp_path_factory.mktemp("kiosk")
    make_keys(home / "k", home / "k.pub")
    first = write(home / "1", 60, hours=False)
    newer, unsigned = (write(home / name, 61, version=2, hours=False) for name in "23")
    for bundle in (first, newer):
        sign_bundle(bundle, home / "k")
    embed_web(first, home / "app", "Toy shop", "en", home / "k.pub", currency="EUR")
    settings = json.loads((home / "app" / "kiosk.json").read_text()) | {"update_s": 1, "diversity": 0}
    (home / "app" / "kiosk.json").write_text(json.dumps(settings))
    shutil.copyfile(WEB / "examples" / "shop-page.html", home / "app" / "shop-page.html")
    if (EXAMPLES / "node_modules" / "react-dom").exists() and ESBUILD.exists():
        options = ["--bundle", "--jsx=automatic", "--minify", f"--outfile={home}/app/react.js"]
        subprocess.run([ESBUILD, "react/app.tsx", *options], cwd=EXAMPLES, capture_output=True, check=True)
        head = '<!doctype html><html lang="en"><title>React</title><link rel="icon" href="icon.svg">'
        (home / "app" / "react.html").write_text(f'{head}<div id="app"></div><script src="react.js"></script></html>')
    pictures = Path(os.environ.get("EDGEREC_PICTURES", home))
    command = [node, "test/kiosk.mjs", home / "app", newer, unsigned, pictures, CHROMIUM]
    run = subprocess.run(command, cwd=WEB, capture_output=True, text=True, timeout=600, check=False)
    assert run.returncode == 0, run.stderr
    printed = json.loads(run.stdout)
    if "failed" in printed:
        pytest.fail(printed["failed"], pytrace=False)
    with Recommender.of(first) as rec:
        printed["popular"] = [row.title for row in rec.recommend(30)]
        printed["related"] = {f"Item {i}": [row.title for row in rec.similar(f"i{i}", 12)] for i in range(60)}
    return printed


slow = pytest.mark.slow


def number(title: str) -> int:
    """Of a toy item."""
    return int(title.split()[1])


@slow
def test_the_popular_items_are_painted_before_any_script_runs(seen):
    assert seen["paintedBeforeModules"][:3] == seen["noScript"]["list"][:3] == seen["popular"][:3]


@slow
def test_a_first_visit_downloads_each_file_once(seen):
    # next/ is asked again and again for newer bundles.
    downloads = {path: n for path, n in seen["downloads"] if not path.startswith("/next/")}
    assert {path: n for path, n in downloads.items() if n != 1} == {}
    assert {"/bundle/catalog.json", "/kiosk.json", "/files.json", "/shop/app.js"} <= set(downloads)
    assert not {"/index.html", "/bundle/catalog.sqlite", "/bundle/report.json"} & set(downloads)


@slow
def test_it_can_be_installed_and_opens_with_the_server_stopped(seen):
    assert seen["installability"] == []
    assert seen["offline"] == seen["first"]


@slow
def test_it_recommends_and_a_click_changes_the_list_with_its_reason(seen):
    for went in seen["shopping"]:
        assert went["first"] == seen["popular"][:24] and went["afterLook"] != went["first"]
        assert went["rows"] == [f"You looked at {went['first'][2]}", "Popular now"]
        assert went["withReasons"][0] == f"Goes with {went['lines'][0]}"


@slow
def test_a_look_is_no_purchase_so_that_what_was_looked_at_keeps_its_place(seen):
    for went in seen["shopping"]:
        assert went["afterLook"].index(went["first"][2]) == 2
        assert went["scrolledBack"] == 40


@slow
def test_cards_have_prices_badges_and_reasons_of_their_own(seen):
    for went in seen["shopping"]:
        # Item i costs i, has a colour unless it is item 0, and a tag for each of 2 and 3 that divides i.
        assert went["prices"] == [f"\u20ac{number(title)}.00" for title in went["first"]]
        assert went["badges"] == ["Bestseller"] * 5
        assert len(went["reasons"]) == len(set(went["reasons"])) >= 19
        looked = number(went["first"][2])
        assert went["facts"] == ["Colour"] * bool(looked) + ["Tags"] * bool(looked and not (looked % 2 and looked % 3))


@slow
def test_thumbs_down_hides_and_can_be_undone(seen):
    for went in seen["shopping"]:
        assert went["afterLook"][1] not in went["afterHide"]
        assert went["afterUndo"] == went["afterLook"]


@slow
def test_the_basket_recommends_what_goes_with_it_and_leaves_out_what_is_in_it(seen):
    for went in seen["shopping"]:
        item = went["afterUndo"][2]
        assert went["lines"] == [item] and went["count"] == "1"
        assert item not in went["afterAdd"] and went["with"] == seen["related"][item]
        assert (went["total"], went["twice"]) == (f"\u20ac{number(item)}.00", f"\u20ac{2 * number(item)}.00")
        assert went["bought"] == [f"2 \u00d7 {item}"]


@slow
def test_search_forgives_typing_and_an_empty_answer_suggests_something(seen):
    for went in seen["shopping"]:
        assert went["found"][0] == "Item 1"
        assert "qqqqqq" in went["nothing"] and len(went["suggested"]) == 12


@slow
def test_a_category_shows_its_items_only(seen):
    for went in seen["shopping"]:
        name, titles = went["category"]
        # What is in the basket may be looked for.
        assert name == "Two" and sorted(titles) == sorted(f"Item {i}" for i in range(2, 60, 2))


@slow
def test_the_drawer_speaks_the_shops_words_and_does_what_it_says(seen):
    for went in seen["shopping"]:
        assert went["sliders"] == ["Favourites", "Click", "Like", "Watch", "Variety"]
        assert went["varied"] != went["afterAdd"] and went["afterReset"] == went["afterAdd"]


@slow
def test_nothing_of_a_visitor_is_left_when_the_page_stood_idle(seen):
    for went in seen["shopping"]:
        assert went["keptWhenHere"] == "1"
        assert went["afterIdle"] == went["afterDone"] == went["first"]
        assert not went["countAfterIdle"] and not went["countAfterDone"]
        assert went["kept"] == [0, 0]


@slow
def test_settings_may_let_a_visitor_be_remembered_until_done(seen):
    assert seen["remembered"] == "1" and not seen["erased"]


@slow
def test_settings_and_code_reach_a_page_that_is_open_but_nobody_who_shops(seen):
    assert seen["newSettings"] == "Renamed shop" == seen["titleWhileShopping"]
    assert seen["newCode"] == ["/shop/words.js"]


@slow
def test_a_typo_in_the_settings_is_a_line_for_staff_and_changes_nothing(seen):
    title, lines = seen["typoWhileOpen"]
    assert title == "Renamed again" and any("kiosk.json is not valid JSON" in line for line in lines)
    assert "kiosk.json: Expected ',' or '}'" in seen["typo"]["staff"][0] and seen["typo"]["notice"] == ""
    assert [line for line in seen["wrongKeys"]["staff"] if line.startswith("kiosk.json")] == [
        "kiosk.json: 'k' must be a number from 1 to 200, got \"many\"; 24 is in use",
        "kiosk.json: no key 'titel'; did you mean 'title'?",
        "kiosk.json: theme: 'accent' is no color of CSS: \"greenish\"",
        "kiosk.json: theme has no 'colour'; it has accent, paper, card, ink, radius, font",
    ]


@slow
def test_an_unsigned_update_is_refused_and_a_signed_one_is_taken_and_kept(seen):
    lines, notice = seen["badUpdate"]
    assert any(line.startswith("next/: refused: manifest.sig") for line in lines) and notice == ""
    before, after = seen["afterBadUpdate"]
    assert after == before
    assert "took toy 2" in seen["update"][0] and seen["update"][1] == ""
    titles, lines = seen["afterUpdateOffline"]
    assert len(titles) == 24 and "bundle toy 2 of 2024-01-01" in lines


@slow
@pytest.mark.parametrize(
    ("failure", "line"),
    [
        ("damaged", "no personal lists: student.bin: damaged"),
        ("plainHttpSigned", "no personal lists: a signature can be checked over https or on localhost only"),
        ("asFile", "Opened as a file, which browsers do not let run"),
        ("missingFile", "A script of the page is missing or has the wrong type: shop/app.js"),
    ],
)
def test_a_failure_is_a_sentence_for_shoppers_and_a_line_for_staff(seen, failure, line):
    assert seen[failure]["list"][:3] == seen["popular"][:3]
    assert seen[failure]["notice"].endswith(("Please ask our staff.", "This is what others like."))
    assert any(re.match(line, one) for one in seen[failure]["staff"])


@slow
def test_without_javascript_the_popular_items_are_there_and_it_says_whom_to_ask(seen):
    assert "Please ask our staff." in seen["noScript"]["notice"]


@slow
def test_plain_http_and_a_browser_that_stores_nothing_still_recommend(seen):
    for where, line in (("plainHttp", "opened by plain http"), ("noStorage", "the visit of before cannot be read")):
        assert seen[where]["notice"] == "" and seen[where]["list"] == seen["first"]
        assert any(one.startswith(line) for one in seen[where]["staff"])


@slow
def test_a_page_that_comes_late_says_so_until_it_is_there(seen):
    assert seen["late"] == ["Shopping does not work here at the moment. Please ask our staff.", ""]


@slow
def test_no_shopper_reads_a_file_name_and_nothing_goes_to_the_console(seen):
    assert seen["fileNames"] == seen["console"] == seen["errors"] == []


@slow
def test_its_engine_runs_under_its_content_security_policy(seen):
    assert seen["strict"] == {"list": seen["first"], "refused": []}


@slow
def test_nobody_else_is_asked(seen):
    assert seen["outside"] == [] and seen["requests"] > 1000


@slow
def test_it_is_accessible_and_fits_a_phone_light_and_dark(seen):
    assert seen["violations"] == seen["overflow"] == []
    assert all(went["focus"] == "basket-open" for went in seen["shopping"])


@slow
def test_it_is_read_from_right_to_left_in_arabic_and_wears_the_shops_colours(seen):
    assert seen["rightToLeft"] == ["rtl", "ar", "Toy shop"]
    assert seen["theme"] == ["rgb(255, 221, 0)", "rgb(0, 0, 0)"]


@slow
def test_the_attracting_screen_moves_unless_somebody_wants_less_motion(seen):
    assert (seen["moves"], seen["rests"]) == ("parade", "none")


@slow
def test_a_page_that_exists_gets_lists_by_one_element(seen):
    assert seen["widget"] == {
        "first": seen["popular"][:8],
        "heading": "For you",
        "because": f"You looked at {seen['popular'][0]}",
        "found": "Item 7",
    }


@slow
def test_the_react_component_passes_attributes_their_changes_events_and_calls(seen):
    if "react" not in seen:
        pytest.skip("the packages of devices/web/examples are not installed: tools/web")
    picked, *_ = seen["popular"]
    assert seen["react"]["first"] == seen["popular"][:8]
    assert seen["react"]["headings"] == ["For you", f"Since you looked at {picked}", f"You looked at {picked}"]
    assert len(seen["react"]["afterAdd"]) == 8 and picked not in seen["react"]["afterAdd"]
