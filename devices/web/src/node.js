/** Reads a bundle's files from a folder, for Node and Electron. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";

/** @param {string} folder */
export function fromFolder(folder) {
  return async (name) => new Uint8Array(await readFile(join(folder, name)));
}
