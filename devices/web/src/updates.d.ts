import type { Recommender } from "./index.js";

/** Like `Recommender.open`, with the newest bundle that holds: one taken by `take`, the one before, or `shipped`. */
export declare function openNewest(shipped: string, options: Parameters<typeof Recommender.open>[1]): Promise<Recommender>;
/** Takes a bundle from a folder of this origin; its name and version. */
export declare function take(rec: Recommender, url: string): Promise<string>;
