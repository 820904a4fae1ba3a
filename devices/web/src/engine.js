/**
 * The native engine (devices/native/edgerec.h) as WebAssembly: runs the student.bin of a bundle, with the same bits as on
 * every other platform. The memory of an instance holds, one behind the other: the module's own data, the file, the
 * engine's arena, a workspace, and the arrays of one call.
 */
import { BundleError, ConfigError } from "./errors.js";
import { ranked } from "./request.js";

export const STUDENT = "student.bin";
const HISTORY = ["history", "history_kind", "history_count", "history_age_h", "history_interval_h"];
const ALIGNMENT = 64;
const PAGE = 65536;
/** Codes of edgerec.h. */
const ARITHMETIC = 6;
/** Built by tools/native, as modules, so that they are found wherever this file is; see README.md. */
const BUILDS = [() => import("./wasm/simd.js"), () => import("./wasm/scalar.js")];
const compiled = new Map();

/** The module of a build; null where this platform does not know its instructions. */
function moduleOf(build) {
  if (!compiled.has(build)) compiled.set(build, compile(build));
  return compiled.get(build);
}

async function compile(build) {
  try {
    const { default: text } = await build();
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    return WebAssembly.validate(bytes) ? await WebAssembly.compile(bytes) : null;
  } catch (error) {
    compiled.delete(build); // it may have been the network
    throw new ConfigError(
      `the engine's WebAssembly does not load (${error.message}); a page needs 'wasm-unsafe-eval', a clone tools/native wasm wasm-simd`,
    );
  }
}

export class Engine {
  /** Takes the first build that this platform runs and that gives its own known answers. */
  static async open(bundle) {
    if (globalThis.WebAssembly === undefined)
      throw new ConfigError("there is no WebAssembly here: give ort, the module of onnxruntime for this platform");
    const file = bundle.bytes(STUDENT);
    for (const build of BUILDS) {
      const module = await moduleOf(build);
      if (module === null) continue;
      const engine = new Engine((await WebAssembly.instantiate(module)).exports);
      const code = engine.load(file);
      if (code === ARITHMETIC && build !== BUILDS.at(-1)) continue;
      engine.done(code);
      engine.fits(bundle.manifest);
      return engine;
    }
    throw new ConfigError("this WebAssembly runs no build of the engine: give ort, the module of onnxruntime for this platform");
  }

  /** Use `open`. */
  constructor(exports) {
    this.exports = exports;
    this.events = 0;
  }

  /** A list, best first, with its reasons if `explain`: rows as `ranked` makes them. */
  recommend(inputs, weights, exclude, k, explain = true) {
    const { item, ...outputs } = this.best(inputs, weights, exclude, k, explain);
    return ranked(item, outputs);
  }

  score(inputs, weights, candidates, explain = true) {
    return ranked(candidates, this.scored(inputs, weights, candidates, explain));
  }

  similar(item, exclude, k) {
    const { related, score } = this.beside(item, exclude, k);
    return related.map((other, i) => ({ item: other, score: score[i] }));
  }

  vectors(items) {
    const { vector } = this.rows(items);
    const { dim } = this.shape;
    return items.map((_, i) => vector.subarray(i * dim, (i + 1) * dim));
  }

  /** What a graph of the bundle would give for its inputs: flat arrays by the names of its outputs. */
  run(graph, { item, exclude = [], k = [1], candidates = [], task_weights: weights, ...inputs }) {
    const numbers = (values) => Array.from(values, Number);
    if (graph === "recommend.onnx") return this.best(inputs, weights, numbers(exclude), Number(k[0]), true);
    if (graph === "score.onnx") return this.scored(inputs, weights, numbers(candidates), true);
    if (graph === "similar.onnx") return this.beside(Number(item[0]), numbers(exclude), Number(k[0]));
    if (graph === "vectors.onnx") return this.rows(numbers(item));
    throw new BundleError(`conformance.json: there is no graph ${String(graph).slice(0, 40)}; build the bundle again`);
  }

  // Calls of the library.

  best(inputs, weights, exclude, k, explain) {
    const { engine, shape } = this;
    this.counts(k);
    const [request, own, events, item, utility, probability, reason] =
      this.request(inputs, weights, exclude, (l) => [8 * k, 4 * k, 4 * k * shape.tasks, explain ? 4 * k * l : 0]);
    this.done(this.exports.edgerec_recommend(engine, own, request, k, item, utility, probability, explain ? reason : 0));
    return { item: this.wholes(item, k), ...this.outputs(k, events, utility, probability, explain ? reason : 0) };
  }

  scored(inputs, weights, candidates, explain) {
    const { engine, shape } = this;
    const n = candidates.length;
    const [request, own, events, at, utility, probability, reason] =
      this.request(inputs, weights, [], (l) => [8 * n, 4 * n, 4 * n * shape.tasks, explain ? 4 * n * l : 0]);
    this.put(at, candidates);
    this.done(this.exports.edgerec_score(engine, own, request, at, n, utility, probability, explain ? reason : 0));
    return this.outputs(n, events, utility, probability, explain ? reason : 0);
  }

  beside(item, exclude, k) {
    this.counts(k);
    const [removed, related, score] = this.places([8 * exclude.length, 8 * k, 4 * k]);
    this.put(removed, exclude);
    const asked = [this.engine, this.workspace, BigInt(item), removed, exclude.length, k];
    this.done(this.exports.edgerec_similar(...asked, related, score));
    return { related: this.wholes(related, k), score: this.floats(score, k) };
  }

  rows(items) {
    const size = items.length * this.shape.dim;
    const [at, vector] = this.places([8 * items.length, 4 * size]);
    this.put(at, items);
    this.done(this.exports.edgerec_vectors(this.engine, at, items.length, vector));
    return { vector: this.floats(vector, size) };
  }

  // Opening.

  /** Opens a file; returns the library's code. */
  load(file) {
    this.free = up(this.exports.memory.buffer.byteLength);
    const [at, word] = this.places([file.length, ALIGNMENT], true);
    this.u8.set(file, at);
    const code = this.exports.edgerec_measure(at, file.length, word);
    if (code) return code;
    const size = this.word(word);
    const [arena] = this.places([size], true);
    return this.exports.edgerec_open(at, file.length, arena, size, word) || this.opened(word);
  }

  opened(word) {
    this.engine = this.word(word);
    this.exports.edgerec_describe(this.engine, word);
    const [items, , dim, tasks, categorical, numeric, , related] = this.i32.subarray(word / 4);
    this.shape = { items, dim, tasks, categorical, numeric, related };
    this.name = this.text(this.exports.edgerec_kernel(this.engine));
    this.room(64);
    return 0;
  }

  fits({ n_items: items, dim, tasks }) {
    for (const [name, wanted] of Object.entries({ items, dim, tasks: tasks.length }))
      if (this.shape[name] !== wanted)
        throw new BundleError(`${STUDENT}: has ${this.shape[name]} ${name}, the manifest ${wanted}; build the bundle again`);
  }

  /** A workspace for so many events, in place of the one before. */
  room(events) {
    if (events <= this.events) return;
    const most = 2 ** Math.ceil(Math.log2(events));
    const size = this.exports.edgerec_workspace_bytes(this.engine, most) >>> 0;
    if (!size) throw new BundleError(`${STUDENT}: a request has ${events} events, more than the engine takes`);
    this.base ??= this.free;
    this.free = this.base;
    const [at, word] = this.places([size, ALIGNMENT], true);
    this.done(this.exports.edgerec_workspace_open(this.engine, most, at, size, word));
    [this.workspace, this.events] = [this.word(word), most];
  }

  // Memory.

  /** Writes a request; returns its place, the workspace, how many events it has, and places for what comes out. */
  request(inputs, weights, exclude, outputs) {
    const { shape } = this;
    const events = inputs.history.length;
    const kinds = [BigInt64Array, BigInt64Array, Float32Array, Float32Array, Float32Array];
    const arrays = HISTORY.map((name, i) => inputs[name] ?? new kinds[i](events));
    arrays.push(inputs.context_categorical ?? new BigInt64Array(), inputs.context_numeric ?? new Float32Array(), weights);
    const lengths = arrays.map((array) => array.length);
    const expected = [...HISTORY.map(() => events), shape.categorical, shape.numeric, shape.tasks];
    if (!lengths.every((length, i) => length === expected[i]))
      throw new BundleError(`${STUDENT}: a request has arrays of ${lengths} entries, which do not fit the student`);
    this.room(events);
    const sizes = [...arrays.map((array) => array.byteLength), 8 * exclude.length, 4 * 11];
    const at = this.places([...sizes, ...outputs(events)]);
    arrays.forEach((array, i) => (array instanceof Float32Array ? this.f32.set(array, at[i] / 4) : this.i64.set(array, at[i] / 8)));
    const [removed, request] = at.slice(8);
    this.put(removed, exclude);
    this.u32.set([...at.slice(0, 5), events, ...at.slice(5, 8), removed, exclude.length], request / 4);
    return [request, this.workspace, events, ...at.slice(10)];
  }

  outputs(count, events, utility, probability, reason) {
    return {
      utility: this.floats(utility, count),
      probability: this.floats(probability, count * this.shape.tasks),
      reason: reason ? this.floats(reason, count * events) : new Float32Array(),
    };
  }

  /** Where arrays of so many bytes go, one behind the other; they last until the next call, or with `kept` for ever. */
  places(sizes, kept = false) {
    let end = this.free;
    const places = sizes.map((size) => {
      const at = end;
      end = up(at + size);
      return at;
    });
    const { memory } = this.exports;
    const missing = Math.ceil((end - memory.buffer.byteLength) / PAGE);
    if (missing > 0)
      try {
        memory.grow(missing);
      } catch {
        throw new BundleError(`${STUDENT}: needs ${end} bytes of memory, which this device does not give`);
      }
    if (kept) this.free = end;
    if (this.u8?.buffer !== memory.buffer) this.view(memory.buffer); // it is another one after it has grown
    return places;
  }

  view(buffer) {
    this.u8 = new Uint8Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.f32 = new Float32Array(buffer);
    this.i64 = new BigInt64Array(buffer);
  }

  word(at) {
    return this.u32[at / 4];
  }

  floats(at, count) {
    return this.f32.slice(at / 4, at / 4 + count);
  }

  /** Numbers of 64 bits, of which the upper half is the sign. */
  put(at, values) {
    for (let i = 0; i < values.length; i++) {
      this.i32[at / 4 + 2 * i] = values[i];
      this.i32[at / 4 + 2 * i + 1] = values[i] < 0 ? -1 : 0;
    }
  }

  wholes(at, count) {
    return Array.from({ length: count }, (_, i) => this.i32[at / 4 + 2 * i]);
  }

  counts(k) {
    if (!(k >= 1 && k <= this.shape.items)) throw new BundleError(`a list of ${k} items: the student has ${this.shape.items}`);
  }

  done(code) {
    if (!code) return;
    throw new BundleError(`${STUDENT}: ${this.text(this.exports.edgerec_message(code))}`);
  }

  text(at) {
    return new TextDecoder().decode(this.u8.slice(at, this.u8.indexOf(0, at)));
  }
}

function up(bytes) {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}
