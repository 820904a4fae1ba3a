/** Bundles in Cache Storage: the one in use and the one before; if both fail, the one that came with the page. */
import { BundleError, Recommender, fromUrl } from "./index.js";
import { MAX_MANIFEST } from "./bundle.js";

const CACHE = "edgerec-bundles";
const STATE = "edgerec-bundle";

function state() {
  try {
    return JSON.parse(localStorage.getItem(STATE)) ?? {};
  } catch {
    return {};
  }
}

/** Where it cannot be kept, the one of before counts again at the next start. */
function keep(value) {
  try {
    localStorage.setItem(STATE, JSON.stringify(value));
  } catch {
    // a full or forbidden storage is no reason not to open
  }
}

/** Of the bundle that came with the page; 0 where it cannot be read. */
async function versionOf(shipped) {
  try {
    const read = typeof shipped === "string" ? fromUrl(shipped) : shipped;
    return Number(JSON.parse(new TextDecoder().decode(await read("manifest.json", MAX_MANIFEST))).version) || 0;
  } catch {
    return 0;
  }
}

function fromCache(version) {
  return async (name) => {
    const response = await (await caches.open(CACHE)).match(`/${version}/${name}`);
    if (response === undefined) throw new BundleError(`${name}: is not in the cache`);
    return new Uint8Array(await response.arrayBuffer());
  };
}

/**
 * Like `Recommender.open`, with the newest bundle that opens: one installed by `take`, the one before, or `shipped`. A
 * page that brings a newer one goes before both.
 */
export async function openNewest(shipped, options = {}) {
  const { current, previous } = state();
  const least = await versionOf(shipped);
  for (const version of [current, previous]) {
    if (!(Number(version ?? -1) >= least)) continue;
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
  const name = await rec.update(async (file, most) => {
    files.set(file, await read(file, most));
    return files.get(file);
  });
  const version = String(rec.manifest.version);
  try {
    const cache = await caches.open(CACHE);
    for (const [file, bytes] of files) await cache.put(`/${version}/${file}`, new Response(bytes));
    const { current = null, previous = null } = state();
    const before = current === version ? previous : current;
    keep({ current: version, previous: before });
    for (const request of await cache.keys()) {
      const cached = new URL(request.url).pathname.split("/")[1];
      if (cached !== version && cached !== before) await cache.delete(request);
    }
  } catch (error) {
    throw new BundleError(`${name}: could not be kept (${error.message}); it is in use until the page is closed`);
  }
  return name;
}
