import type { Asked, Filter, ObserveOptions, Recommendation, RecommendOptions, Recommender } from "./index.js";

interface Main {
  handle(channel: string, answer: (event: unknown, method: string, ...args: unknown[]) => unknown): void;
  removeHandler(channel: string): void;
}

interface Renderer {
  invoke(channel: string, ...args: unknown[]): Promise<unknown>;
}

/** What a page has: the calls of a `Recommender`; a list is an object, as arrays lose what hangs on them. */
export interface PageRecommender {
  recommend(
    k?: number,
    options?: RecommendOptions,
  ): Promise<{ items: Recommendation[]; whyFewer: Record<string, number>; listName: string | null }>;
  score(items: string[], options?: Asked): Promise<Recommendation[]>;
  similar(item: string, k?: number, options?: Filter): Promise<Recommendation[]>;
  observe(item: string, options?: ObserveOptions): Promise<boolean>;
  forget(): Promise<void>;
}

/** In the main process; gives what stops it. */
export declare function answerPages(ipcMain: Main, rec: Recommender): () => void;
/** In the preload script. */
export declare function askMain(ipcRenderer: Renderer): PageRecommender;
