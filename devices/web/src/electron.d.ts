import type { Filter, ObserveOptions, Recommendation, RecommendOptions, Recommender, RequestOptions } from "./index.js";

interface Main {
  handle(channel: string, answer: (event: unknown, method: string, ...args: unknown[]) => unknown): void;
  removeHandler(channel: string): void;
}

interface Renderer {
  invoke(channel: string, ...args: unknown[]): Promise<unknown>;
}

/** The calls of a `Recommender` that a page has; a list is an object, since arrays lose their properties on the way. */
export interface PageRecommender {
  recommend(
    k?: number,
    options?: RecommendOptions,
  ): Promise<{ items: Recommendation[]; whyFewer: Record<string, number>; listName: string | null }>;
  score(items: string[], options?: RequestOptions): Promise<Recommendation[]>;
  similar(item: string, k?: number, options?: Filter): Promise<Recommendation[]>;
  observe(item: string, options?: ObserveOptions): Promise<boolean>;
  forget(): Promise<void>;
}

/** For the main process; returns a function that stops it. */
export declare function answerPages(ipcMain: Main, rec: Recommender): () => void;
/** For the preload script. */
export declare function askMain(ipcRenderer: Renderer): PageRecommender;
