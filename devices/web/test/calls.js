/** Answers calls on a bundle, one after another; the same in Node and in a page. */
import { Recommender } from "../src/index.js";

/**
 * @param {object | undefined} ort onnxruntime, or nothing for the engine
 * @param {(place: string) => (string | Function)} place what `open` and `update` take for a bundle's name
 */
export async function answers(ort, place, { folder, calls, publicKey }) {
  let rec = null;
  async function call([method, ...args]) {
    if (method === "open") {
      const key = publicKey ? Uint8Array.from(publicKey) : null;
      rec = await Recommender.open(place(args[0] ?? folder), { ort, publicKey: key });
      return rec.manifest.version;
    }
    if (method === "update") return rec.update(place(args[0]));
    return plain(await rec[method](...args));
  }
  return inTurn(calls, call);
}

/** The result of each call, or the error that it throws. */
export async function inTurn(calls, call) {
  const results = [];
  for (const one of calls) {
    try {
      results.push(await call(one));
    } catch (error) {
      results.push({ error: error.name, message: error.message });
    }
  }
  return results;
}

/** A value as JSON can hold it. */
export function plain(value) {
  if (!Array.isArray(value)) return value ?? null;
  return { items: value.map((r) => ({ ...r, attributes: r.attributes })), whyFewer: value.whyFewer ?? null };
}
