/**
 * Faults that JavaScript meets, small: node faults.mjs reads {folder, key} from standard input and prints, by class,
 * {trials, lost, accepted, crashed, notes}. See tools/benchmarks/faults.py, which does the same to Python at length.
 */
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { BundleError, EdgerecError, IndexedStore, Recommender } from "../src/index.js";
import { JournalStore } from "../src/journal.js";

const { folder, key, classes } = JSON.parse(readFileSync(0, "utf8"));
const publicKey = Uint8Array.from(key);
const files = new Map(readdirSync(folder).map((name) => [name, new Uint8Array(readFileSync(join(folder, name)))]));
const utf8 = new TextEncoder();
const text = (bytes) => new TextDecoder().decode(bytes);

/** Numbers that follow from a seed. Source: mulberry32, by Tommy Ettinger. */
function chooser(seed) {
  const next = () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (n) => Math.floor(next() * n);
  return { below, of: (list) => list[below(list.length)] };
}

/** Counts trials of a class; a trial returns {lost, accepted} or throws. */
function counter() {
  const count = { trials: 0, lost: 0, accepted: 0, crashed: 0, notes: [] };
  return {
    count,
    async attempt(what, trial) {
      count.trials++;
      try {
        const { lost = 0, accepted = 0 } = (await trial()) ?? {};
        count.lost += lost;
        count.accepted += accepted;
        if (lost || accepted) count.notes.push(what);
      } catch (error) {
        count.crashed++;
        count.notes.push(`${what}: ${error.stack}`.slice(0, 600));
      }
    },
  };
}

const reader = (of) => async (name) => {
  if (!of.has(name)) throw new Error("no such file");
  return of.get(name);
};

async function refused(of, pinned) {
  try {
    const rec = await Recommender.open(reader(of), { publicKey: pinned });
    return { rec };
  } catch (error) {
    if (!(error instanceof BundleError)) throw error;
    if (/[\n\r]/.test(error.message) || error.message.length > 2000) throw new Error(`not one line: ${error.message}`);
    return {};
  }
}

async function works(rec) {
  const list = await rec.recommend(3);
  if (list.length !== 3 || !list.every((r) => Number.isFinite(r.utility))) throw new Error("does not recommend");
}

const changes = [
  (bytes, choose) => (bytes[choose.below(bytes.length)] ^= 1 << choose.below(8)) * 0 || bytes,
  (bytes, choose) => bytes.slice(0, choose.below(bytes.length)),
  (bytes, choose) => new Uint8Array([...bytes, ...new Array(1 + choose.below(99)).fill(7)]),
  (bytes) => new Uint8Array(bytes.length),
  (bytes, choose) => bytes.fill(choose.below(256), choose.below(bytes.length)),
];
const damaged = (bytes, choose) => (bytes.length ? choose.of(changes)(bytes.slice(), choose) : utf8.encode("x"));
const same = (a, b) => a.length === b.length && a.every((byte, i) => byte === b[i]);

/** Signed bundles with a damaged file are refused. */
async function damagedBundles({ attempt }) {
  const choose = chooser(1);
  const read = [...files.keys()].filter((name) => /[.](json|sig)$|^student/.test(name) && name !== "report.json");
  for (let trial = 0; trial < 120; trial++) {
    const name = choose.of(read);
    const content = damaged(files.get(name), choose);
    if (same(content, files.get(name))) continue;
    await attempt(`damaged ${name}`, async () => {
      const { rec } = await refused(new Map(files).set(name, content), publicKey);
      // A signature file with another space in it is the same signature.
      return { accepted: rec && name !== "manifest.sig" ? 1 : 0 };
    });
  }
}

const ODD = [null, true, -1, 0, 1.5, 2 ** 31, 1e39, 1e308, "", "x", "\ud800", "a\nb", [], {}, [null], { a: 1 }, "é".repeat(300)];

/** Changes one value of a JSON document. */
function mutated(bytes, choose) {
  const value = JSON.parse(text(bytes));
  const places = [];
  const visit = (holder) => {
    if (holder === null || typeof holder !== "object") return;
    for (const at of Object.keys(holder)) {
      places.push([holder, at]);
      visit(holder[at]);
    }
  };
  visit(value);
  const [holder, at] = choose.of(places);
  if (choose.below(5) === 0) delete holder[at];
  else holder[at] = choose.of(ODD);
  return utf8.encode(JSON.stringify(value));
}

async function rehashed(of) {
  const manifest = JSON.parse(text(of.get("manifest.json")));
  for (const name of Object.keys(manifest.files ?? {})) {
    if (!of.has(name) || !manifest.files[name]) continue;
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", of.get(name)));
    const sha256 = [...digest].map((b) => b.toString(16).padStart(2, "0")).join("");
    manifest.files[name] = { sha256, bytes: of.get(name).length };
  }
  return new Map(of).set("manifest.json", utf8.encode(JSON.stringify(manifest)));
}

/** Bundles of one who may write their hashes: whatever is in them, an error of ours at most, and none without a key. */
async function forgedBundles({ attempt }) {
  const choose = chooser(2);
  const texts = ["manifest.json", "policy.json", "catalog.json", "conformance.json"];
  for (let trial = 0; trial < 120; trial++) {
    const name = trial % 4 ? choose.of(texts) : "student.bin";
    const change = trial % 4 ? mutated : damaged;
    let of = new Map(files).set(name, change(files.get(name), choose));
    if (name !== "manifest.json") of = await rehashed(of);
    await attempt(`forged ${name} ${trial}`, async () => {
      const { rec } = await refused(of, null);
      if (rec)
        for (const call of [() => rec.recommend(3, { diversity: 0.5 }), () => rec.score(["i1"]), () => rec.similar("i1"), () => rec.check()])
          await call().catch((error) => {
            if (!(error instanceof EdgerecError)) throw error;
          });
      const same_ = text(of.get("manifest.json")) === text(files.get("manifest.json"));
      return { accepted: (await refused(of, publicKey)).rec && !same_ ? 1 : 0 };
    });
  }
  const { signatures } = JSON.parse(text(files.get("manifest.sig")));
  const [[name, value]] = Object.entries(signatures);
  const raw = Uint8Array.from(atob(value), (c) => c.charCodeAt(0));
  const b64 = (bytes) => btoa(String.fromCharCode(...bytes));
  const made = [
    {}, null, [], "yes", { [name]: 1 }, { [name]: null }, { [name]: "no base64!" }, { [name]: "" }, { other: value },
    { [name]: b64(new Uint8Array(64)) }, { [name]: b64(raw.slice(0, 63)) }, { [name]: b64([...raw, 0]) },
    { [name]: b64([...raw.slice(32), ...raw.slice(0, 32)]) }, { [name]: { toString: 1 } },
  ];
  for (const forged of made)
    await attempt(`signatures ${JSON.stringify(forged).slice(0, 60)}`, async () => {
      const of = new Map(files).set("manifest.sig", utf8.encode(JSON.stringify({ format: 1, signatures: forged })));
      return { accepted: (await refused(of, publicKey)).rec ? 1 : 0 };
    });
}

/** A file that is exchanged after it was read is not read again. */
async function exchanged({ attempt }) {
  const wanted = JSON.stringify(await (await Recommender.open(reader(files), { publicKey })).recommend(5, { now: 1.7e12 }));
  for (const name of files.keys())
    for (const at of [1, 2, 3])
      await attempt(`exchanged ${name} at reading ${at}`, async () => {
        let reads = 0;
        const read = async (asked) => {
          if (asked === name && ++reads >= at) return damaged(files.get(name), chooser(at));
          return files.get(asked);
        };
        try {
          const rec = await Recommender.open(read, { publicKey });
          const said = JSON.stringify(await rec.recommend(5, { now: 1.7e12 }));
          for (const call of ["score", "similar"]) await rec[call](call === "score" ? ["i1"] : "i1");
          return { accepted: said === wanted ? 0 : 1 };
        } catch (error) {
          if (!(error instanceof BundleError)) throw error;
        }
      });
}

/** A disk that holds one text, and fails or loses its power in the middle of a chosen write. */
class Disk {
  constructor(content = "") {
    Object.assign(this, { content, writes: 0, at: Infinity, lasting: false, part: 0 });
  }
  strike(whole) {
    this.writes++;
    if (this.writes !== this.at && !(this.lasting && this.writes > this.at)) return null;
    return whole.slice(0, Math.floor(whole.length * this.part));
  }
  async read() {
    return this.content;
  }
  async append(line) {
    const half = this.strike(line);
    this.content += half ?? line;
    if (half !== null) throw new Error("ENOSPC");
  }
  async replace(whole) {
    if (this.strike(whole) !== null) throw new Error("EIO"); // the new file is not in place
    this.content = whole;
  }
}

const eventsOf = (disk) => disk.content.split("\n").flatMap((line) => {
  try {
    return JSON.parse(line).event?.eventId ?? [];
  } catch {
    return [];
  }
});

/** After a start with what is on the disk: each acknowledged event once, none of the forgotten user. */
async function verify(disk, told, rec) {
  const fresh = new Disk(disk.content);
  const store = await JournalStore.open(fresh, { rows: 40 });
  const again = new Recommender(rec.home, store, "");
  await works(again);
  const kept = (await store.events("")).map((e) => e.eventId);
  const twice = kept.length - new Set(kept).size;
  const back = told.erased ? (await store.events("gone")).length : 0;
  return { lost: [...told.events].slice(-40).filter((id) => !kept.includes(id)).length + twice + back };
}

async function life(rec, disk, told) {
  const store = await JournalStore.open(disk, { rows: 40 });
  const user = new Recommender(rec.home, store, "");
  const gone = new Recommender(rec.home, store, "gone");
  for (let i = 0; i < 6; i++) {
    told.erased = false;
    await gone.observe("i2", { eventId: `g${i}` });
    const number = told.events.size + told.failed;
    const [one, other] = [`e${number}`, `e${number}b`];
    const both = await Promise.all([user.observe("i1", { eventId: one }), user.observe("i2", { eventId: other })]);
    [one, other].forEach((id, at) => (both[at] ? told.events.add(id) : told.failed++));
    if (i % 3 === 2) await user.recommend(3, { log: true });
    if (i === 4)
      await gone.forget().then(
        () => (told.erased = true),
        (error) => {
          if (!(error instanceof EdgerecError)) throw error;
        },
      );
    await works(user);
    if (i === 4 && told.erased) break;
  }
  return user;
}

/** The power fails, or the process is killed, at each write, after each share of it. */
async function kills({ attempt }, rec) {
  for (let at = 1; at <= 30; at++)
    for (const part of [0, 0.5, 1])
      await attempt(`killed at write ${at}, ${part} of it`, async () => {
        const disk = Object.assign(new Disk(), { at, part });
        const told = { events: new Set(), erased: false, failed: 0 };
        disk.strike = function (whole) {
          this.writes++;
          if (this.writes > this.at) return new Promise(() => {}); // never: the process is dead
          return this.writes === this.at ? whole.slice(0, Math.floor(whole.length * this.part)) : null;
        };
        const dead = new Promise((resolve) => {
          for (const call of ["append", "replace"])
            disk[call] = async (whole) => {
              const half = disk.strike(whole);
              if (half instanceof Promise) return half;
              if (call === "append") disk.content += half ?? whole;
              else if (half === null || part === 1) disk.content = whole;
              if (half !== null) {
                resolve();
                return new Promise(() => {});
              }
            };
        });
        await Promise.race([dead, life(rec, disk, told)]);
        return verify(disk, told, rec);
      });
}

/** A disk fails at a write, once or from then on, with a part of it written. */
async function disks({ attempt }, rec) {
  for (let at = 1; at <= 25; at++)
    for (const part of [0, 0.4])
      for (const lasting of [false, true])
        await attempt(`disk fails at write ${at}, ${part}, lasting ${lasting}`, async () => {
          const disk = Object.assign(new Disk(), { at, part, lasting });
          const told = { events: new Set(), erased: false, failed: 0 };
          const user = await life(rec, disk, told);
          disk.at = Infinity;
          disk.lasting = false;
          if (await user.observe("i3", { eventId: "last" })) told.events.add("last");
          const health = await user.health();
          const { lost } = await verify(disk, told, rec);
          if (health.trouble !== null || health.lost !== told.failed + (health.lost - told.failed)) throw new Error("the trouble stays");
          return { lost: lost + (told.events.has("last") ? 0 : 1) };
        });
}

/** Stores with bits flipped, parts cut, zeros and foreign content: they open, recommend, and forget. */
async function damagedStores({ attempt }, rec) {
  const choose = chooser(3);
  for (let trial = 0; trial < 150; trial++) {
    const disk = new Disk();
    const told = { events: new Set(), erased: false, failed: 0 };
    await life(rec, disk, told);
    const foreign = trial % 15 === 0;
    const content = foreign ? "import os\n".repeat(9) : text(damaged(utf8.encode(disk.content), choose));
    await attempt(`damaged store ${trial}`, async () => {
      const after = new Disk(content);
      const store = await JournalStore.open(after, { rows: 40 });
      const user = new Recommender(rec.home, store, "");
      await works(user);
      const stored = await user.observe("i4", { eventId: "new" });
      await works(user);
      const health = await user.health();
      if (foreign) {
        if (stored || after.content !== content || health.trouble === null) return { lost: 1 };
        return {};
      }
      await new Recommender(rec.home, store, "gone").forget();
      const back = JSON.stringify(after.content).includes("gone") ? 1 : 0;
      return { lost: (stored && eventsOf(after).includes("new") ? 0 : 1) + back };
    });
  }
}

/** Clocks and times that are wrong by years erase nobody, and impossible times are not taken. */
async function clocks({ attempt }, rec) {
  const { now } = Date;
  const year = 365 * 86_400_000;
  for (const years of [-40, -9, -1, 1, 2, 9, 70])
    await attempt(`a clock that is ${years} years ahead`, async () => {
      const store = await JournalStore.open(new Disk(), { rows: 500, days: 400 });
      const [anna, bob] = ["anna", "bob"].map((name) => new Recommender(rec.home, store, name));
      await anna.observe("i1");
      try {
        Date.now = () => now() + years * year;
        for (let i = 0; i < 130; i++) await bob.observe("i2");
        await works(bob);
      } finally {
        Date.now = now;
      }
      await anna.observe("i2");
      return { lost: 2 - (await store.events("anna")).length };
    });
  for (const time of [now() / 1000, now() + 3 * 86_400_000, 253_402_300_799_000, -1, NaN, Infinity, 5, "x", 10n, null, {}, Symbol("t")])
    await attempt(`time ${String(time)}`, async () => {
      const taken = await rec.session().observe("i1", { time }).catch((error) => {
        if (!(error instanceof EdgerecError)) throw error;
        return false;
      });
      return { accepted: taken && time !== null ? 1 : 0 };
    });
}

/** Without IndexedDB, or with one that fails, events are in memory and it says why. */
async function noDatabase({ attempt }, rec) {
  const failing = { open: () => { throw new Error("QuotaExceededError"); } };
  for (const indexedDB of [undefined, failing])
    await attempt(`IndexedDB ${indexedDB}`, async () => {
      const store = await IndexedStore.open("shop", {}, indexedDB ?? null);
      const user = new Recommender(rec.home, store, "");
      const stored = await user.observe("i3", { eventId: "a" });
      const { events, lost, trouble } = await user.health();
      await works(user);
      const list = await user.recommend(3, { log: true });
      await user.forget().then(() => { throw new Error("forgot what it cannot reach"); }, (error) => {
        if (!(error instanceof EdgerecError)) throw error;
      });
      return { lost: stored || events !== 1 || lost < 1 || trouble === null || list.listName !== null ? 1 : 0 };
    });
}

const CLASSES = { damagedBundles, forgedBundles, exchanged, kills, disks, damagedStores, clocks, noDatabase };
const rec = await Recommender.open(reader(files), { publicKey });
const printed = {};
for (const name of classes ?? Object.keys(CLASSES)) {
  const one = counter();
  await CLASSES[name](one, rec);
  printed[name] = one.count;
}
process.stdout.write(JSON.stringify(printed));
