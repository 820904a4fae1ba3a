import type { Read } from "./index.js";
import type { Journal } from "./journal.js";

/** The part of react-native-fs that is used. */
export interface Files {
  exists(path: string): Promise<boolean>;
  stat(path: string): Promise<{ size: number }>;
  readFile(path: string, encoding: string): Promise<string>;
  writeFile(path: string, text: string, encoding: string): Promise<void>;
  appendFile(path: string, text: string, encoding: string): Promise<void>;
  unlink(path: string): Promise<void>;
  moveFile(from: string, to: string): Promise<void>;
}

export declare function fromFolder(fs: Pick<Files, "readFile" | "stat">, folder: string): Read;
export declare function journalFile(fs: Files, path: string): Journal;
