/**
 * The native engine (devices/native/edgerec.h) as WebAssembly: runs the student.bin of a bundle, with the same bits as on
 * every other platform. The memory of an instance holds, one behind the other: the module's own data, the file, the
 * engine's arena, a workspace, and the arrays of one call.
 */
import { BundleError, ConfigError } from "./errors.js";
import { ranked } from "./request.js";

export const STUDENT = "student.bin";
const HISTORY = ["", "_kind", "_count", "_age_h", "_interval_h"].map((name) => `history${name}`);
/** Bytes of an entry: of the arrays of the history, of categorical and numeric context, and of weights. */
const WIDTHS = [8, 8, 4, 4, 4, 8, 4, 4];
const ALIGNMENT = 64;
const PAGE = 65536;
/** Codes of edgerec.h. */
const ARITHMETIC = 6;
/** Built by tools/native, as modules, so that they are found wherever this file is; see README.md. */
const BUILDS = [() => import("./wasm/simd.js"), () => import("./wasm/scalar.js")];
const compiled = [];

/** The module of a build; null where this platform does not know its instructions. */
async function compile(i) {
  try {
    const { default: text } = await BUILDS[i]();
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    return WebAssembly.validate(bytes) ? await WebAssembly.compile(bytes) : null;
  } catch (error) {
    compiled[i] = null; // it may have been the network
    throw new ConfigError(
      `the engine's WebAssembly does not load (${error.message}); a page needs 'wasm-unsafe-eval', a clone tools/native wasm wasm-simd`,
    );
  }
}

export class Engine {
  /** Takes the first build that this platform runs and that gives its own known answers. */
  static async open(bundle) {
    const file = bundle.bytes(STUDENT);
    for (let i = 0; globalThis.WebAssembly && i < BUILDS.length; i++) {
      const module = await (compiled[i] ??= compile(i));
      if (module === null) continue;
      const engine = new Engine((await WebAssembly.instantiate(module)).exports);
      const code = engine.load(file, bundle.manifest);
      if (code === ARITHMETIC && i < BUILDS.length - 1) continue;
      engine.done(code);
      return engine;
    }
    throw new ConfigError("there is no WebAssembly here: give ort, the module of onnxruntime for this platform");
  }

  /** Use `open`. */
  constructor(exports) {
    this.exports = exports;
  }

  /** A list, best first, with its reasons if `explain`: rows as `ranked` makes them. */
  recommend(inputs, weights, exclude, k, explain = true) {
    const [request, events, item, ...at] = this.request(inputs, weights, exclude, k, explain);
    this.call("recommend", this.engine, this.workspace, request, k, item, ...at);
    return ranked(this.wholes(item, k), this.outputs(k, events, ...at));
  }

  score(inputs, weights, candidates, explain = true) {
    const n = candidates.length;
    const [request, events, item, ...at] = this.request(inputs, weights, [], n, explain);
    this.put(item, candidates);
    this.call("score", this.engine, this.workspace, request, item, n, ...at);
    return ranked(candidates, this.outputs(n, events, ...at));
  }

  similar(item, exclude, k) {
    const [removed, related, score] = this.places([8 * exclude.length, 8 * k, 4 * k]);
    this.put(removed, exclude);
    const asked = [this.engine, this.workspace, BigInt(item), removed, exclude.length, k];
    this.call("similar", ...asked, related, score);
    const scores = this.floats(score, k);
    return this.wholes(related, k).map((other, i) => ({ item: other, score: scores[i] }));
  }

  vectors(items) {
    const { dim } = this.shape;
    const [at, vector] = this.places([8 * items.length, 4 * items.length * dim]);
    this.put(at, items);
    this.call("vectors", this.engine, at, items.length, vector);
    return items.map((_, i) => this.floats(vector + 4 * i * dim, dim));
  }

  // Opening.

  /** Opens a file; returns the library's code. */
  load(file, manifest) {
    this.free = up(this.exports.memory.buffer.byteLength);
    const [at, word] = this.places([file.length, ALIGNMENT], true);
    this.u8.set(file, at);
    const code = this.exports.edgerec_measure(at, file.length, word);
    if (code) return code;
    const size = this.word(word);
    const [arena] = this.places([size], true);
    return this.exports.edgerec_open(at, file.length, arena, size, word) || this.opened(word, manifest);
  }

  /** Checks that a student is that of its manifest, and makes a workspace for the longest history. */
  opened(word, { n_items, dim: width, tasks: scored, inputs }) {
    this.engine = this.word(word);
    this.exports.edgerec_describe(this.engine, word);
    const [items, , dim, tasks, categorical, numeric] = this.i32.subarray(word / 4);
    this.shape = { items, dim, tasks, categorical, numeric };
    if (`${[items, dim, tasks]}` !== `${[n_items, width, scored.length]}`)
      throw new BundleError(`${STUDENT}: has ${items} items, ${dim} dimensions, ${tasks} tasks, the manifest others; build the bundle again`);
    this.name = this.text(this.exports.edgerec_kernel(this.engine));
    const events = inputs?.history?.max_items;
    const size = this.exports.edgerec_workspace_bytes(this.engine, events) >>> 0;
    if (!size) throw new BundleError(`${STUDENT}: takes no history of ${events} items`);
    const [at] = this.places([size], true);
    this.call("workspace_open", this.engine, events, at, size, word);
    this.workspace = this.word(word);
    return 0;
  }

  // Memory.

  /** Writes a request; returns its place, how many events it has, and places for what comes out; 0 for no reasons. */
  request(inputs, weights, exclude, rows, explain) {
    const { shape } = this;
    const { context_categorical: categorical = [], context_numeric: numeric = [] } = inputs;
    const events = inputs.history.length;
    const arrays = [...HISTORY.map((name) => inputs[name] ?? new Array(events).fill(0)), categorical, numeric, weights];
    const lengths = [...HISTORY.map(() => events), shape.categorical, shape.numeric, shape.tasks];
    if (arrays.some((array, i) => array.length !== lengths[i]))
      throw new BundleError(`${STUDENT}: a request has arrays of ${arrays.map((a) => a.length)} entries, which do not fit the student`);
    const sizes = [...lengths.map((length, i) => WIDTHS[i] * length), 8 * exclude.length, 4 * 11];
    const reasons = explain ? 4 * rows * events : 0;
    const at = this.places([...sizes, 8 * rows, 4 * rows, 4 * rows * shape.tasks, reasons]);
    arrays.forEach((array, i) => (WIDTHS[i] === 4 ? this.f32.set(array, at[i] / 4) : this.put(at[i], array)));
    const [removed, request, ...out] = at.slice(8);
    this.put(removed, exclude);
    this.i32.set([...at.slice(0, 5), events, ...at.slice(5, 8), removed, exclude.length], request / 4);
    if (!explain) out[3] = 0;
    return [request, events, ...out];
  }

  outputs(count, events, utility, probability, reason) {
    return {
      utility: this.floats(utility, count),
      probability: this.floats(probability, count * this.shape.tasks),
      reason: this.floats(reason, reason ? count * events : 0),
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
    this.f32 = new Float32Array(buffer);
  }

  word(at) {
    return this.i32[at / 4] >>> 0;
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

  call(name, ...given) {
    this.done(this.exports[`edgerec_${name}`](...given));
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
