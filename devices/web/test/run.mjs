/** Answers calls on a bundle, for tests in Python: JSON from standard input, JSON to standard output. */
import { readFileSync } from "node:fs";
import { fromFolder } from "../src/node.js";
import { answers, inTurn, plain } from "./calls.js";

const job = JSON.parse(readFileSync(0, "utf8"));

/** For `Recommender.open`: a module of onnxruntime by its name, or nothing for the engine. */
async function ortOf(engine) {
  if (engine === "scalar") {
    // As on a platform without SIMD, which refuses the first build.
    const { validate } = WebAssembly;
    WebAssembly.validate = () => Object.assign(WebAssembly, { validate }) && false;
  }
  return engine.startsWith("onnxruntime") ? import(engine) : undefined;
}

/** In a page of Chromium, with the bundle's folder as its origin's. */
async function inChromium() {
  const { launch, serve } = await import("./origin.mjs");
  const origin = await serve({ bundle: job.folder });
  const browser = await launch(job.chromium);
  try {
    const page = await browser.newPage();
    await page.goto(`${origin.url}empty/`);
    return await page.evaluate(async (job_) => {
      const { answers: inPage } = await import("/test/calls.js");
      return inPage(undefined, () => "/bundle/", job_);
    }, job);
  } finally {
    await browser.close();
    await origin.close();
  }
}

/** With one of the adapters and a journal; returns facts about the store too. */
async function byHost() {
  const { onHost } = await import("./hosts.mjs");
  const { rec, store } = await onHost(job.host, await ortOf(job.engine), job);
  const results = await inTurn(job.calls, async ([method, ...args]) => plain(await rec[method](...args)));
  const health = await store.health();
  await store.close();
  return { results, damaged: store.damaged, lines: store.lines, health };
}

async function run() {
  if (job.host) return byHost();
  return job.engine === "chromium" ? inChromium() : answers(await ortOf(job.engine), fromFolder, job);
}

process.stdout.write(JSON.stringify(await run()));
