import type { Read } from "./index.js";
import type { Journal } from "./journal.js";

export declare function fromFolder(folder: string): Read;
export declare function journalFile(path: string): Journal;
