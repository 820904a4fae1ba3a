import type { Bounds, MemoryStore } from "./index.js";

/** A text file of the app that only grows, but for `replace`. */
export interface Journal {
  /** All of it; "" where there is none yet. */
  read(): Promise<string>;
  append(text: string): Promise<void>;
  /** All at once: after a crash the old or the new text is there. */
  replace(text: string): Promise<void>;
}

export interface JournalStore extends MemoryStore {}
export declare class JournalStore {
  static open(journal: Journal, bounds?: Bounds): Promise<JournalStore>;
  /** Lines that could not be read when it was opened. */
  readonly damaged: number;
}
