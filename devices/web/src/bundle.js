/** Reads a bundle from a URL, a folder (Node) or a map of bytes; every file's hash is checked before it is used. */
import { STUDENT } from "./engine.js";
import { BundleError, ConfigError } from "./errors.js";

const FORMAT = 1;
/** No way out of the folder, no device of Windows, no dot at the end. */
const NAME = /^(?!(con|prn|aux|nul|com\d|lpt\d)(\.|$))[a-z0-9_][a-z0-9._-]{0,127}(?<!\.)$/i;
export const MAX_MANIFEST = 2 ** 23;
/** Of numbers in a manifest; of a file's bytes. */
const MAX = 2 ** 31;
const GROWTH = 4;
const GRAPHS = ["recommend.onnx", "score.onnx", "weights.bin"];
const UNSAFE = "do not use this bundle";
const AGAIN = "copy the bundle again or build it again";
/** Files of a bundle that JavaScript does not read; they are not downloaded. */
const UNUSED = new Set(["catalog.sqlite", "newcomers.npz", "report.json"]);
const ofGraphs = (name) => name.endsWith(".onnx") || name === "weights.bin";

export class Bundle {
  constructor(manifest, files) {
    this.manifest = manifest;
    this.files = files;
  }

  /**
   * @param {(name: string) => Promise<Uint8Array>} read gives the bytes of a file
   * @param {Uint8Array | null} publicKey 32 bytes of Ed25519; then only a bundle signed with it is accepted
   * @param {Crypto} crypto WebCrypto
   * @param {number} most bytes of all files together
   * @param {boolean} graphs onnxruntime is to run the graphs, in place of the engine that runs student.bin
   */
  static async open(read, publicKey = null, crypto = globalThis.crypto, most = Infinity, graphs = false) {
    if (!crypto?.subtle) throw new BundleError("cannot be checked: there is no WebCrypto here; serve by https, or give crypto");
    // First the signature, then the sizes, then the files.
    const bytes = await readFile(read, "manifest.json", MAX_MANIFEST);
    if (publicKey !== null) await requireSignature(crypto.subtle, bytes, await readFile(read, "manifest.sig", MAX_MANIFEST), publicKey);
    const manifest = parsed("manifest.json", bytes);
    check(manifest, graphs);
    const whole = size(manifest);
    if (whole > most) throw new BundleError(`its files have ${whole} bytes, and this device takes at most ${most}`);
    const names = Object.keys(manifest.files).filter((name) => !UNUSED.has(name) && (graphs ? name !== STUDENT : !ofGraphs(name)));
    const files = new Map(await Promise.all(names.map(async (name) => [name, await verified(crypto.subtle, read, name, manifest)])));
    return new Bundle(manifest, files);
  }

  /** Bytes that an update may have. */
  get most() {
    const budget = Number(this.manifest.device?.budget?.bundle_mb?.limit) || 0;
    return Math.min(GROWTH * Math.max(size(this.manifest), 1e6 * budget), GROWTH * MAX);
  }

  bytes(name) {
    const content = this.files.get(name);
    if (content === undefined) throw new BundleError(`this bundle has no ${name}; build it with the task that needs it`);
    return content;
  }

  json(name) {
    return parsed(name, this.bytes(name));
  }
}

/** Reads from a URL, such as "./bundle/"; requests go to that origin only. */
export function fromUrl(url, fetch_ = globalThis.fetch) {
  const base = new URL(url.endsWith("/") ? url : `${url}/`, globalThis.location?.href);
  return async (name, most = Infinity) => {
    const response = await fetch_(new URL(name, base));
    if (!response.ok) throw new BundleError(`${name}: cannot be read (${response.status})`);
    const long = new BundleError(`${name}: has more than ${most} bytes`);
    if (response.headers?.get("content-length") > most) throw long;
    if (!response.body?.getReader) return new Uint8Array(await response.arrayBuffer());
    // A length may be missing, or of what is compressed.
    const parts = [];
    let at = 0;
    const reader = response.body.getReader();
    for (let part; !(part = await reader.read()).done; ) {
      at += part.value.length;
      if (at > most) {
        reader.cancel().catch(() => {});
        throw long;
      }
      parts.push(part.value);
    }
    const content = new Uint8Array(at);
    for (const part of parts.reverse()) content.set(part, (at -= part.length));
    return content;
  };
}

/** A file's content; a reader may refuse more than `most` bytes before it reads them. */
async function readFile(read, name, most) {
  let content;
  try {
    content = await read(name, most);
  } catch (error) {
    if (error instanceof BundleError) throw error;
    throw new BundleError(`${name}: cannot be read (${error.message}): ${AGAIN}`);
  }
  if (content.length > most) throw new BundleError(`${name}: ${content.length} bytes, expected at most ${most}: ${AGAIN}`);
  return content;
}

function size({ files }) {
  return Object.values(files).reduce((sum, { bytes }) => sum + bytes, 0);
}

async function verified(subtle, read, name, manifest) {
  const { sha256, bytes } = manifest.files[name];
  const content = await readFile(read, name, bytes);
  if (content.length !== bytes) throw new BundleError(`${name}: ${content.length} bytes, expected ${bytes}: ${AGAIN}`);
  const digest = hex(await subtle.digest("SHA-256", content));
  if (digest !== sha256)
    throw new BundleError(
      `${name}: damaged (sha256 ${digest.slice(0, 12)}..., expected ${sha256.slice(0, 12)}...): ${AGAIN}`,
    );
  return content;
}

function check(manifest, graphs) {
  if (manifest.format !== FORMAT)
    throw new BundleError(
      `manifest.json: format ${manifest.format}, this edgerec reads ${FORMAT}; build it again or update edgerec`,
    );
  const names = Object.keys(manifest.files ?? {});
  const numbers = [manifest.n_items, manifest.dim, manifest.version, ...names.map((name) => manifest.files[name]?.bytes)];
  if (!numbers.every((n) => Number.isInteger(n) && n >= 0 && n <= MAX) || names.length > 64)
    throw new BundleError(`manifest.json: a number that is missing or too large: ${AGAIN}`);
  for (const name of names)
    if (!NAME.test(name) || typeof manifest.files[name].sha256 !== "string")
      throw new BundleError(`manifest.json: '${name}' is not a plain file name; ${UNSAFE}`);
  for (const name of [...(graphs ? GRAPHS : [STUDENT]), "policy.json", "catalog.json"])
    if (!names.includes(name))
      throw new BundleError(
        `manifest.json: lists no ${name}; ` +
          (name === STUDENT
            ? 'run edgerec quantize again with kernel = "u8s8", or give ort, the module of onnxruntime'
            : "set web = true in [quantization]"),
      );
}

async function requireSignature(subtle, manifest, signature, publicKey) {
  if (!(publicKey instanceof Uint8Array && publicKey.length === 32))
    throw new ConfigError("publicKey: expected the 32 bytes of an Ed25519 key");
  const name = btoa(String.fromCharCode(...publicKey));
  const text = parsed("manifest.sig", signature).signatures?.[name];
  if (typeof text !== "string")
    throw new BundleError(`manifest.sig: the signature is by another key; ${UNSAFE}`);
  let valid;
  try {
    const raw = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const key = await subtle.importKey("raw", publicKey, { name: "Ed25519" }, false, ["verify"]);
    valid = await subtle.verify({ name: "Ed25519" }, key, raw, manifest);
  } catch (error) {
    throw new BundleError(`manifest.sig: cannot be checked here (${error.message}): it is not a signature, or this platform has no Ed25519`);
  }
  if (!valid)
    throw new BundleError(`manifest.sig: the signature is not valid: the manifest was changed; ${UNSAFE}`);
}

function parsed(name, bytes) {
  try {
    const value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    if (value !== null && typeof value === "object" && !Array.isArray(value)) return value;
  } catch {
    // reported below
  }
  throw new BundleError(`${name}: not valid JSON: ${AGAIN}`);
}

function hex(buffer) {
  return [...new Uint8Array(buffer)].map((b) => b.toString(16).padStart(2, "0")).join("");
}
