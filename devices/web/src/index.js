/** edgerec in JavaScript: the same lists from the same bundle as the Python runtime; see README.md. */
import * as given from "./arguments.js";
import { Bundle, fromUrl } from "./bundle.js";
import { Catalog } from "./catalog.js";
import { Condition } from "./conditions.js";
import { Engine } from "./engine.js";
import { BundleError, ConfigError, DataError, EdgerecError } from "./errors.js";
import { RequestEncoder } from "./request.js";
import { arrange, multiplied } from "./slate.js";
import { IndexedStore, MemoryStore } from "./store.js";
import { MS_PER_DAY, MS_PER_HOUR } from "./units.js";

export { Bundle, BundleError, Condition, ConfigError, DataError, EdgerecError, IndexedStore, MemoryStore, fromUrl };

const POOL = 200;
const MAX_POOL = 5000;
const MAX_REASONS = 3;
const TOLERANCE = 2e-3;
/** Inputs of the graphs that are float32; the others are whole numbers. */
const FLOATS = /_(count|age_h|interval_h|numeric|weights)$/;

/** One loaded bundle; it never changes. */
class Model {
  constructor(bundle, engine) {
    const { manifest } = bundle;
    this.bundle = bundle;
    this.engine = engine;
    this.tasks = manifest.tasks.map((task) => task.name);
    this.name = `${manifest.name} ${manifest.version}`;
    this.n = manifest.n_items;
    this.repeats = new Set(manifest.tasks.filter((t) => (t.repeats ?? "allow") === "allow").map((t) => t.name));
    this.encoder = new RequestEncoder(manifest.inputs);
    this.catalog = new Catalog(bundle.json("catalog.json"));
    if (this.catalog.length !== this.n)
      throw new BundleError(
        `catalog.json has ${this.catalog.length} items, the student has ${this.n}; build the bundle again`,
      );
    this.policy = readPolicy(bundle.json("policy.json"), this.catalog);
    this.weights(null);
    this.conditions = new Map();
    this.created = Math.min(Date.parse(manifest.created) || 0, given.LATEST);
  }

  /** Now, but never before the bundle was built: such a clock is wrong. */
  now() {
    return Math.max(Math.min(Date.now(), given.LATEST), this.created);
  }

  condition(text) {
    if (!this.conditions.has(text)) {
      if (this.conditions.size > 64) this.conditions.clear();
      try {
        this.conditions.set(text, new Condition(text, this.catalog));
      } catch (error) {
        throw new ConfigError(`where: ${error.message}`);
      }
    }
    return this.conditions.get(text);
  }

  known(item) {
    const index = this.catalog.index.get(item);
    if (index === undefined) throw new ConfigError(`no item '${given.shown(item)}' in the catalogue`);
    return index;
  }

  weights(asked) {
    const weights = given.named("weights", asked ?? this.policy.weights);
    for (const [name, value] of Object.entries(weights)) {
      if (!this.tasks.includes(name))
        throw new ConfigError(`weights: no task '${name.slice(0, 200)}'; this bundle has: ${this.tasks.join(", ")}`);
      given.number(`weights: ${name}`, value, -given.MAX_WEIGHT, given.MAX_WEIGHT);
    }
    const mayRepeat = Object.entries(weights).some(([name, value]) => value && this.repeats.has(name));
    return [Float32Array.from(this.tasks, (name) => weights[name] ?? 0), mayRepeat];
  }

  /** Refuses an event of a kind that this bundle does not know. */
  checkKind(kind) {
    const { kinds } = this.encoder;
    const strange = kind === "event" ? undefined : kind.split("+").find((part) => !kinds.includes(part));
    if (strange !== undefined)
      throw new DataError(
        `unknown kind '${strange.slice(0, 200)}'; this bundle knows: ${["event", ...kinds].join(", ")} (several as a+b)`,
      );
  }

  /** The bits of a kind as it is stored; parts that this bundle does not know are left out. */
  bits(kind) {
    const parts = kind.split("+");
    return this.encoder.kinds.reduce((bits, known, bit) => bits | (parts.includes(known) << bit), 0);
  }
}

function readPolicy(value, catalog) {
  const read = (text) => new Condition(text, catalog);
  const by = (column) => {
    if (!catalog.columns.has(column)) throw new ConfigError(`no column '${column}'`);
    return column;
  };
  const number = (what, value, least = 0, most = 1e12) => given.number(what, value, least, most);
  const orNull = (what, value) => (value == null ? null : number(what, value));
  const kind = (name) => (name == null ? null : given.name("kind", name));
  const rules = (value.rules ?? []).map(({ name, keep }) => ({ name: `rule ${name}`, keep: read(keep) }));
  if (value.where != null) rules.unshift({ name: "where", keep: read(value.where) });
  return {
    weights: value.weights ?? {},
    rules,
    boosts: (value.boosts ?? []).map(({ where, factor }) => ({ where: read(where), factor: number("factor", factor, 1e-6, 1e6) })),
    seen: (value.seen ?? []).map((s) => ({ kind: kind(s.kind), days: orNull("days", s.days) })),
    caps: (value.caps ?? []).map((c) => ({ shown: number("shown", c.shown, 1), hours: number("hours", c.hours) })),
    quotas: (value.quotas ?? []).map((q) => ({ by: by(q.by), most: number("most", q.most, 1) })),
    diversity: number("diversity", value.diversity ?? 0, 0, 1),
    calibration:
      value.calibration == null
        ? null
        : { by: by(value.calibration.by), strength: number("strength", value.calibration.strength, 0, 1) },
    pool: Math.trunc(number("pool", value.pool ?? POOL, 1, MAX_POOL)),
    log: value.log ?? {},
  };
}

/** Recommends from a bundle and the events of one user of this device. */
export class Recommender {
  /**
   * Verifies a bundle and loads it.
   * @param {string | ((name: string) => Promise<Uint8Array>)} bundle a URL, or a function that reads its files
   * @param {{ort?: object, store?: object, publicKey?: Uint8Array, profile?: string, sessionOptions?: object,
   *   crypto?: Crypto}} options `ort`, a module of onnxruntime, runs the bundle's graphs where there is no WebAssembly
   */
  static async open(bundle, { ort = null, store, publicKey = null, profile = "", sessionOptions = {}, crypto = globalThis.crypto } = {}) {
    if (ort !== null && ort.InferenceSession === undefined) throw new ConfigError("ort: give the module of onnxruntime");
    const home = { ort, publicKey, sessionOptions, crypto, model: null };
    home.model = await load(home, bundle);
    home.store = store ?? new MemoryStore(home.model.policy.log);
    return new Recommender(home, home.store, profile);
  }

  /** Use `open`. */
  constructor(home, store, profile) {
    this.home = home;
    this.store = store;
    this.name = given.name("profile", profile);
  }

  get manifest() {
    return this.home.model.bundle.manifest;
  }

  get tasks() {
    return this.home.model.tasks;
  }

  /** The same recommender for another user of this device. */
  profile(name) {
    return new Recommender(this.home, this.home.store, name);
  }

  /** The same recommender for a visitor without a name: the past is in memory only. */
  session() {
    return new Recommender(this.home, new MemoryStore(this.home.model.policy.log), "");
  }

  /** The best k items by the bundle's policy: an array with `whyFewer` and `listName`. */
  async recommend(k = 10, options = {}) {
    const { model } = this.home;
    given.whole("k", k);
    options = given.named("options", options);
    const { explain = false, log = model.policy.caps.length > 0 } = options;
    const diversity = given.number("diversity", options.diversity ?? model.policy.diversity, 0, 1);
    const [weights, mayRepeat] = model.weights(options.weights);
    const request = await this.request(model, options);
    const removed = await this.removed(model, options, request);
    if (!mayRepeat) removed.push(["history", request.events.map((e) => e.item)]);
    const { rows, pool } = await bestList(model, k, request, weights, removed, diversity, explain);
    const list = rows.map((row) => recommendation(model, row, request, explain));
    list.whyFewer = rows.length < k ? whyFewer(model.n, removed, rows.length, pool) : {};
    list.listName = log ? await this.logged(model, list, request) : null;
    return list;
  }

  /** Scores the given items, in their order. */
  async score(items, options = {}) {
    const { model } = this.home;
    options = given.named("options", options);
    const candidates = given.itemIds("items", items).map((item) => model.known(item));
    const [weights] = model.weights(options.weights);
    const request = await this.request(model, options);
    const explain = options.explain ?? false;
    const rows = await model.engine.score(request.inputs, weights, candidates, explain);
    return rows.map((row) => recommendation(model, row, request, explain));
  }

  /** The k items that most often share a session with an item. */
  async similar(item, k = 10, options = {}) {
    const { model } = this.home;
    const index = model.known(item);
    const removed = await this.removed(model, given.named("options", options), null);
    const gone = removed.flatMap(([, part]) => part);
    const rows = await model.engine.similar(index, gone, Math.min(given.whole("k", k), model.n));
    return rows
      .filter((row) => row.score !== -Infinity && row.item !== index)
      .map(({ item: i, score }) => row(model.catalog, i, score, { related: score }, []));
  }

  /** Logs what the user did; true once it is on the disk. */
  async observe(item, options = {}) {
    const { model } = this.home;
    const { kind = "event", time, eventId, listName } = given.named("options", options);
    model.checkKind(given.name("kind", kind));
    const context = columns(model, options?.context, "context");
    for (const [what, value] of Object.entries({ eventId, listName })) if (value != null) given.name(what, value);
    const at = model.now();
    const id = eventId ?? undefined;
    const event = { item: given.itemId(item), kind, time: given.ofEvent(time, at), context, eventId: id, listName };
    return this.store.append({ profile: this.name, ...event, at });
  }

  /** Erases all that is stored about this user. */
  forget() {
    return this.store.forget(this.name);
  }

  /** Takes a newer bundle: verified, tried, swapped in; otherwise the old version stays in use. */
  async update(bundle) {
    const { home } = this;
    const old = home.model.bundle.manifest;
    const model = await load(home, bundle);
    const { name, version } = model.bundle.manifest;
    if (name !== old.name) throw new BundleError(`is a bundle '${name}', and '${old.name}' is in use; the old version stays in use`);
    if (version <= old.version)
      throw new BundleError(`has version ${version}, and ${old.version} is in use; only a higher one is taken`);
    await conform(model);
    home.model = model;
    return model.name;
  }

  /** Runs the bundle's conformance requests; returns how many passed. */
  check() {
    return conform(this.home.model);
  }

  /** For a log of the app: the bundle, what runs it, and what the store says of itself. */
  async health() {
    const { name, engine } = this.home.model;
    return { bundle: name, engine: engine.name, ...(await this.store.health?.()) };
  }

  close() {
    return this.store.close();
  }

  // Parts.

  async request(model, options) {
    const values = { ...columns(model, options.user, "user"), ...columns(model, options.context, "context") };
    const now = given.plausible("now", options.now ?? model.now());
    const { history = null } = options;
    const past = history === null ? await this.store.events(this.name) : given.history(history);
    const events = past
      .map((e) => ({ item: model.catalog.index.get(e.item), kind: model.bits(e.kind ?? "event"), time: e.time }))
      .filter((e) => e.item !== undefined);
    return { events, now, values, inputs: model.encoder.encode(model.encoder.past(events), now, values) };
  }

  /** Items that are not candidates, by cause; an item may have several. */
  async removed(model, { where, parameters: told, exclude = [] }, request) {
    const { policy, catalog, n } = model;
    const parameters = given.values("parameters", told);
    const removed = [["unavailable", catalog.unavailable], ["excluded", indices(model, given.itemIds("exclude", exclude))]];
    const values = { ...request?.values, now: request?.now ?? model.now() };
    for (const { name, keep } of policy.rules) removed.push([name, keep.failing(n, values)]);
    if (where != null) {
      const condition = model.condition(where);
      const absent = condition.parameters.find((name) => !Object.hasOwn(parameters, name));
      if (absent !== undefined) throw new ConfigError(`where: no value for :${absent}; give it in parameters`);
      removed.push(["where", condition.failing(n, parameters)]);
    }
    if (request === null) return removed;
    for (const { kind, days } of policy.seen) {
      const since = days == null ? -Infinity : request.now - Math.trunc(days * MS_PER_DAY);
      const bit = kind == null ? null : 1 << model.encoder.kinds.indexOf(kind);
      const hit = request.events.filter((e) => e.time >= since && (bit === null || e.kind & bit));
      removed.push([`seen ${kind ?? "event"}`, hit.map((e) => e.item)]);
    }
    for (const { shown, hours } of policy.caps) {
      const often = new Map();
      for (const list of await this.store.shown(this.name, request.now - Math.trunc(hours * MS_PER_HOUR)))
        for (const item of list.items) often.set(item, (often.get(item) ?? 0) + 1);
      removed.push(["shown too often", indices(model, [...often].filter(([, c]) => c >= shown).map(([item]) => item))]);
    }
    return removed;
  }

  async logged(model, list, request) {
    const listName = this.home.crypto.randomUUID();
    const items = list.map((r) => r.item);
    const shown = { profile: this.name, time: request.now, listName, bundle: model.name, items };
    return (await this.store.show(shown)) === false ? null : listName;
  }
}

async function load({ ort, publicKey, sessionOptions, crypto, model: old }, bundle) {
  const read = typeof bundle === "string" ? fromUrl(bundle) : bundle;
  const opened = await Bundle.open(read, publicKey, crypto, old?.bundle.most, ort !== null);
  // The engine of student.bin, or the bundle's graphs in sessions of `ort`.
  const open = ort === null ? Engine.open : (await import("./onnx.js")).openGraphs;
  const engine = await open(opened, ort, sessionOptions);
  try {
    return new Model(opened, engine);
  } catch (error) {
    if (error instanceof BundleError) throw error;
    throw new BundleError(`does not load (${error.message}); build the bundle again`);
  }
}

async function bestList(model, k, request, weights, removed, diversity, explain) {
  const { policy, engine, n } = model;
  const gone = removed.flatMap(([, part]) => part);
  const plain = !diversity && !policy.boosts.length && !policy.quotas.length && policy.calibration === null;
  for (let size = Math.min(plain ? k : Math.max(policy.pool, k), n); ; size = Math.min(4 * size, n)) {
    const all = await engine.recommend(request.inputs, weights, gone, size, explain);
    const pool = all.filter((row) => row.utility !== -Infinity);
    if (plain) return { rows: pool, pool };
    const moved = boosted(model, pool, request);
    const at = await arranged(model, moved, k, diversity, request);
    if (at.length >= k || size === n || pool.length < size) return { rows: at.map((i) => moved[i]), pool };
  }
}

function boosted({ policy }, pool, request) {
  const values = { ...request.values, now: request.now };
  const factor = ({ item }) =>
    policy.boosts.reduce((whole, { where, factor: own }) => (where.met(item, values) === 2 ? whole * own : whole), 1);
  return pool
    .map((row) => ({ ...row, utility: multiplied(row.utility, factor(row)) }))
    .sort((a, b) => b.utility - a.utility); // stable
}

async function arranged({ policy, catalog, engine }, pool, k, diversity, request) {
  const items = pool.map((row) => row.item);
  const group = (by) => catalog.groups(by).group;
  const quotas = policy.quotas.map(({ by, most }) => ({ group: items.map((i) => group(by)[i]), most }));
  const vectors = diversity ? await engine.vectors(items) : undefined;
  const mix = policy.calibration === null ? null : ownMix(catalog, policy.calibration, items, request);
  return arrange(pool.map((row) => row.utility), k, { vectors, diversity, quotas, mix });
}

/** The user's mix of a column's values; null without a past. */
function ownMix(catalog, { by, strength }, items, { events }) {
  const { group, n } = catalog.groups(by);
  const count = new Array(n).fill(0);
  for (const { item } of events) if (group[item] >= 0) count[group[item]]++;
  const all = count.reduce((a, b) => a + b, 0);
  return all ? { group: items.map((i) => group[i]), share: count.map((c) => c / all), strength } : null;
}

function whyFewer(n, removed, length, pool) {
  const gone = new Set();
  const lost = { catalogue: n };
  const lose = (cause, count) => count && (lost[cause] = (lost[cause] ?? 0) + count);
  for (const [cause, part] of removed) {
    const before = gone.size;
    part.forEach((i) => gone.add(i));
    lose(cause, gone.size - before);
  }
  lose(pool.length > length ? "quota" : "history", n - gone.size - length);
  return lost;
}

function recommendation({ tasks, catalog }, { item, utility, place, outputs }, { inputs }, explain) {
  const probability = {};
  for (let t = 0; t < tasks.length; t++) probability[tasks[t]] = outputs.probability[place * tasks.length + t];
  return row(catalog, item, utility, probability, explain ? reasons(catalog, item, place, outputs, inputs) : []);
}

function row(catalog, i, utility, probability, reasons) {
  const [item, title] = [catalog.ids[i], catalog.titles[i]];
  return { item, title, get attributes() { return catalog.attributes(i); }, utility, probability, reasons };
}

/** The strongest positive reasons of an item; of equal ones the older event comes first. */
function reasons({ ids, titles }, item, place, { reason }, { history }) {
  const strongest = [];
  for (let at = 0; at < history.length; at++) {
    const weight = reason[place * history.length + at];
    if (!(weight > (strongest.length < MAX_REASONS ? 0 : strongest.at(-1).weight))) continue;
    const after = strongest.findIndex((other) => other.weight < weight);
    strongest.splice(after < 0 ? strongest.length : after, 0, { weight, at });
    strongest.length = Math.min(strongest.length, MAX_REASONS);
  }
  if (!strongest.length) return [{ kind: "popular", item: null, title: null, weight: 0 }];
  return strongest.map(({ weight, at }) => {
    const cause = history[at];
    return { kind: cause === item ? "again" : "history", item: ids[cause], title: titles[cause], weight };
  });
}

function indices({ catalog }, items) {
  return items.map((item) => catalog.index.get(item)).filter((i) => i !== undefined);
}

/** The values of "context" or "user": of columns that the bundle has, and numbers where it has numbers. */
function columns({ encoder }, asked, source) {
  if (asked == null) return {};
  const known = encoder.columns(source);
  for (const [name, value] of Object.entries(given.values(source, asked, true))) {
    if (!known.includes(name))
      throw new ConfigError(`${source}: no column '${name.slice(0, 200)}' (this bundle has: ${known.join(", ") || "none"})`);
    const among = (some) => some.some((column) => column.name === name);
    if (Array.isArray(value) && !among(encoder.multi))
      throw new ConfigError(`${source}: ${name} has one value, got ${JSON.stringify(value).slice(0, 200)}`);
    if (typeof value === "string" && among(encoder.numeric)) throw new ConfigError(`${source}: ${name} must be a number`);
  }
  return asked;
}

/** Checks that this device computes the same as the machine that built the bundle. */
async function conform(model) {
  try {
    const { requests } = model.bundle.json("conformance.json");
    for (const [number, { graph = "recommend.onnx", inputs, expect }] of requests.entries()) {
      const array = (name, values) => (FLOATS.test(name) ? Float32Array.from(values) : values);
      const feed = Object.fromEntries(Object.entries(inputs).map(([name, value]) => [name, array(name, [value].flat())]));
      const got = await answer(model.engine, graph, feed);
      for (const [name, wanted] of Object.entries(expect))
        if (!(name === "item" || name === "related" ? sameItems(name, expect, got) : close(wanted.flat(), got[name])))
          throw new BundleError(
            `conformance request ${number} gives another '${name}' here than where the bundle was built; ` +
              "do not use it on this device and report the processor",
          );
    }
    return requests.length;
  } catch (error) {
    if (error instanceof EdgerecError) throw error;
    throw new BundleError(`conformance.json: is not of this format (${error.message}); build the bundle again`);
  }
}

/** What a graph gives, by the names of its outputs, from an engine. */
async function answer(engine, graph, { item, exclude, k, candidates, task_weights: weights, ...inputs }) {
  const flat = (rows) => ({ ...rows[0]?.outputs, item: rows.map((row) => row.item) });
  if (graph === "recommend.onnx") return flat(await engine.recommend(inputs, weights, exclude, k[0]));
  if (graph === "score.onnx") return flat(await engine.score(inputs, weights, candidates));
  if (graph === "vectors.onnx") return { vector: (await engine.vectors(item)).flatMap((row) => [...row]) };
  if (graph !== "similar.onnx")
    throw new BundleError(`conformance.json: there is no graph ${String(graph).slice(0, 40)}; build the bundle again`);
  const rows = await engine.similar(item[0], exclude, k[0]);
  return { related: rows.map((row) => row.item), score: rows.map((row) => row.score) };
}

function near(a, b) {
  return Math.abs(a - b) <= TOLERANCE + TOLERANCE * Math.abs(b);
}

function close(wanted, got) {
  return wanted.length === got.length && wanted.every((value, i) => near(value, got[i]));
}

/** Two items of nearly equal utility may change places. */
function sameItems(name, expect, got) {
  const value = expect.utility ?? expect.score;
  const items = got[name];
  const wanted = expect[name];
  if (items.length !== wanted.length) return false;
  const of = new Map(wanted.map((item, i) => [item, value[i]]));
  return wanted.every((item, i) => item === items[i] || near(of.get(items[i]) ?? value.at(-1), value[i]));
}
