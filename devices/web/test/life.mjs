/** Stores events in a journal and notes which were acknowledged: node life.mjs FOLDER; tests/web/test_faults.py records it. */
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { JournalStore } from "../src/journal.js";
import { journalFile } from "../src/node.js";

const home = process.argv[2];
const store = await JournalStore.open(journalFile(join(home, "events.jsonl")), { rows: 20 });
const time = Date.now();
for (let number = 0; number < 230; number++) {
  const event = { profile: number % 5 ? "" : "gone", item: "i1", kind: "event", time, at: time, eventId: `e${number}` };
  if (await store.append(event)) appendFileSync(join(home, "told"), `e${number}\n`);
  if (number === 100 || number === 225) {
    await store.forget("gone");
    appendFileSync(join(home, "told"), "forgotten\n");
  }
}
