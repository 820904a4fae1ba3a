/** Types of the edgerec runtime; the names are Python's, in camel case. */

/** What `ort` must be: onnxruntime-react-native, onnxruntime-web or onnxruntime-node. */
export interface Onnxruntime {
  InferenceSession: { create(model: Uint8Array, options?: object): Promise<unknown> };
  Tensor: unknown;
}

/** Gives the bytes of a bundle's file. */
export type Read = (name: string, most?: number) => Promise<Uint8Array>;
/** The part of WebCrypto that is used. */
export interface WebCrypto {
  subtle: { digest(name: string, data: Uint8Array): Promise<ArrayBuffer> };
  randomUUID(): string;
}

export type Value = string | number | boolean | null;

export interface PastEvent {
  item: string;
  /** "event", or binary tasks such as "click+like". */
  kind?: string;
  /** Milliseconds since 1970 UTC. */
  time: number;
}

export interface RequestOptions {
  /** How much each task counts; the bundle's defaults if left out. */
  weights?: Record<string, number>;
  context?: Record<string, Value>;
  user?: Record<string, Value | Value[]>;
  now?: number;
  /** Used instead of the stored events. */
  history?: PastEvent[];
  explain?: boolean;
}

export interface Filter {
  /** A condition over the catalogue's columns, such as "price < :most". */
  where?: string;
  parameters?: Record<string, Value>;
  exclude?: string[];
}

export interface RecommendOptions extends RequestOptions, Filter {
  /** From 0, the best items, to 1, items that differ from each other. */
  diversity?: number;
  /** Store the list, for `observe`, caps and evaluation. */
  log?: boolean;
}

export interface Reason {
  kind: "again" | "history" | "popular";
  item: string | null;
  title: string | null;
  weight: number;
}

export interface Recommendation {
  item: string;
  title: string;
  utility: number;
  probability: Record<string, number>;
  reasons: Reason[];
  readonly attributes: Record<string, string | number | string[] | null>;
}

export interface Recommendations extends Array<Recommendation> {
  /** Empty when k items came back; otherwise the catalogue's size and how many items each cause removed. */
  whyFewer: Record<string, number>;
  /** For `observe`; null if the list was not logged. */
  listName: string | null;
}

export interface Store {
  append(event: object): Promise<boolean>;
  events(profile: string): Promise<PastEvent[]>;
  /** False if the disk did not take it. */
  show(list: object): Promise<boolean>;
  shown(profile: string, since: number): Promise<{ items: string[] }[]>;
  forget(profile: string): Promise<void>;
  health?(): Promise<StoreHealth>;
  close(): Promise<void>;
}

export interface StoreHealth {
  events: number;
  lists: number;
  /** Writes that the disk did not take. */
  lost: number;
  /** Rows of the disk that could not be read, and were left out. */
  damaged: number;
  /** Why events are in memory only; null if they are not. */
  trouble: string | null;
}

export interface Health extends Partial<StoreHealth> {
  /** Name and version. */
  bundle: string;
  /** The engine's kernel, "wasm-simd128" or "scalar"; or "onnxruntime". */
  engine: string;
}

export interface Bounds {
  rows?: number;
  days?: number | null;
}

export interface ObserveOptions {
  kind?: string;
  time?: number;
  context?: Record<string, Value>;
  /** The app's own id: an event that is reported twice counts once. */
  eventId?: string;
  listName?: string;
}

export declare class Recommender {
  static open(
    bundle: string | Read,
    options?: {
      /** Runs the bundle's ONNX graphs in place of the engine: where there is no WebAssembly, as in React Native. */
      ort?: Onnxruntime;
      store?: Store;
      /** 32 bytes of Ed25519; then only bundles signed with it are accepted. */
      publicKey?: Uint8Array;
      profile?: string;
      sessionOptions?: object;
      /** WebCrypto, where the platform has none of its own. */
      crypto?: WebCrypto;
    },
  ): Promise<Recommender>;
  readonly manifest: { name: string; version: number; n_items: number; [key: string]: unknown };
  readonly tasks: string[];
  profile(name: string): Recommender;
  session(): Recommender;
  recommend(k?: number, options?: RecommendOptions): Promise<Recommendations>;
  score(items: string[], options?: RequestOptions): Promise<Recommendation[]>;
  similar(item: string, k?: number, options?: Filter): Promise<Recommendation[]>;
  observe(item: string, options?: ObserveOptions): Promise<boolean>;
  forget(): Promise<void>;
  update(bundle: string | Read): Promise<string>;
  check(): Promise<number>;
  health(): Promise<Health>;
  close(): Promise<void>;
}

export interface MemoryStore extends Store {}
export declare class MemoryStore {
  constructor(bounds?: Bounds);
}

export declare class IndexedStore extends MemoryStore {
  static open(name: string, bounds?: Bounds): Promise<IndexedStore>;
}

export declare class EdgerecError extends Error {}
export declare class BundleError extends EdgerecError {}
export declare class ConfigError extends EdgerecError {}
export declare class DataError extends EdgerecError {}
export declare function fromUrl(url: string): Read;
