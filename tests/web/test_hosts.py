"""The adapters for Node, Electron and React Native: the same lists, and events that outlive the process."""

import json
import subprocess

import pytest

from edgerec.runtime import Recommender
from tests import toy
from tests.web.conftest import WEB, write

NOW = toy.NOW_MS
HOSTS = ["node", "electron", "react-native"]
EXAMPLES = WEB / "examples"


@pytest.fixture(params=HOSTS)
def host(request, node, tmp_path):
    """Asks one host; each call is a process of its own over the same bundle and journal."""
    folder, journal = write(tmp_path / "a", 12), tmp_path / "edgerec.jsonl"

    def run_calls(calls, **keys):
        engine = "onnxruntime-node" if request.param == "react-native" else "wasm"  # Hermes has no WebAssembly
        job = {"folder": str(folder), "engine": engine, "host": request.param, "journal": str(journal)}
        run = subprocess.run(
            [node, "test/run.mjs"], cwd=WEB, input=json.dumps({**job, "calls": calls, **keys}),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        return json.loads(run.stdout)

    run_calls.folder, run_calls.journal, run_calls.name = folder, journal, request.param
    return run_calls


def test_lists_are_those_of_python_and_events_outlive_the_process(host):
    first = host([["observe", "i5", {"kind": "click", "time": NOW, "eventId": "e"}]])
    second = host(
        [
            ["observe", "i5", {"kind": "click", "time": NOW, "eventId": "e"}],
            ["recommend", 5, {"now": NOW, "explain": True}],
        ]
    )
    assert first["results"] == [True] and second["results"][0] is True and second["lines"] == 1
    with Recommender.of(host.folder) as rec:
        rec.observe("i5", "click", time=NOW)
        wanted = rec.recommend(5, now=NOW, explain=True)
        attributes = wanted[0].attributes
    printed = second["results"][1]
    assert [r["item"] for r in printed["items"]] == [r.item for r in wanted]
    assert printed["items"][0]["attributes"] == attributes and printed["whyFewer"] == {}
    assert printed["items"][0]["reasons"][0]["kind"] == wanted[0].reasons[0].kind


def test_an_error_keeps_its_name(host):
    (answer,) = host([["recommend", 0]])["results"]
    assert answer["error"] == "ConfigError" and "at least 1" in answer["message"]


def test_a_line_that_a_crash_cut_off_is_left_out_and_counted(host):
    host([["observe", f"i{i}", {"time": NOW + i}] for i in range(3)])
    host.journal.write_text(host.journal.read_text()[:-9])
    after = host([["observe", "i9", {"time": NOW + 9}]])
    assert (after["damaged"], after["results"], after["lines"]) == (1, [True], 3)
    assert [json.loads(line)["event"]["item"] for line in host.journal.read_text().splitlines()] == ["i0", "i1", "i9"]


def test_nothing_of_a_forgotten_user_is_left_in_the_file(host):
    host([["observe", "i5", {"time": NOW}], ["recommend", 3, {"now": NOW, "log": True}], ["forget"]])
    assert host.journal.read_text() == ""


def test_the_file_is_bounded(host):
    calls = [["observe", f"i{i % 12}", {"time": NOW + i}] for i in range(450)]
    assert host(calls, bounds={"rows": 20})["lines"] <= 200
    assert host([], bounds={"rows": 20})["lines"] == 20


def test_where_the_file_cannot_be_used_it_recommends_and_says_so(host):
    host.journal.mkdir()
    got = host([["observe", "i5", {"time": NOW}], ["recommend", 3, {"now": NOW}], ["forget"]])
    stored, listed, forgotten = got["results"]
    assert stored is False and len(listed["items"]) == 3
    assert forgotten["error"] == "DataError" and "not from the file" in forgotten["message"]
    assert got["health"]["lost"] == 1 and "the journal cannot be used" in got["health"]["trouble"]


def test_only_its_owner_reads_the_journal(host):
    if host.name == "react-native":
        pytest.skip("there every app has files of its own")
    host([["observe", "i5", {"time": NOW}], ["forget"], ["observe", "i5", {"time": NOW}]])
    assert host.journal.stat().st_mode & 0o777 == 0o600


def test_lines_go_on_in_the_new_journal_where_a_crash_came_between_two_renames(host):
    host([["observe", "i5", {"time": NOW}]])
    if host.name == "react-native":
        host.journal.rename(host.journal.with_name("edgerec.jsonl.new"))
    host([["observe", "i6", {"time": NOW}]])
    assert host([])["lines"] == 2


def test_a_new_journal_is_read_where_a_crash_came_between_two_renames(host):
    if host.name != "react-native":
        pytest.skip("only there a file cannot be replaced in one step")
    host([["observe", "i5", {"time": NOW}]])
    host.journal.rename(host.journal.with_name("edgerec.jsonl.new"))
    assert host([])["lines"] == 1


def test_a_page_of_electron_can_ask_for_nothing_else(node):
    code = """
      import { answerPages } from "./src/electron.js";
      let answer;
      const stop = answerPages({ handle: (_, a) => (answer = a), removeHandler: () => {} }, {});
      console.log(JSON.stringify(await answer({}, "constructor", "x")));
      stop();
    """
    run = subprocess.run([node, "--input-type=module", "-e", code], cwd=WEB, capture_output=True, text=True, check=True)
    assert json.loads(run.stdout)["error"]["message"] == "no call 'constructor'"


def test_without_webcrypto_it_says_so(node, tmp_path):
    folder = json.dumps(str(write(tmp_path / "a")))
    code = f"""
      import {{ Recommender }} from "./src/index.js";
      import {{ fromFolder }} from "./src/node.js";
      const opened = Recommender.open(fromFolder({folder}), {{ crypto: {{}} }});
      await opened.catch((e) => console.log(e.message));
    """
    run = subprocess.run([node, "--input-type=module", "-e", code], cwd=WEB, capture_output=True, text=True, check=True)
    assert "there is no WebCrypto here" in run.stdout


WITHOUT = """
      import { Recommender } from "./src/index.js";
      import { fromFolder } from "./src/node.js";
      delete globalThis.WebAssembly;
      const said = (opened) => opened.then(() => "opened", (e) => `${e.name}: ${e.message}`);
      const folder = process.argv.at(-1);
      console.log(await said(Recommender.open(fromFolder(folder))));
"""


def test_where_there_is_no_webassembly_or_no_student_it_says_what_to_give(node, tmp_path):
    def said(code, folder):
        command = [node, "--input-type=module", "-e", code, "--", folder]
        return subprocess.run(command, cwd=WEB, capture_output=True, text=True, check=True).stdout

    folder = write(tmp_path / "a")
    assert said(WITHOUT, folder).startswith("ConfigError: there is no WebAssembly here: give ort, the module of onnx")
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"]["student.bin"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    answer = said(WITHOUT.replace("delete globalThis.WebAssembly;", ""), folder)
    assert answer.startswith("BundleError: manifest.json: lists no student.bin;") and "or give ort" in answer


@pytest.fixture
def tool(node):
    """Runs a tool of the examples' packages, in their folder."""
    if not (EXAMPLES / "node_modules" / "metro").exists():
        pytest.skip("the packages of devices/web/examples are not installed: tools/web")

    def run(*command, cwd=EXAMPLES):
        done = subprocess.run([str(c) for c in command], cwd=cwd, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]

    return run


def test_the_examples_types_hold(node, tool):
    tool(node, WEB / "node_modules" / "typescript" / "bin" / "tsc", "-p", "tsconfig.json")


def test_the_electron_example_is_bundled(tool, tmp_path):
    bundler = WEB / "node_modules" / "@esbuild" / "linux-x64" / "bin" / "esbuild"
    if not bundler.exists():
        pytest.skip("esbuild is not for this machine")
    options = ["--bundle", "--platform=node", "--external:electron"]
    tool(bundler, "electron/main.ts", *options, "--format=esm", f"--outfile={tmp_path}/main.mjs")
    tool(bundler, "electron/preload.ts", *options, "--format=cjs", f"--outfile={tmp_path}/preload.cjs")
    tool(bundler, "electron/page.ts", "--bundle", f"--outfile={tmp_path}/page.js")
    assert "edgerec" in (tmp_path / "preload.cjs").read_text()


@pytest.mark.slow
def test_the_react_native_example_is_bundled_and_compiled_for_hermes(node, tool, tmp_path):
    packages = EXAMPLES / "node_modules"
    bundle = tmp_path / "app.js"
    metro = [node, packages / "metro" / "src" / "cli.js", "build", "index.js", "-c", "metro.config.cjs"]
    tool(*metro, "-O", bundle, "--platform", "android", cwd=EXAMPLES / "react-native")
    assert "whyFewer" in bundle.read_text()
    compiler = packages / "hermes-compiler" / "hermesc" / "linux64-bin" / "hermesc"
    tool(compiler, "-O", "-w", "-emit-binary", "-out", tmp_path / "app.hbc", bundle)
