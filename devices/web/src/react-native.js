/** React Native: bundle and journal by the module react-native-fs, or one with the same functions. */

/**
 * Reads a bundle's files from a folder of the device.
 * @param {{readFile: (path: string, encoding: string) => Promise<string>}} fs
 * @param {string} folder such as `${fs.MainBundlePath}/bundle`
 */
export function fromFolder(fs, folder) {
  // onnxruntime-react-native reads the whole buffer behind an array, so each file has its own.
  return async (name) => Uint8Array.from(atob(await fs.readFile(`${folder}/${name}`, "base64")), (c) => c.charCodeAt(0));
}

/**
 * A journal for `JournalStore`.
 * @param {string} path such as `${fs.DocumentDirectoryPath}/edgerec.jsonl`
 */
export function journalFile(fs, path) {
  return {
    read: async () => {
      for (const place of [path, `${path}.new`]) if (await fs.exists(place)) return fs.readFile(place, "utf8");
      return "";
    },
    append: (text) => fs.appendFile(path, text, "utf8"),
    replace: async (text) => {
      await fs.writeFile(`${path}.new`, text, "utf8");
      // Not every system moves onto an existing file; after a crash in between, the new one is read.
      if (await fs.exists(path)) await fs.unlink(path);
      await fs.moveFile(`${path}.new`, path);
    },
  };
}
