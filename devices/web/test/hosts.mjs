/** The adapters, each over what stands for its platform: what a bundle's name is for `open`, and the calls of a page. */
import * as fs from "node:fs/promises";
import { Recommender } from "../src/index.js";
import { answerPages, askMain } from "../src/electron.js";
import { JournalStore } from "../src/journal.js";
import * as node from "../src/node.js";
import * as native from "../src/react-native.js";

/** react-native-fs over Node's files. */
const nativeFiles = {
  exists: (path) => fs.access(path).then(() => true, () => false),
  stat: (path) => fs.stat(path),
  readFile: (path, encoding) => fs.readFile(path, encoding),
  writeFile: (path, text, encoding) => fs.writeFile(path, text, encoding),
  appendFile: (path, text, encoding) => fs.appendFile(path, text, encoding),
  unlink: (path) => fs.unlink(path),
  moveFile: (from, to) => fs.rename(from, to),
};

/** ipcMain and ipcRenderer of one process; what passes between them is copied as Electron copies it. */
function wire() {
  const answers = new Map();
  return {
    main: { handle: (name, answer) => answers.set(name, answer), removeHandler: (name) => answers.delete(name) },
    renderer: {
      invoke: async (name, ...args) => structuredClone(await answers.get(name)({}, ...structuredClone(args))),
    },
  };
}

/** What answers calls, and the store below it, for a host's name, a bundle's folder and a journal's path. */
export async function onHost(host, ort, { folder, journal, bounds }) {
  const onPhone = host === "react-native";
  const file = onPhone ? native.journalFile(nativeFiles, journal) : node.journalFile(journal);
  const store = await JournalStore.open(file, bounds);
  const read = onPhone ? native.fromFolder(nativeFiles, folder) : node.fromFolder(folder);
  // As where there is no WebCrypto of the platform's own.
  const { subtle, randomUUID } = globalThis.crypto;
  const crypto = { subtle, randomUUID: randomUUID.bind(globalThis.crypto) };
  const rec = await Recommender.open(read, { ort, store, crypto });
  if (host !== "electron") return { rec, store };
  const { main, renderer } = wire();
  answerPages(main, rec);
  return { rec: askMain(renderer), store };
}
