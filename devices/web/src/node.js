/** Files for Node and Electron's main process. */
import { open, readFile, rename, stat } from "node:fs/promises";
import { dirname, join } from "node:path";

/**
 * Reads a bundle's files from a folder.
 * @param {string} folder
 */
export function fromFolder(folder) {
  return async (name, most = Infinity) => {
    const { size } = await stat(join(folder, name));
    if (size > most) throw new Error(`${size} bytes, expected at most ${most}`);
    return new Uint8Array(await readFile(join(folder, name)));
  };
}

/**
 * A journal for `JournalStore`; what is written is on the disk when the promise resolves.
 * @param {string} path
 */
export function journalFile(path) {
  let named = false; // whether the folder's entry is on the disk

  async function write(to, flags, text) {
    const file = await open(to, flags, 0o600);
    try {
      const { size } = await file.stat();
      await file.writeFile(text);
      await file.sync();
      return size === 0;
    } finally {
      await file.close();
    }
  }
  return {
    read: async () => {
      try {
        return await readFile(path, "utf8");
      } catch (error) {
        if (error.code === "ENOENT") return "";
        throw error;
      }
    },
    append: async (text) => {
      const fresh = await write(path, "a", text);
      if (fresh || !named) await flushFolder(dirname(path));
      named = true;
    },
    replace: async (text) => {
      await write(`${path}.new`, "w", text);
      await rename(`${path}.new`, path);
      await flushFolder(dirname(path));
    },
  };
}

/** So that a power cut does not bring the file back that was replaced; Windows has nothing like it. */
async function flushFolder(path) {
  try {
    const folder = await open(path, "r");
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  } catch {
    // What was written is there all the same, unless the power fails now.
  }
}
