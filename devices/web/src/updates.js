/** Bundles in Cache Storage: the one in use and the one before; if both fail, the one that came with the page. */
import { BundleError, Recommender, fromUrl } from "./index.js";

const CACHE = "edgerec-bundles";
const STATE = "edgerec-bundle";

function state() {
  try {
    return JSON.parse(localStorage.getItem(STATE)) ?? {};
  } catch {
    return {};
  }
}

function keep(value) {
  localStorage.setItem(STATE, JSON.stringify(value));
}

function fromCache(version) {
  return async (name) => {
    const response = await (await caches.open(CACHE)).match(`/${version}/${name}`);
    if (response === undefined) throw new BundleError(`${name}: is not in the cache`);
    return new Uint8Array(await response.arrayBuffer());
  };
}

/** Like `Recommender.open`, with the newest bundle that opens: one installed by `take`, the one before, or `shipped`. */
export async function openNewest(shipped, options) {
  const { current, previous } = state();
  for (const version of [current, previous]) {
    if (version === undefined || version === null) continue;
    try {
      return await Recommender.open(fromCache(version), options);
    } catch (error) {
      if (!(error instanceof BundleError)) throw error;
      keep({ current: previous === version ? null : previous, previous: null, failed: version });
    }
  }
  return Recommender.open(shipped, options);
}

/** Installs a bundle from a folder of this origin: verified and tried first; it and the old one stay cached. */
export async function take(rec, url) {
  const files = new Map();
  const read = fromUrl(url);
  const name = await rec.update(async (file) => {
    files.set(file, await read(file));
    return files.get(file);
  });
  const version = String(rec.manifest.version);
  const cache = await caches.open(CACHE);
  for (const [file, bytes] of files) await cache.put(`/${version}/${file}`, new Response(bytes));
  const { current = null } = state();
  keep({ current: version, previous: current });
  for (const request of await cache.keys()) {
    const cached = new URL(request.url).pathname.split("/")[1];
    if (cached !== version && cached !== current) await cache.delete(request);
  }
  return name;
}
