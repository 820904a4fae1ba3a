/** Client of `edgerec serve`, made from its OpenAPI document by `tools/docs --client`. Do not edit. */

/** A request that the service refused; `status` is HTTP's, the message is its one line. */
export class Refused extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** A past item's part in a utility. */
export interface ContributionOut {
  /** Its id. */
  item: string;
  /** Its title. */
  title: string;
  /** Its share, by the model's own account. */
  weight: number | null;
  /** What the utility loses without it. */
  lost: number | null;
}

/** Where an item's utility comes from. */
export interface ExplainRequest {
  /** The user whose stored events count; empty is the default one. */
  profile?: string;
  /** What each task counts; left out, the bundle's defaults. */
  weights?: Record<string, number> | null;
  /** Values of the log's context columns. */
  context?: Record<string, boolean | number | string | (boolean | number | string)[] | null>;
  /** Values of the log's user columns. */
  user?: Record<string, boolean | number | string | (boolean | number | string)[] | null>;
  /** Milliseconds since 1970 UTC; left out, the clock. */
  now?: number | null;
  /** In place of the stored events. */
  history?: PastEvent[] | null;
  /** Its id. */
  item: string;
}

/** ``popular + context + history = utility``. */
export interface ExplanationOut {
  /** Its id. */
  item: string;
  /** Its title. */
  title: string;
  /** What lists are sorted by. */
  utility: number | null;
  /** What the item has without any history or context. */
  popular: number | null;
  /** What the context adds. */
  context: number | null;
  /** What the history adds. */
  history: number | null;
  /** Past items, the strongest first. */
  past: ContributionOut[];
  /** The rule that keeps the item out of lists, if one does. */
  removed_by: string | null;
}

/** Whom to erase. */
export interface ForgetRequest {
  /** The user; empty is the default one. */
  profile: string;
}

/** The bundle in use, the size of the store, and what was lost. */
export interface HealthOut {
  /** Name and version of the bundle in use. */
  bundle: string;
  /** What runs the model. */
  engine: string;
  /** Updates that failed on this machine. */
  rolled_back: string[];
  /** Stored events, of all users. */
  events: number;
  /** Stored lists, of all users. */
  lists: number;
  /** Of the store on the disk. */
  bytes: number;
  /** Events and lists that the disk did not take. */
  lost: number;
  /** Files that were found damaged and set aside. */
  damaged: number;
  /** Events in memory that wait for another process to let go of the store. */
  waiting?: number;
  /** What was wrong with the file that was set aside since the start. */
  damage?: string | null;
  /** Why events are in memory only, where the store cannot be used. */
  trouble?: string | null;
}

/** One item. */
export interface ItemOut {
  /** Its id. */
  item: string;
  /** Its title in the catalogue. */
  title: string;
  /** What the list is sorted by. */
  utility: number | null;
  /** By task; of a regression task, the expected value in its unit. */
  probability: Record<string, number | null>;
  /** The catalogue's other columns. */
  attributes: Record<string, string | number | string[] | null>;
  /** Empty unless `explain` was asked for. */
  reasons: ReasonOut[];
}

/** A list of items, best first. */
export interface ListOut {
  /** Best first. */
  items: ItemOut[];
  /** Where fewer than k items are left: how many each rule removed. */
  why_fewer: Record<string, number>;
  /** For `list_name` of `POST /observe`, where the list was stored. */
  name: string | null;
  /** Name and version of the bundle. */
  bundle: string;
}

/** What a user did. */
export interface ObserveRequest {
  /** Its id; one that the catalogue lacks is stored for a later bundle. */
  item: string;
  /** Positive binary tasks, such as "click" or "click+like"; "event" for none. */
  kind?: string;
  /** Milliseconds since 1970 UTC; left out, the clock. */
  time?: number | null;
  /** Values of the log's context columns. */
  context?: Record<string, boolean | number | string | (boolean | number | string)[] | null>;
  /** The user; empty is the default one. */
  profile?: string;
  /** Of the app's own: an event that is reported again with the same id is one event. */
  event_id?: string | null;
  /** `name` of the list that it answers. */
  list_name?: string | null;
}

/** What became of an event. */
export interface ObservedOut {
  /** Whether it is on the disk. */
  stored: boolean;
}

/** One event of a history. */
export interface PastEvent {
  /** Its id. */
  item: string;
  /** Positive binary tasks, such as "click" or "click+like"; "event" for none. */
  kind?: string;
  /** Milliseconds since 1970 UTC. */
  time: number;
}

/** What is wrong with a request. */
export interface Problem {
  /** One line: what is wrong, and what was expected. */
  detail: string;
}

/** Why an item is recommended. */
export interface ReasonOut {
  /** One of "again" (the user had this very item), "history" and "popular". */
  kind: string;
  /** The item of the history. */
  item: string | null;
  /** Its title. */
  title: string | null;
  /** How much it added. */
  weight: number | null;
}

/** The best k items. */
export interface RecommendRequest {
  /** The user whose stored events count; empty is the default one. */
  profile?: string;
  /** What each task counts; left out, the bundle's defaults. */
  weights?: Record<string, number> | null;
  /** Values of the log's context columns. */
  context?: Record<string, boolean | number | string | (boolean | number | string)[] | null>;
  /** Values of the log's user columns. */
  user?: Record<string, boolean | number | string | (boolean | number | string)[] | null>;
  /** Milliseconds since 1970 UTC; left out, the clock. */
  now?: number | null;
  /** In place of the stored events. */
  history?: PastEvent[] | null;
  /** How many items. */
  k?: number;
  /** Condition over the catalogue's columns, such as `price < :most AND colour IN ('red', 'blue')`. */
  where?: string | null;
  /** Values of `:name` in `where`. */
  parameters?: Record<string, boolean | number | string | null>;
  /** Ids of items that must not be in the list. */
  exclude?: string[];
  /** From 0, the best items, to 1, items unlike each other; left out, the bundle's. */
  diversity?: number | null;
  /** Also give each item's `reasons`. */
  explain?: boolean;
  /** Store the list, so that `POST /observe` can answer it; left out, as the bundle's policy needs. */
  log?: boolean | null;
}

/** The given items. */
export interface ScoreRequest {
  /** The user whose stored events count; empty is the default one. */
  profile?: string;
  /** What each task counts; left out, the bundle's defaults. */
  weights?: Record<string, number> | null;
  /** Values of the log's context columns. */
  context?: Record<string, boolean | number | string | (boolean | number | string)[] | null>;
  /** Values of the log's user columns. */
  user?: Record<string, boolean | number | string | (boolean | number | string)[] | null>;
  /** Milliseconds since 1970 UTC; left out, the clock. */
  now?: number | null;
  /** In place of the stored events. */
  history?: PastEvent[] | null;
  /** Their ids; one that the catalogue lacks is refused. */
  items: string[];
  /** Also give each item's `reasons`. */
  explain?: boolean;
}

/** The given items. */
export interface ScoresOut {
  /** In the given order. */
  items: ItemOut[];
  /** Name and version of the bundle. */
  bundle: string;
}

/** What this service is. */
export interface ServiceOut {
  /** Always "edgerec". */
  service: string;
  /** Of edgerec. */
  version: string;
  /** Name and version of the bundle in use. */
  bundle: string;
  /** Where a person reads on; programs read /openapi.json. */
  docs: string;
  /** Method and path, and what the route does. */
  routes: Record<string, string>;
}

/** Items that go with one. */
export interface SimilarRequest {
  /** Its id. */
  item: string;
  /** How many items. */
  k?: number;
  /** Condition over the catalogue's columns. */
  where?: string | null;
  /** Values of `:name` in `where`. */
  parameters?: Record<string, boolean | number | string | null>;
  /** Ids of items that must not be in the list. */
  exclude?: string[];
}

export class Client {
  readonly #url: string;
  readonly #headers: Record<string, string>;

  /** `url`: such as http://localhost:8765; `token`: that of the service, if it has one. */
  constructor(url: string, token?: string) {
    this.#url = url.replace(/\/$/, "");
    this.#headers = token === undefined ? {} : { Authorization: `Bearer ${token}` };
  }

  async #call(method: string, path: string, body?: unknown): Promise<Response> {
    const headers = { ...this.#headers, Accept: "application/json", "Content-Type": "application/json" };
    const answer = await fetch(this.#url + path, {
      method,
      headers,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (answer.ok) return answer;
    const text = await answer.text();
    let detail = text;
    try {
      detail = (JSON.parse(text) as { detail: string }).detail;
    } catch {
      // a proxy's page, not the service's JSON
    }
    throw new Refused(answer.status, detail);
  }

  /** The best k items of the catalogue, by the bundle's policy. */
  async recommend(body: RecommendRequest): Promise<ListOut> {
    return (await (await this.#call("POST", `/recommend`, body)).json()) as ListOut;
  }

  /** The given items with their utility and probabilities. */
  async score(body: ScoreRequest): Promise<ScoresOut> {
    return (await (await this.#call("POST", `/score`, body)).json()) as ScoresOut;
  }

  /** Where an item's utility comes from. */
  async explain(body: ExplainRequest): Promise<ExplanationOut> {
    return (await (await this.#call("POST", `/explain`, body)).json()) as ExplanationOut;
  }

  /** The items that are most often in one session with an item, whatever characters its id has. */
  async similar_to(body: SimilarRequest): Promise<ListOut> {
    return (await (await this.#call("POST", `/similar`, body)).json()) as ListOut;
  }

  /** The items that are most often in one session with an item. Many clients shorten paths that hold "." or ".." between slashes; for such an id, use `POST /similar`. */
  async similar(item: string, k?: number, where?: string): Promise<ListOut> {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries({ k, where })) {
      if (value !== undefined) query.set(name, String(value));
    }
    return (await (await this.#call("GET", `/similar/${encodeURIComponent(item)}?${query}`)).json()) as ListOut;
  }

  /** Log what a user did; the event is on the disk when the answer is true. */
  async observe(body: ObserveRequest): Promise<ObservedOut> {
    return (await (await this.#call("POST", `/observe`, body)).json()) as ObservedOut;
  }

  /** Erase all that is stored of a user, whatever characters the name has. */
  async forget_profile(body: ForgetRequest): Promise<void> {
    await this.#call("POST", `/forget`, body);
  }

  /** Erase all that is stored of a user. Many clients shorten paths that hold "." or ".." between slashes; for such a name, use `POST /forget`. */
  async forget(profile: string): Promise<void> {
    await this.#call("DELETE", `/profiles/${encodeURIComponent(profile)}`);
  }

  /** What this is, and where all else is; a browser is led to the documentation. */
  async service(): Promise<ServiceOut> {
    return (await (await this.#call("GET", `/`)).json()) as ServiceOut;
  }

  /** The bundle in use, the size of the store, and what was lost. */
  async health(): Promise<HealthOut> {
    return (await (await this.#call("GET", `/health`)).json()) as HealthOut;
  }
}
