/** React Native: bundle and journal by the module react-native-fs, or one with the same functions. */

/**
 * Reads a bundle's files from a folder of the device.
 * @param {{readFile: (path: string, encoding: string) => Promise<string>,
 *   stat: (path: string) => Promise<{size: number}>}} fs
 * @param {string} folder such as `${fs.MainBundlePath}/bundle`
 */
export function fromFolder(fs, folder) {
  // onnxruntime-react-native reads the whole buffer behind an array, so each file has its own.
  return async (name, most = Infinity) => {
    const path = `${folder}/${name}`;
    const { size } = await fs.stat(path);
    if (size > most) throw new Error(`${size} bytes, expected at most ${most}`);
    return Uint8Array.from(atob(await fs.readFile(path, "base64")), (c) => c.charCodeAt(0));
  };
}

/**
 * A journal for `JournalStore`.
 * @param {string} path such as `${fs.DocumentDirectoryPath}/edgerec.jsonl`
 */
export function journalFile(fs, path) {
  /** Whether there is a file; where a crash came between the steps of `replace`, the new one takes its place. */
  async function exists() {
    if (await fs.exists(path)) return true;
    if (!(await fs.exists(`${path}.new`))) return false;
    await fs.moveFile(`${path}.new`, path);
    return true;
  }
  return {
    read: async () => ((await exists()) ? fs.readFile(path, "utf8") : ""),
    append: async (text) => {
      await exists(); // later lines must not begin another file
      await fs.appendFile(path, text, "utf8");
    },
    replace: async (text) => {
      await fs.writeFile(`${path}.new`, text, "utf8");
      // Not every system moves onto an existing file.
      if (await fs.exists(path)) await fs.unlink(path);
      await fs.moveFile(`${path}.new`, path);
    },
  };
}
