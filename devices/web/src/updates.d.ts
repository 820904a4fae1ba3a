import type { Recommender } from "./index.js";

/** Like `Recommender.open`, with the newest bundle that opens: one installed by `take`, the one before, or `shipped`. */
export declare function openNewest(shipped: string, options?: Parameters<typeof Recommender.open>[1]): Promise<Recommender>;
/** Installs a bundle from a folder of this origin; returns its name and version. */
export declare function take(rec: Recommender, url: string): Promise<string>;
