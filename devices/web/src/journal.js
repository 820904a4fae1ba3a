/** Events and lists as lines of JSON in a file of the app, for platforms without IndexedDB. */
import { DataError } from "./errors.js";
import { MemoryStore } from "./store.js";

/** The file is rewritten once it has this many times the lines that are needed. */
const SLACK = 2;
const LEAST = 200;

/** Once `append` has returned true, the event survives a crash; a line that a crash cut off is left out. */
export class JournalStore extends MemoryStore {
  /**
   * @param {{read: () => Promise<string>, append: (text: string) => Promise<void>,
   *   replace: (text: string) => Promise<void>}} journal see `journalFile` of node.js and react-native.js
   */
  static async open(journal, bounds = {}) {
    const store = new JournalStore(bounds);
    store.journal = journal;
    store.last = Promise.resolve();
    let text;
    try {
      text = await journal.read();
    } catch (error) {
      throw new DataError(`the journal cannot be read (${error.message})`);
    }
    for (const line of text.split("\n")) store.take(line);
    // Lines that were cut off or exceed the bounds are removed from the disk too, and later lines start on a new line.
    if (store.lines !== store.needed || !/(^|\n)$/.test(text)) await store.rewrite();
    return store;
  }

  constructor(bounds) {
    super(bounds);
    this.lines = 0;
    /** Lines that could not be read when it was opened. */
    this.damaged = 0;
  }

  get needed() {
    return this.events_.length + this.lists_.length;
  }

  take(line) {
    if (line === "") return;
    this.lines++;
    try {
      const { event, list } = JSON.parse(line);
      if (event !== undefined) this.add(event);
      else if (list !== undefined) this.lists_.push(list);
      else this.damaged++;
    } catch {
      this.damaged++;
    }
  }

  async append(event) {
    if (!this.add(event)) return true;
    return this.keep({ event });
  }

  async show(list) {
    await super.show(list);
    await this.keep({ list });
  }

  async forget(profile) {
    await super.forget(profile);
    await this.inTurn(() => this.rewrite());
  }

  async close() {
    await this.last;
  }

  async keep(row) {
    try {
      await this.inTurn(async () => {
        if (this.lines >= Math.max(SLACK * this.needed, LEAST)) return this.rewrite();
        this.lines++;
        return this.journal.append(`${JSON.stringify(row)}\n`);
      });
      return true;
    } catch {
      return false;
    }
  }

  rewrite() {
    const rows = [...this.events_.map((event) => ({ event })), ...this.lists_.map((list) => ({ list }))];
    this.lines = rows.length;
    return this.journal.replace(rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  }

  /** One write after the other, whether or not the one before succeeded. */
  inTurn(work) {
    const mine = this.last.then(work);
    this.last = mine.catch(() => {});
    return mine;
  }
}
