/** Events and lists as lines of JSON in a file of the app, for platforms without IndexedDB. */
import { DataError } from "./errors.js";
import { MemoryStore, isEvent, isList } from "./store.js";

/** The file is rewritten once it has this many times the lines that are needed. */
const SLACK = 2;
const LEAST = 200;
const STARTS = ['{"event":{', '{"list":{'];

/**
 * Once `append` has returned true, the event survives a crash; a line that a crash cut off is left out. Where the file
 * cannot be used (full disk, no right to write), rows are in memory, `trouble` says why, and they are written as soon
 * as it can be. One process at a time uses a file.
 */
export class JournalStore extends MemoryStore {
  /**
   * @param {{read: () => Promise<string>, append: (text: string) => Promise<void>,
   *   replace: (text: string) => Promise<void>}} journal see `journalFile` of node.js and react-native.js
   */
  static async open(journal, bounds = {}) {
    const store = new JournalStore(bounds);
    store.journal = journal;
    await store.load().catch((error) => store.fails(error, 0));
    return store;
  }

  constructor(bounds) {
    super(bounds);
    this.lines = 0;
    /** Whether the file was read; whether it lacks rows, or ends in a part of one. */
    this.loaded = false;
    this.behind = false;
  }

  get needed() {
    return this.events_.length + this.lists_.length;
  }

  async append(event) {
    return this.inTurn(async () => !this.add(event) || this.written({ event }));
  }

  async show(list) {
    return this.inTurn(async () => {
      await super.show(list);
      return this.written({ list });
    });
  }

  async forget(profile) {
    await this.inTurn(async () => {
      await super.forget(profile);
      try {
        if (!this.loaded) await this.load();
        await super.forget(profile);
        await this.rewrite();
      } catch (error) {
        this.fails(error, 0);
        throw new DataError(`the journal: erased from memory, but not from the file (${error.message})`);
      }
    });
  }

  async close() {
    await this.last;
  }

  // Parts.

  /** Read the file; what is in memory already comes after it. */
  async load() {
    const text = await this.journal.read();
    const lines = text.split("\n");
    const here = [this.events_, this.lists_];
    const rows = lines.filter((line) => line !== "").map(parsed);
    const damaged = rows.filter((row) => row === null).length;
    if (damaged && damaged === rows.length && !lines.some(looksLikeOurs)) throw new Error("it is another program's file; name another one");
    this.keep(() => false, () => false);
    for (const row of rows) if (row?.event) this.add(row.event);
    this.lists_ = [...rows.flatMap((row) => row?.list ?? []), ...here[1]].slice(-this.bounds.rows);
    for (const event of here[0]) this.add(event);
    [this.loaded, this.lines, this.damaged] = [true, rows.length, damaged];
    this.behind = !/(^|\n)$/.test(text) || this.lines !== this.needed;
    // Lines that were cut off or exceed the bounds are removed from the disk too, and later lines start on a new line.
    if (this.behind) await this.rewrite();
  }

  async written(row) {
    const line = `${JSON.stringify(row)}\n`;
    try {
      if (!this.loaded) await this.load();
      else if (this.lines >= Math.max(SLACK * this.needed, LEAST)) await this.rewrite();
      else if (this.behind) await this.rewrite().catch(() => this.journal.append(`\n${line}`));
      else {
        this.behind = true; // until all of the line is there
        await this.journal.append(line);
        this.behind = false;
        this.lines++;
      }
      this.trouble = null;
      return true;
    } catch (error) {
      return this.fails(error);
    }
  }

  fails(error, lost = 1) {
    this.lost += lost;
    this.trouble = `the journal cannot be used (${error.message}); events are in memory only`;
    return false;
  }

  async rewrite() {
    const rows = [...this.events_.map((event) => ({ event })), ...this.lists_.map((list) => ({ list }))];
    this.behind = true;
    await this.journal.replace(rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
    [this.lines, this.behind, this.trouble] = [rows.length, false, null];
  }
}

/** A line's row; null where it is none of ours. */
function parsed(line) {
  try {
    const { event, list } = JSON.parse(line);
    if (isEvent(event)) return { event };
    return isList(list) ? { list } : null;
  } catch {
    return null;
  }
}

/** Whether a damaged line may have been ours: cut off, of zeros, or with some other characters at its start. */
function looksLikeOurs(line) {
  if (line === "") return false;
  if (/^\0+$/.test(line)) return true;
  return STARTS.some((start) => {
    const whole = start.slice(0, line.length);
    return [...whole].filter((c, i) => c !== line[i]).length <= whole.length / 4;
  });
}
