/** Answers calls on a bundle, for tests in Python: JSON from standard input, JSON to standard output. */
import { readFileSync } from "node:fs";
import { Recommender } from "../src/index.js";
import { fromFolder } from "../src/node.js";

const { folder, engine, calls, publicKey } = JSON.parse(readFileSync(0, "utf8"));
const ort = await import(engine);
const told = [];
let rec = null;

async function answer([method, ...args]) {
  if (method === "open") {
    const key = publicKey ? Uint8Array.from(publicKey) : null;
    rec = await Recommender.open(fromFolder(args[0] ?? folder), { ort, publicKey: key });
    return rec.manifest.version;
  }
  if (method === "update") return rec.update(fromFolder(args[0]));
  const found = await rec[method](...args);
  if (!Array.isArray(found)) return found ?? null;
  return { items: found.map((r) => ({ ...r, attributes: r.attributes })), whyFewer: found.whyFewer ?? null };
}

for (const call of calls) {
  try {
    told.push(await answer(call));
  } catch (error) {
    told.push({ error: error.name, message: error.message });
  }
}
process.stdout.write(JSON.stringify(told));
