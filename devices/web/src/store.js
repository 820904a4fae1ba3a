/** Events and lists of the users of this device: in memory, or in IndexedDB with the policy's bounds. */
import { isName, isPlausible } from "./arguments.js";
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

/** Whether a row is an event that this module wrote: others may write to the same disk, and it may be damaged. */
export function isEvent(row) {
  const { profile, item, kind, time, eventId } = row ?? {};
  return [profile, item, kind, eventId ?? ""].every(isName) && isPlausible(time);
}

/** The same of a list. */
export function isList(row) {
  return isName(row?.profile) && isPlausible(row.time) && Array.isArray(row.items);
}

const idOf = ({ profile, eventId }) => (eventId == null ? null : JSON.stringify([profile, eventId]));

/** A store without a disk. */
export class MemoryStore {
  constructor(bounds = {}) {
    this.bounds = { rows: 10_000, days: null, ...bounds };
    this.events_ = [];
    this.lists_ = [];
    this.ids = new Set();
    this.clock = new Clock();
    this.last = Promise.resolve();
    /** Writes that the disk did not take; rows of the disk that were damaged; why rows are in memory only. */
    this.lost = 0;
    this.damaged = 0;
    this.trouble = null;
  }

  async append(event) {
    this.add(event);
    return true;
  }

  /** False for an event that is stored already. */
  add(event) {
    const id = idOf(event);
    if (id !== null && this.ids.has(id)) return false;
    if (id !== null) this.ids.add(id);
    this.events_.push(event);
    if (this.events_.length > this.bounds.rows) this.ids.delete(idOf(this.events_.shift()));
    if (this.bounds.days !== null && this.clock.read(event.at)) {
      const oldest = this.clock.sure - this.bounds.days * MS_PER_DAY;
      this.keep((e) => e.time >= oldest, (l) => l.time >= oldest);
    }
    return true;
  }

  keep(event, list) {
    this.events_ = this.events_.filter(event);
    this.lists_ = this.lists_.filter(list);
    this.ids = new Set(this.events_.map(idOf).filter((id) => id !== null));
  }

  async events(profile) {
    return this.events_.filter((e) => e.profile === profile);
  }

  async show(list) {
    this.lists_.push(list);
    if (this.lists_.length > this.bounds.rows) this.lists_.shift();
    return true;
  }

  async shown(profile, since) {
    return this.lists_.filter((l) => l.profile === profile && l.time >= since);
  }

  async forget(profile) {
    this.keep((e) => e.profile !== profile, (l) => l.profile !== profile);
  }

  async health() {
    const { lost, damaged, trouble } = this;
    return { events: this.events_.length, lists: this.lists_.length, lost, damaged, trouble };
  }

  async close() {}

  /** One after the other, whether or not the one before succeeded. */
  inTurn(work) {
    const mine = this.last.then(work);
    this.last = mine.catch(() => {});
    return mine;
  }
}

/**
 * The same in IndexedDB: an event is there after a crash once `append` has answered. Where the database cannot be used
 * (none, full, cleared by the user), events are in memory, and written with the next one that it takes.
 */
export class IndexedStore extends MemoryStore {
  /** @param {string} name of the database */
  static async open(name, bounds = {}, indexedDB = globalThis.indexedDB) {
    const store = new IndexedStore(bounds);
    Object.assign(store, { name, indexedDB, db: null });
    await store.connect().catch((error) => store.fails(error, 0));
    return store;
  }

  append(event) {
    return this.inTurn(() => this.added(event));
  }

  async added(event) {
    const { bounds } = this;
    this.add(event);
    const waiting = [...this.events_];
    try {
      await this.write((events, lists) => {
        for (const one of waiting) {
          const id = idOf(one);
          const added = events.add(id === null ? one : { ...one, once: id });
          added.onerror = (e) => {
            // The same event again: the transaction goes on without it. Any other error ends it.
            if (added.error.name === "ConstraintError") e.preventDefault();
          };
          added.onsuccess = () => trim(bounds, events, lists, added.result);
        }
      });
    } catch (error) {
      return this.fails(error);
    }
    const written = new Set(waiting);
    super.keep((e) => !written.has(e), () => true);
    return true;
  }

  events(profile) {
    return this.inTurn(async () => [...(await this.rows("events", profile, isEvent)), ...(await super.events(profile))]);
  }

  async show(list) {
    try {
      await this.write((_, lists) => {
        const added = lists.add(list);
        added.onsuccess = () => {
          if (added.result > this.bounds.rows) lists.delete(added.result - this.bounds.rows);
        };
      });
      return true;
    } catch (error) {
      return this.fails(error);
    }
  }

  async shown(profile, since) {
    return (await this.rows("lists", profile, isList)).filter((l) => l.time >= since);
  }

  forget(profile) {
    return this.inTurn(() => this.erased(profile));
  }

  async erased(profile) {
    await super.forget(profile);
    try {
      await this.write((...stores) => {
        for (const rows of stores) {
          const request = rows.index("profile").openCursor(profile);
          request.onsuccess = () => {
            request.result?.delete();
            request.result?.continue();
          };
        }
      });
    } catch (error) {
      this.fails(error, 0);
      throw new DataError(`${this.name}: erased from memory, but not from the disk (${this.trouble})`);
    }
  }

  async health() {
    const counted = await this.use("readonly", (...stores) => stores.map((rows) => rows.count())).catch(() => []);
    const [events = 0, lists = 0] = counted.map((request) => request.result);
    return { ...(await super.health()), events: events + this.events_.length, lists };
  }

  async close() {
    this.db?.close();
    this.db = null;
  }

  // Parts.

  fails(error, lost = 1) {
    this.lost += lost;
    this.trouble = `${error?.message ?? error}; events are in memory only`;
    return false;
  }

  async write(work) {
    await this.use("readwrite", work);
    this.trouble = null;
  }

  /** One transaction over events and lists; through a new connection where the one that was there is closed. */
  async use(mode, work) {
    for (const last of [false, true]) {
      const db = this.db ?? (await this.connect());
      try {
        return await new Promise((resolve, reject) => {
          const transaction = db.transaction(["events", "lists"], mode, { durability: "strict" });
          let made;
          transaction.oncomplete = () => resolve(made);
          transaction.onabort = () => reject(transaction.error ?? new Error("it was closed"));
          try {
            made = work(transaction.objectStore("events"), transaction.objectStore("lists"));
          } catch (error) {
            transaction.abort();
            throw error;
          }
        });
      } catch (error) {
        db.close();
        this.db = null;
        if (last || error?.name !== "InvalidStateError") throw error;
      }
    }
  }

  /** The rows of a user; none where they cannot be read, which is no reason to recommend nothing. */
  async rows(name, profile, valid) {
    try {
      const [request] = await this.use("readonly", (events, lists) => [
        (name === "events" ? events : lists).index("profile").getAll(profile),
      ]);
      return request.result.filter(valid);
    } catch (error) {
      this.fails(error, 0);
      return [];
    }
  }

  connect() {
    return new Promise((resolve, reject) => {
      if (!this.indexedDB) throw new Error("there is no IndexedDB here");
      const request = this.indexedDB.open(this.name, 1);
      request.onupgradeneeded = () => {
        for (const name of ["events", "lists"]) {
          const rows = request.result.createObjectStore(name, { keyPath: "number", autoIncrement: true });
          rows.createIndex("profile", "profile");
          if (name === "events") rows.createIndex("once", "once", { unique: true });
        }
      };
      request.onerror = () => reject(request.error);
      request.onsuccess = () => {
        const db = (this.db = request.result);
        const gone = () => {
          db.close();
          if (this.db === db) this.db = null;
        };
        // Cleared by the user, or by another page: nothing of ours stands in the way.
        [db.onclose, db.onversionchange] = [gone, gone];
        resolve(db);
      };
    });
  }
}

/** Within the bounds of a policy, after an event of this number. */
function trim(bounds, events, lists, newest) {
  if (newest > bounds.rows) events.delete(IDBKeyRange.upperBound(newest - bounds.rows));
  if (bounds.days === null || newest % 64 !== 1) return;
  const request = events.getAll();
  request.onsuccess = () => {
    const clock = new Clock();
    for (const { at } of request.result) clock.read(at);
    const oldest = clock.sure - bounds.days * MS_PER_DAY;
    for (const rows of [events, lists]) {
      const cursor = rows.openCursor();
      cursor.onsuccess = () => {
        if (cursor.result?.value.time < oldest) cursor.result.delete();
        cursor.result?.continue();
      };
    }
  };
}
