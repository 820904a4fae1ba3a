/** Events and lists of the users of this device: in memory, or in IndexedDB with the policy's bounds. */
import { DataError } from "./errors.js";
import { MS_PER_DAY } from "./units.js";

/** A clock is believed about a time from which it has run on for a day, in steps of at most 32 days. */
const PAUSE = 32 * MS_PER_DAY;

/** Which time has certainly passed: no event is asked, since one from the future would make all others old. */
class Clock {
  sure = -Infinity;

  /** Whether more is sure than before. */
  read(at) {
    const ran = at - this.last;
    if (at === undefined || (ran >= 0 && ran < MS_PER_DAY)) return false;
    const more = ran > 0 && ran <= PAUSE && this.last > this.sure;
    if (more) this.sure = this.last;
    this.last = at;
    return more;
  }
}

/** A store without a disk. */
export class MemoryStore {
  constructor(bounds = {}) {
    this.bounds = { rows: 10_000, days: null, ...bounds };
    this.events_ = [];
    this.lists_ = [];
    this.ids = new Set();
    this.clock = new Clock();
  }

  async append(event) {
    this.add(event);
    return true;
  }

  /** False for an event that is stored already. */
  add(event) {
    const id = event.eventId === undefined ? null : JSON.stringify([event.profile, event.eventId]);
    if (id !== null && this.ids.has(id)) return false;
    if (id !== null) this.ids.add(id);
    this.events_.push(event);
    if (this.events_.length > this.bounds.rows) this.events_.shift();
    if (this.bounds.days !== null && this.clock.read(event.at)) {
      const oldest = this.clock.sure - this.bounds.days * MS_PER_DAY;
      this.events_ = this.events_.filter((e) => e.time >= oldest);
      this.lists_ = this.lists_.filter((l) => l.time >= oldest);
    }
    return true;
  }

  async events(profile) {
    return this.events_.filter((e) => e.profile === profile);
  }

  async show(list) {
    this.lists_.push(list);
    if (this.lists_.length > this.bounds.rows) this.lists_.shift();
  }

  async shown(profile, since) {
    return this.lists_.filter((l) => l.profile === profile && l.time >= since);
  }

  async forget(profile) {
    this.events_ = this.events_.filter((e) => e.profile !== profile);
    this.lists_ = this.lists_.filter((l) => l.profile !== profile);
    this.ids = new Set([...this.ids].filter((id) => JSON.parse(id)[0] !== profile));
  }

  async close() {}
}

/** The same in IndexedDB: an event is there after a crash once `append` has answered. */
export class IndexedStore {
  /** @param {string} name of the database */
  static async open(name, bounds = {}, indexedDB = globalThis.indexedDB) {
    const db = await new Promise((resolve, reject) => {
      const request = indexedDB.open(name, 1);
      request.onupgradeneeded = () => {
        const events = request.result.createObjectStore("events", { keyPath: "number", autoIncrement: true });
        events.createIndex("profile", "profile");
        events.createIndex("once", "once", { unique: true });
        request.result.createObjectStore("lists", { keyPath: "number", autoIncrement: true }).createIndex("profile", "profile");
      };
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(new DataError(`${name}: cannot be opened (${request.error?.message})`));
    });
    return new IndexedStore(db, bounds);
  }

  constructor(db, bounds) {
    this.db = db;
    this.bounds = { rows: 10_000, days: null, ...bounds };
  }

  async append(event) {
    const once = event.eventId === undefined ? {} : { once: JSON.stringify([event.profile, event.eventId]) };
    try {
      await this.write("events", (events) => {
        const added = events.add({ ...event, ...once });
        // The same event again: the transaction goes on without it.
        added.onerror = (e) => e.preventDefault();
        added.onsuccess = () => this.trim(events, added.result);
      });
      return true;
    } catch {
      return false;
    }
  }

  trim(events, newest) {
    const drop = (range) => {
      const request = events.openCursor(range);
      request.onsuccess = () => {
        request.result?.delete();
        request.result?.continue();
      };
    };
    if (newest > this.bounds.rows) drop(IDBKeyRange.upperBound(newest - this.bounds.rows));
    if (this.bounds.days !== null && newest % 64 === 1) {
      const request = events.getAll();
      request.onsuccess = () => {
        const clock = new Clock();
        for (const { at } of request.result) clock.read(at);
        const oldest = clock.sure - this.bounds.days * MS_PER_DAY;
        for (const { number, time } of request.result) if (time < oldest) events.delete(number);
      };
    }
  }

  events(profile) {
    return this.all("events", profile);
  }

  async show(list) {
    await this.write("lists", (lists) => {
      const added = lists.add(list);
      added.onsuccess = () => {
        if (added.result > this.bounds.rows) lists.delete(added.result - this.bounds.rows);
      };
    });
  }

  async shown(profile, since) {
    return (await this.all("lists", profile)).filter((l) => l.time >= since);
  }

  async forget(profile) {
    for (const name of ["events", "lists"])
      await this.write(name, (rows) => {
        const request = rows.index("profile").openCursor(IDBKeyRange.only(profile));
        request.onsuccess = () => {
          request.result?.delete();
          request.result?.continue();
        };
      });
  }

  async close() {
    this.db.close();
  }

  write(name, work) {
    return new Promise((resolve, reject) => {
      const transaction = this.db.transaction(name, "readwrite", { durability: "strict" });
      transaction.oncomplete = () => resolve();
      transaction.onabort = transaction.onerror = () => reject(transaction.error);
      work(transaction.objectStore(name));
    });
  }

  all(name, profile) {
    return new Promise((resolve, reject) => {
      const request = this.db.transaction(name).objectStore(name).index("profile").getAll(profile);
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(new DataError(`${name}: cannot be read (${request.error?.message})`));
    });
  }
}
