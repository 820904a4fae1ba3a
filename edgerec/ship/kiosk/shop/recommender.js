/** Opens the bundle: the newest one that is whole. */
import { Recommender, fromUrl } from "../edgerec/index.js";
import { openNewest, take } from "../edgerec/updates.js";
import { sha256 } from "./sha256.js";

/** A page by plain http has no WebCrypto: hashes are checked all the same, signatures cannot be. */
const crypto = globalThis.crypto?.subtle
  ? globalThis.crypto
  : { subtle: { digest: async (_, bytes) => sha256(bytes).buffer }, randomUUID: () => `${Date.now()}-${Math.random()}` };

/** Each file is downloaded once, whoever asks for it first. */
function once(read) {
  const files = new Map();
  return (name, most) => {
    if (!files.has(name)) files.set(name, read(name, most));
    return files.get(name);
  };
}

function options(publicKey) {
  if (publicKey === null) return { crypto };
  if (!globalThis.crypto?.subtle) throw new Error("a signature can be checked over https or on localhost only");
  return { crypto, publicKey: Uint8Array.from(atob(publicKey), (c) => c.charCodeAt(0)) };
}

/** @param {string | null} publicKey base64; then only bundles signed with it are used */
export async function openBundle(publicKey, url = "./bundle/") {
  return openNewest(once(fromUrl(url)), options(publicKey));
}

/** The bundle of a folder, as it is there. */
export async function openShipped(url, publicKey) {
  return Recommender.open(once(fromUrl(url)), options(publicKey));
}

/** The version of a bundle in `folder` if it is newer than the one in use; null if there is none. */
export async function newer(rec, folder) {
  const answer = await fetch(new URL("manifest.json", new URL(folder, document.baseURI)), { cache: "no-store" });
  if (!answer.ok) return null;
  const { version } = await answer.json();
  return version > rec.manifest.version ? version : null;
}

export { take };
