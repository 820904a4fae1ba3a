/** Milliseconds of the same requests by the engine and by a module of onnxruntime, alternately; in Node and in a page. */
import { Recommender } from "../src/index.js";

/** Past items of the requests, which ask for a list of `K` with its reasons. */
const EVENTS = [0, 5, 20, 50];
const K = 20;
const DAY = 86_400_000;

/**
 * @param {object} ort onnxruntime
 * @param {string | Function} bundle what `Recommender.open` takes
 * @param {{warm: number, rounds: number}} times how often each request is asked, before and while it is timed
 * @returns {Promise<object>} the tenth percentiles: of the whole call, and of the model alone
 */
export async function pace(ort, bundle, { warm, rounds }) {
  const ours = await Recommender.open(bundle);
  const theirs = await Recommender.open(bundle, { ort });
  const { model } = ours.home;
  const now = Date.UTC(2026, 0, 1);
  const past = (n) => Array.from({ length: n }, (_, i) => ({ item: model.catalog.ids[(37 * i) % model.n], time: now - i * DAY }));
  const [weights] = model.weights(null);
  const times = { list: [[], []], model: [[], []] };
  for (const n of EVENTS) {
    const options = { now, history: past(n), explain: true };
    const { inputs } = await ours.request(model, options);
    for (let round = -warm; round < rounds; round++)
      for (const [i, rec] of [ours, theirs].entries()) {
        const whole = await timed(() => rec.recommend(K, options));
        const alone = await timed(() => rec.home.model.engine.recommend(inputs, weights, [], K, true));
        if (round < 0) continue;
        times.list[i].push(whole);
        times.model[i].push(alone);
      }
  }
  const [list, onnx_list] = times.list.map(tenth);
  const [alone, onnx_alone] = times.model.map(tenth);
  return { list_ms: list, onnx_list_ms: onnx_list, model_ms: alone, onnx_model_ms: onnx_alone };
}

async function timed(work) {
  const before = performance.now();
  await work();
  return performance.now() - before;
}

function tenth(values) {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 10)];
}
