/** The graphs of a bundle as functions, over any session of onnxruntime-common: web, node or react-native. */
import { BundleError } from "./errors.js";
import { ints } from "./request.js";

export class Engine {
  constructor(ort, bundle, options) {
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
      throw new BundleError(`${name}: does not load (${error.message})`);
    }
  }

  /** Feeds arrays by name; what a graph does not take is left out. */
  async run(name, feed) {
    const session = await this.session(name);
    const tensors = {};
    for (const input of session.inputNames) {
      const value = feed[input];
      const type = value instanceof Float32Array ? "float32" : "int64";
      const shape = input === "k" || (input === "item" && name === "similar.onnx") ? [] : [value.length];
      tensors[input] = new this.ort.Tensor(type, value, shape);
    }
    const found = await session.run(tensors);
    return Object.fromEntries(Object.entries(found).map(([key, tensor]) => [key, tensor.data]));
  }

  async recommend(request, weights, exclude, k) {
    const feed = { ...request, task_weights: weights, exclude: ints(exclude), k: ints([k]) };
    const found = await this.run("recommend.onnx", feed);
    return ranked(Array.from(found.item, Number), found, weights.length, request);
  }

  async score(request, weights, candidates) {
    const found = await this.run("score.onnx", { ...request, task_weights: weights, candidates: ints(candidates) });
    return ranked(candidates, found, weights.length, request);
  }

  async similar(item, exclude, k) {
    const found = await this.run("similar.onnx", { item: ints([item]), exclude: ints(exclude), k: ints([k]) });
    return Array.from(found.related, (related, i) => ({ item: Number(related), score: found.score[i] }));
  }

  async vectors(items) {
    const { vector } = await this.run("vectors.onnx", { item: ints(items) });
    const dim = vector.length / Math.max(items.length, 1);
    return items.map((_, i) => vector.slice(i * dim, (i + 1) * dim));
  }
}

/** Rows of what came out: {item, utility, probability (by task), reason (by past item)}. */
function ranked(items, { utility, probability, reason }, tasks, request) {
  const length = request.history.length;
  return items.map((item, i) => ({
    item,
    utility: utility[i],
    probability: probability.slice(i * tasks, (i + 1) * tasks),
    reason: reason.slice(i * length, (i + 1) * length),
  }));
}
