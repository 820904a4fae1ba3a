/** Answers calls on a bundle, one after another; the same in Node and in a page. */
import { Recommender } from "../src/index.js";

/**
 * @param {object} ort onnxruntime
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

/** What each call gives, or the error that it throws. */
export async function inTurn(calls, call) {
  const told = [];
  for (const one of calls) {
    try {
      told.push(await call(one));
    } catch (error) {
      told.push({ error: error.name, message: error.message });
    }
  }
  return told;
}

/** As JSON can hold it. */
export function plain(found) {
  if (!Array.isArray(found)) return found ?? null;
  return { items: found.map((r) => ({ ...r, attributes: r.attributes })), whyFewer: found.whyFewer ?? null };
}
