/** The main process: the model runs here; events are stored in the app's own folder. */
import { join } from "node:path";
import { app, BrowserWindow, ipcMain } from "electron";
import { Recommender } from "edgerec";
import { answerPages } from "edgerec/electron";
import { JournalStore } from "edgerec/journal";
import { fromFolder, journalFile } from "edgerec/node";

async function start(): Promise<void> {
  await app.whenReady();
  const here = import.meta.dirname;
  const journal = journalFile(join(app.getPath("userData"), "edgerec.jsonl"));
  const store = await JournalStore.open(journal, { rows: 5000, days: 90 });
  const rec = await Recommender.open(fromFolder(join(here, "bundle")), { store });
  answerPages(ipcMain, rec);
  const window = new BrowserWindow({ webPreferences: { preload: join(here, "preload.cjs") } });
  await window.loadFile(join(here, "index.html"));
}

app.on("window-all-closed", () => app.quit());
void start();
