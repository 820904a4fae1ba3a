"""The faults of tools/benchmark faults, small, in JavaScript: nothing is lost or accepted, and nothing crashes."""

import base64
import json
import os
import random
import subprocess
from copy import deepcopy

import pytest

from edgerec.bundle.sign import make_keys, public_key_of, sign_bundle
from tests.web.conftest import CHROMIUM, WEB, write
from tools.benchmarks.injected import library
from tools.benchmarks.injected.recorded import Disk, changes, steps, surviving

CLASSES = {"damagedBundles": 100, "forgedBundles": 130, "exchanged": 30, "kills": 90, "disks": 100,
           "damagedStores": 150, "clocks": 19, "noDatabase": 2}  # fmt: skip
"""By name, the least number of trials."""


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    pytest.importorskip("cryptography", reason="the extra sign is not installed")
    home = tmp_path_factory.mktemp("faults")
    make_keys(home / "k", home / "k.pub")
    folder = write(home / "a", 12)
    sign_bundle(folder, home / "k")
    return folder, list(base64.b64decode(public_key_of(home / "k.pub")))


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_of_faults_does_no_harm_in_javascript(node, signed, name):
    folder, key = signed
    job = json.dumps({"folder": str(folder), "key": key, "classes": [name]})
    run = subprocess.run(
        [node, "test/faults.mjs"], cwd=WEB, input=job, capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode == 0, run.stderr[-3000:]
    count = json.loads(run.stdout)[name]
    notes = "\n".join(count.pop("notes")[:8])
    assert count.pop("trials") >= CLASSES[name]
    assert count == {"lost": 0, "accepted": 0, "crashed": 0}, notes


@pytest.mark.slow
def test_a_database_of_a_page_may_be_cleared_full_or_odd_and_nothing_is_lost_or_doubled(node):
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    command = [node, "test/store.mjs", CHROMIUM]
    run = subprocess.run(command, cwd=WEB, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    seen = json.loads(run.stdout)
    assert seen["twice"] == [True, True] and seen["atOnce"] == ["a", "b", "c", "d"]
    assert seen["bounded"] == seen["odd"] == ["b", "c", "d", "e", "f"]
    assert seen["cleared"] == [[], True, ["g"], 0]
    assert seen["full"] == [False, False, ["g", "h"]] and seen["trouble"]
    assert seen["again"] == [True, ["g", "h", "i"], None] and seen["reopened"] == ["g", "h", "i"]
    assert seen["bad"] is False
    assert seen["forgotten"] == [[], True]


def kept_of(disk):
    """The event ids by user that a start would read from the journal on a disk."""
    file = disk.find(["events.jsonl"])
    kept = {"": [], "gone": []}
    for line in b"" if file is None else disk.files[file].split(b"\n"):
        try:
            event = json.loads(line)["event"]
        except ValueError:  # cut off
            continue
        kept[event["profile"]].append(event["eventId"])
    return kept


@pytest.mark.skipif(library.compiler() is None, reason="needs Linux and a C compiler")
def test_a_power_cut_takes_no_line_of_the_journal_that_was_acknowledged(node, tmp_path):
    home, record = tmp_path / "home", tmp_path / "record"
    home.mkdir()
    environment = {**os.environ, "LD_PRELOAD": str(library.build(tmp_path)), "FAULT_RECORD": f"{home}:{record}"}
    subprocess.run([node, "test/life.mjs", home], cwd=WEB, env=environment, check=True)
    end = Disk()
    done = list(changes(steps(record.read_bytes()), str(home), end))
    blank = Disk()
    blank.files |= {number: bytearray() for number in end.files}
    told = end.find(["told"])
    choose = random.Random(0)
    assert len(kept_of(end)[""]) >= 20 and len(done) > 500
    for stop in range(1, len(done) + 1):
        said = b"".join(change.content for change in done[:stop] if change.node == told).decode().split()
        erased = len(said) - said[::-1].index("forgotten") if "forgotten" in said else 0
        wanted = [name for name in said if name[0] == "e"][-10:]  # of the newest twenty, which the journal keeps
        wanted = [name for name in wanted if int(name[1:]) % 5]
        for loose in (False, True):
            disk = deepcopy(blank)
            disk.take(surviving(done[:stop], choose) if loose else done[:stop])
            kept = kept_of(disk)
            both = kept[""] + kept["gone"]
            assert len(both) == len(set(both)), (stop, loose)
            assert [n for n in wanted if n not in kept[""]] == [], (stop, loose)
            assert [n for n in kept["gone"] if n in said[:erased]] == [], (stop, loose)


NUMBERS = """
import { readFileSync, readdirSync } from "node:fs";
import { BundleError, Recommender } from "./src/index.js";
const folder = process.argv.at(-1);
const files = new Map(readdirSync(folder).map((name) => [name, new Uint8Array(readFileSync(`${folder}/${name}`))]));
const hex = (buffer) => [...new Uint8Array(buffer)].map((b) => b.toString(16).padStart(2, "0")).join("");
async function attempt(student) {
  const manifest = JSON.parse(new TextDecoder().decode(files.get("manifest.json")));
  const sha256 = hex(await crypto.subtle.digest("SHA-256", student));
  manifest.files["student.bin"] = { bytes: student.length, sha256 };
  const forged = new Map(files).set("student.bin", student);
  forged.set("manifest.json", new TextEncoder().encode(JSON.stringify(manifest)));
  try {
    const list = await (await Recommender.open(async (name) => forged.get(name))).recommend(3);
    return list.every((row) => Number.isFinite(row.utility)) ? "lists" : "no lists";
  } catch (error) {
    if (!(error instanceof BundleError) || /\\n/.test(error.message)) return String(error.stack);
    return "refused";
  }
}
const said = {};
const good = files.get("student.bin");
for (const value of [0xffffffff, 0x80000000, 0x7fffffff, 0x10000, 0])
  for (let at = 0; at + 4 <= 1600; at += 4) {
    const student = good.slice();
    new DataView(student.buffer).setUint32(at, value, true);
    const answer = await attempt(student);
    said[answer] = (said[answer] ?? 0) + 1;
  }
console.log(JSON.stringify(said));
"""


def test_too_large_numbers_in_the_head_of_a_student_are_refused_or_do_no_harm(node, tmp_path):
    said = run_code(node, NUMBERS, write(tmp_path / "a"))
    assert set(said) == {"lists", "refused"} and said["refused"] > 500


def run_code(node, code, *arguments):
    """What a module prints as JSON."""
    command = [node, "--input-type=module", "-e", code, "--", *map(str, arguments)]
    run = subprocess.run(command, cwd=WEB, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout)


def test_a_download_ends_at_the_size_that_it_may_have(node):
    code = """
    import { createServer } from "node:http";
    import { fromUrl } from "./src/index.js";
    let sent = 0;
    const server = createServer((request, response) => {
      response.writeHead(200); // no length, and no end
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(65536))) sent += 65536;
        if (!response.destroyed) response.once("drain", more);
      };
      more();
    });
    await new Promise((done) => server.listen(0, "127.0.0.1", done));
    const read = fromUrl(`http://127.0.0.1:${server.address().port}/`);
    const said = await read("weights.bin", 100_000).then(() => "taken", (error) => `${error.name}: ${error.message}`);
    server.closeAllConnections();
    server.close();
    console.log(JSON.stringify({ said, little: sent < 64 << 20 }));
    """
    assert run_code(node, code) == {"said": "BundleError: weights.bin: has more than 100000 bytes", "little": True}


BROWSER = """
import { existsSync, readFileSync } from "node:fs";
const [shipped, newer, newest] = process.argv.slice(-3);
const stored = new Map(), kept = new Map();
let full = false;
const refuse = () => { if (full) throw new Error("QuotaExceededError"); };
const define = (name, value) => Object.defineProperty(globalThis, name, { value, configurable: true });
define("localStorage", { getItem: (k) => kept.get(k) ?? null, setItem: (k, v) => { refuse(); kept.set(k, v); } });
const cache = {
  match: async (path) => stored.get(path)?.clone(),
  put: async (path, response) => { refuse(); stored.set(path, response); },
  keys: async () => [...stored.keys()].map((path) => ({ url: `http://x${path}` })),
  delete: async ({ url }) => stored.delete(new URL(url).pathname),
};
define("caches", { open: async () => cache });
define("fetch", async (url) => {
  const path = decodeURIComponent(new URL(url).pathname);
  return existsSync(path) ? new Response(readFileSync(path)) : new Response("", { status: 404 });
});
const { openNewest, take } = await import("./src/updates.js");
const url = (folder) => `http://x${folder}/`;
const version = async (folder) => (await openNewest(url(folder))).manifest.version;
const said = [];
const rec = await openNewest(url(shipped));
"""


def test_an_update_is_kept_and_a_page_that_brings_a_newer_one_goes_before_it(node, tmp_path):
    folders = [write(tmp_path / str(version), 9, version) for version in (1, 2, 3)]
    code = f"""{BROWSER}
    said.push(await take(rec, url(newer)), await version(shipped), await version(newest));
    stored.set("/2/student.bin", new Response("damaged"));
    said.push(await version(shipped), JSON.parse(kept.get("edgerec-bundle")).failed);
    console.log(JSON.stringify(said));
    """
    assert run_code(node, code, *folders) == ["toy 2", 2, 3, 1, "2"]


def test_where_the_browser_keeps_nothing_an_update_says_so_and_the_page_opens(node, tmp_path):
    folders = [write(tmp_path / str(version), 9, version) for version in (1, 2, 3)]
    code = f"""{BROWSER}
    kept.set("edgerec-bundle", JSON.stringify({{ current: "2", previous: null }}));
    full = true;
    said.push(await version(shipped));
    said.push(await take(rec, url(newer)).catch((error) => `${{error.name}}: ${{error.message}}`));
    for (const odd of ["{{", "5", '"x"', "null", '{{"current": {{}}}}', '{{"current": "../x"}}']) {{
      kept.set("edgerec-bundle", odd);
      said.push(await version(shipped));
    }}
    console.log(JSON.stringify(said));
    """
    first, refused, *others = run_code(node, code, *folders)
    assert first == 1 and set(others) == {1}
    assert refused.startswith("BundleError: toy 2: could not be kept (QuotaExceededError)")


def test_an_update_that_is_larger_than_its_manifest_says_is_not_downloaded(node, tmp_path):
    folders = [write(tmp_path / str(version), 9, version) for version in (1, 2, 3)]
    with (folders[1] / "student.bin").open("ab") as file:
        file.truncate(50_000_000)
    code = f"""{BROWSER}
    said.push(await take(rec, url(newer)).catch((error) => error.message), rec.manifest.version, stored.size);
    console.log(JSON.stringify(said));
    """
    refused, version, files = run_code(node, code, *folders)
    assert "student.bin: has more than" in refused and (version, files) == (1, 0)


def test_a_graph_that_two_readers_could_read_differently_or_that_loops_is_refused(node, tmp_path):
    from tests.faults.test_trust import HOSTILE, PLAIN

    folder = write(tmp_path / "a", 12)
    (tmp_path / "plain").write_bytes(PLAIN)
    for number, content in enumerate(HOSTILE.values()):
        (tmp_path / str(number)).write_bytes(content)
    code = """
    import { readFileSync } from "node:fs";
    import { checkGraph } from "./src/graphs.js";
    const said = process.argv.slice(1).filter((path) => path !== "--").map((path) => {
      try {
        return checkGraph("g", new Uint8Array(readFileSync(path))) ?? "read";
      } catch (error) {
        return `${error.name}: ${error.message}`;
      }
    });
    console.log(JSON.stringify(said));
    """
    good = [tmp_path / "plain", *sorted(folder.glob("*.onnx"))]
    said = run_code(node, code, *good, *(tmp_path / str(number) for number in range(len(HOSTILE))))
    assert said[: len(good)] == ["read"] * len(good)
    for name, answer in zip(HOSTILE, said[len(good) :], strict=True):
        assert answer.startswith("BundleError: g: does not load ("), (name, answer)
