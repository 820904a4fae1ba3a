import type { Bounds, MemoryStore } from "./index.js";

/** A text file of the app that only grows, except by `replace`. */
export interface Journal {
  /** The whole text; "" where there is no file yet. */
  read(): Promise<string>;
  append(text: string): Promise<void>;
  /** Replaces the text: after a crash the old or the new one is there. */
  replace(text: string): Promise<void>;
}

export interface JournalStore extends MemoryStore {}
export declare class JournalStore {
  static open(journal: Journal, bounds?: Bounds): Promise<JournalStore>;
  /** Lines that could not be read when it was opened. */
  readonly damaged: number;
}
