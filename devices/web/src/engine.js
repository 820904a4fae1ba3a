/** The graphs of a bundle as functions, over any session of onnxruntime-common: web, node or react-native. */
import { BundleError } from "./errors.js";
import { ints } from "./request.js";

export class Engine {
  constructor(ort, bundle, options) {
    // Nothing leaves the device: onnxruntime-node reads this before its first session. See README.md for React Native.
    if (globalThis.process?.env) process.env.ORT_DISABLE_TELEMETRY = "1";
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
        const value = feed[input];
        const type = value instanceof Float32Array ? "float32" : "int64";
        const shape = input === "k" || (input === "item" && name === "similar.onnx") ? [] : [value.length];
        tensors[input] = new this.ort.Tensor(type, value, shape);
      }
      const outputs = await session.run(tensors);
      return Object.fromEntries(Object.entries(outputs).map(([key, tensor]) => [key, tensor.data]));
    });
  }

  async recommend(inputs, weights, exclude, k) {
    const feed = { ...inputs, task_weights: weights, exclude: ints(exclude), k: ints([k]) };
    const outputs = await this.run("recommend.onnx", feed);
    return runs("recommend.onnx", () => ranked(Array.from(outputs.item, Number), outputs, weights.length, inputs));
  }

  async score(inputs, weights, candidates) {
    const outputs = await this.run("score.onnx", { ...inputs, task_weights: weights, candidates: ints(candidates) });
    return runs("score.onnx", () => ranked(candidates, outputs, weights.length, inputs));
  }

  async similar(item, exclude, k) {
    const outputs = await this.run("similar.onnx", { item: ints([item]), exclude: ints(exclude), k: ints([k]) });
    return runs("similar.onnx", () => Array.from(outputs.related, (related, i) => ({ item: Number(related), score: outputs.score[i] })));
  }

  async vectors(items) {
    const { vector } = await this.run("vectors.onnx", { item: ints(items) });
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

/** A graph's outputs as rows: {item, utility, probability (by task), reason (by past item)}. */
function ranked(items, { utility, probability, reason }, tasks, inputs) {
  const length = inputs.history.length;
  return items.map((item, i) => ({
    item,
    utility: utility[i],
    probability: probability.slice(i * tasks, (i + 1) * tasks),
    reason: reason.slice(i * length, (i + 1) * length),
  }));
}
