/**
 * What the runtime costs in Chromium and Node beside onnxruntime-web with one thread. Standard input: {"bundles": {name:
 * folder}, "page": folder of a kiosk page or null, "chromium"}. Prints, by bundle: ms of a list and of the model alone
 * once they are warm, see pace.js, and ms to the first list in a fresh page of each, alternately; and of the kiosk page.
 */
import { readFileSync } from "node:fs";
import * as ortNode from "onnxruntime-web";
import { fromFolder } from "../src/node.js";
import { launch, serve } from "./origin.mjs";
import { pace } from "./pace.js";

const job = JSON.parse(readFileSync(0, "utf8"));
const PAGES = 7;
/** WebAssembly is compiled better while it runs, which takes some dozens of calls. */
const TIMES = { warm: 150, rounds: 300 };
ortNode.env.wasm.numThreads = 1;

const origin = await serve(job.bundles);
const browser = await launch(job.chromium);

/** In the page. */
async function paced([bundle, times]) {
  const [ort, { pace: inPage }] = await Promise.all([import("/ort/ort.wasm.min.mjs"), import("/test/pace.js")]);
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = "/ort/";
  return inPage(ort, `/${bundle}/`, times);
}

/** In the page: ms to the first list, all that it needs loaded anew. */
async function first([bundle, withOrt]) {
  const start = performance.now();
  const options = {};
  if (withOrt) {
    const ort = await import("/ort/ort.wasm.min.mjs");
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmPaths = "/ort/";
    options.ort = ort;
  }
  const { Recommender } = await import("/src/index.js");
  await (await Recommender.open(`/${bundle}/`, options)).recommend(10);
  return performance.now() - start;
}

async function inPage(work, argument) {
  const page = await (await browser.newContext()).newPage();
  await page.goto(`${origin.url}empty/`);
  const result = await page.evaluate(work, argument);
  await page.context().close();
  return result;
}

/** From the navigation to the list on the screen. */
async function kiosk(folder) {
  const shop = await serve({ "": folder });
  const times = [];
  for (let i = 0; i < PAGES; i++) {
    const page = await (await browser.newContext()).newPage();
    await page.goto(shop.url);
    await page.waitForSelector("body[data-ready]", { timeout: 60_000 });
    times.push(await page.evaluate(() => performance.now()));
    await page.context().close();
  }
  await shop.close();
  return middle(times);
}

const middle = (values) => values.sort((a, b) => a - b)[values.length >> 1];
const figures = {};
for (const [name, folder] of Object.entries(job.bundles)) {
  const [ours, theirs] = [[], []];
  for (let i = 0; i < PAGES; i++) {
    theirs.push(await inPage(first, [name, true]));
    ours.push(await inPage(first, [name, false]));
  }
  figures[name] = {
    node: await pace(ortNode, fromFolder(folder), TIMES),
    chromium: await inPage(paced, [name, TIMES]),
    first: { first_ms: middle(ours), onnx_first_ms: middle(theirs) },
  };
}
if (job.page) figures.page_ms = await kiosk(job.page);
await browser.close();
await origin.close();
process.stdout.write(JSON.stringify(figures));
