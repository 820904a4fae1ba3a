/** The graphs of a bundle as functions, over any session of onnxruntime-common: where there is no WebAssembly. */
import { BundleError } from "./errors.js";
import { checkGraph } from "./graphs.js";
import { ranked } from "./request.js";

/** An engine with the methods of `Engine` in engine.js. */
export async function openGraphs(bundle, ort, options) {
  for (const [name, content] of bundle.files) if (name.endsWith(".onnx")) checkGraph(name, content);
  const engine = new GraphEngine(ort, bundle, options);
  await engine.session("recommend.onnx");
  return engine;
}

class GraphEngine {
  /** Use `openGraphs`. */
  constructor(ort, bundle, options) {
    // Nothing leaves the device: onnxruntime-node reads this before its first session. See README.md for React Native.
    if (globalThis.process?.env) process.env.ORT_DISABLE_TELEMETRY = "1";
    this.name = "onnxruntime";
    this.ort = ort;
    this.bundle = bundle;
    this.options = options;
    this.sessions = new Map();
  }

  async session(name) {
    if (!this.sessions.has(name)) this.sessions.set(name, this.load(name));
    return this.sessions.get(name);
  }

  async load(name) {
    const weights = { path: "weights.bin", data: this.bundle.bytes("weights.bin") };
    try {
      return await this.ort.InferenceSession.create(this.bundle.bytes(name), {
        ...this.options,
        externalData: [weights],
      });
    } catch (error) {
      throw new BundleError(`${name}: does not load (${error.message}); build the bundle again`);
    }
  }

  /** Runs a graph on arrays by name; arrays that it does not take are left out. */
  async run(name, feed) {
    const session = await this.session(name);
    return runs(name, async () => {
      const tensors = {};
      for (const input of session.inputNames) {
        const given = feed[input];
        const [type, value] = given instanceof Float32Array ? ["float32", given] : ["int64", BigInt64Array.from(given, BigInt)];
        const shape = input === "k" || (input === "item" && name === "similar.onnx") ? [] : [value.length];
        tensors[input] = new this.ort.Tensor(type, value, shape);
      }
      const outputs = await session.run(tensors);
      return Object.fromEntries(Object.entries(outputs).map(([key, tensor]) => [key, tensor.data]));
    });
  }

  async recommend(inputs, weights, exclude, k) {
    const feed = { ...inputs, task_weights: weights, exclude: exclude, k: [k] };
    const outputs = await this.run("recommend.onnx", feed);
    return runs("recommend.onnx", () => ranked(Array.from(outputs.item, Number), outputs));
  }

  async score(inputs, weights, candidates) {
    const outputs = await this.run("score.onnx", { ...inputs, task_weights: weights, candidates: candidates });
    return runs("score.onnx", () => ranked(candidates, outputs));
  }

  async similar(item, exclude, k) {
    const outputs = await this.run("similar.onnx", { item: [item], exclude: exclude, k: [k] });
    return runs("similar.onnx", () => Array.from(outputs.related, (related, i) => ({ item: Number(related), score: outputs.score[i] })));
  }

  async vectors(items) {
    const { vector } = await this.run("vectors.onnx", { item: items });
    const dim = vector?.length / Math.max(items.length, 1);
    return runs("vectors.onnx", () => items.map((_, i) => vector.slice(i * dim, (i + 1) * dim)));
  }
}

/** What `work` gives; a graph that has other inputs or outputs is none of this format. */
async function runs(name, work) {
  try {
    return await work();
  } catch (error) {
    throw new BundleError(`${name}: cannot be run (${error.message}); build the bundle again`);
  }
}
