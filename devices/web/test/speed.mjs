/**
 * What the runtime costs in Chromium and Node. Standard input: {"bundles": {name: folder}, "chromium"}. Prints, by
 * bundle: ms of a request in WebAssembly with one thread and two and natively, each once it is warm, and ms to the first
 * list by edgerec and by bare onnxruntime-web, each in a fresh page, alternately.
 */
import { readFileSync } from "node:fs";
import * as ortNode from "onnxruntime-node";
import { Recommender } from "../src/index.js";
import { fromFolder } from "../src/node.js";
import { launch, serve } from "./origin.mjs";

const job = JSON.parse(readFileSync(0, "utf8"));
const PAGES = 7;
/** The browser compiles WebAssembly better while it runs, which takes some dozens of calls. */
const WARM = 150;
const CALLS = 300;

const origin = await serve(job.bundles);

/** In the page: ms to the first list by edgerec, and of the calls after `warm` more. */
async function ours([bundle, threads, warm, calls]) {
  const start = performance.now();
  const [ort, { Recommender: R }] = await Promise.all([import("/ort/ort.wasm.min.mjs"), import("/src/index.js")]);
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmPaths = "/ort/";
  const rec = await R.open(`/${bundle}/`, { ort });
  await rec.recommend(10);
  const first = performance.now() - start;
  const times = [];
  for (let i = 0; i < warm + calls; i++) {
    const before = performance.now();
    await rec.recommend(20);
    times.push(performance.now() - before);
  }
  return { first, times: times.slice(warm) };
}

/** The same model, by onnxruntime-web alone. */
async function bare([bundle]) {
  const start = performance.now();
  const ort = await import("/ort/ort.wasm.min.mjs");
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = "/ort/";
  const read = async (name) => new Uint8Array(await (await fetch(`/${bundle}/${name}`)).arrayBuffer());
  const [model, data] = await Promise.all([read("recommend.onnx"), read("weights.bin")]);
  const session = await ort.InferenceSession.create(model, { externalData: [{ path: "weights.bin", data }] });
  const manifest = await (await fetch(`/${bundle}/manifest.json`)).json();
  const numbers = 6 + 2 * manifest.inputs.history.kinds.length + manifest.inputs.numeric.length;
  const sizes = { context_categorical: manifest.inputs.categorical.length, context_numeric: numbers, task_weights: manifest.tasks.length };
  const feed = {};
  for (const name of session.inputNames) {
    const floats = /count|age_h|interval_h|numeric|weights/.test(name);
    const n = name === "k" ? 1 : (sizes[name] ?? 0);
    const values = floats ? new Float32Array(n).fill(1) : new BigInt64Array(n).fill(name === "k" ? 10n : 0n);
    feed[name] = new ort.Tensor(floats ? "float32" : "int64", values, name === "k" ? [] : [n]);
  }
  await session.run(feed);
  return { first: performance.now() - start };
}

async function natively(folder) {
  const rec = await Recommender.open(fromFolder(folder), { ort: ortNode, sessionOptions: { intraOpNumThreads: 1 } });
  const times = [];
  for (let i = 0; i < WARM + CALLS; i++) {
    const before = performance.now();
    await rec.recommend(20);
    times.push(performance.now() - before);
  }
  return times.slice(WARM);
}

async function inPage(work, argument) {
  const page = await (await browser.newContext()).newPage();
  await page.goto(`${origin.url}empty/`);
  const result = await page.evaluate(work, argument);
  await page.context().close();
  return result;
}

const middle = (values) => values.sort((a, b) => a - b)[values.length >> 1];
const browser = await launch(job.chromium);
const figures = {};
for (const name of Object.keys(job.bundles)) {
  const first = [];
  const alone = [];
  for (let i = 0; i < PAGES; i++) {
    alone.push((await inPage(bare, [name])).first);
    first.push((await inPage(ours, [name, 1, 0, 0])).first);
  }
  const times = { wasm: [], threads: [], native: [] };
  for (let i = 0; i < 3; i++) {
    times.wasm.push(...(await inPage(ours, [name, 1, WARM, CALLS])).times);
    times.native.push(...(await natively(job.bundles[name])));
    times.threads.push(...(await inPage(ours, [name, 2, WARM, CALLS])).times);
  }
  const [wasm, threads, native] = [middle(times.wasm), middle(times.threads), middle(times.native)];
  figures[name] = {
    wasm_ms: wasm, wasm_2_threads_ms: threads, native_ms: native, wasm_over_native: wasm / native,
    first_ms: middle(first), bare_first_ms: middle(alone), first_over_bare: middle(first) / middle(alone),
  };
}
await browser.close();
await origin.close();
process.stdout.write(JSON.stringify(figures));
