/** Opens the bundle that the app ships; events are stored in the app's own folder. */
import fs from "react-native-fs";
import * as ort from "onnxruntime-react-native";
import crypto from "react-native-quick-crypto";
import { Recommender, type WebCrypto } from "edgerec";
import { JournalStore } from "edgerec/journal";
import { fromFolder, journalFile } from "edgerec/react-native";

export async function openRecommender(): Promise<Recommender> {
  const store = await JournalStore.open(journalFile(fs, `${fs.DocumentDirectoryPath}/edgerec.jsonl`), { rows: 5000, days: 90 });
  return Recommender.open(fromFolder(fs, `${fs.MainBundlePath}/bundle`), {
    ort,
    store,
    crypto: crypto as unknown as WebCrypto,
  });
}
