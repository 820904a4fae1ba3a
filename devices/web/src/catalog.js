/** catalog.json: the items in columns, for platforms without SQLite. */
import { BundleError } from "./errors.js";

export class Catalog {
  /** @param {{format: number, id: string[], title: string[], unavailable: number[], columns: object[]}} value */
  constructor(value) {
    const lists = [value.id, value.title, value.unavailable, ...value.columns.flatMap((c) => [c.numbers ?? c.codes, ...(c.lists ?? [])])];
    const texts = [...value.id, ...value.columns.map((c) => c.name)];
    if (
      value.format !== 1 || !lists.every(Array.isArray) || !texts.every((text) => typeof text === "string") ||
      !value.unavailable.every((i) => Number.isInteger(i) && i >= 0 && i < value.id.length)
    )
      throw new BundleError("catalog.json: not of this format; build the bundle again");
    this.ids = value.id;
    this.titles = value.title;
    this.index = new Map(value.id.map((id, i) => [id, i]));
    const unavailable = new Set(value.unavailable);
    this.unavailable = value.unavailable;
    this.attributes_ = value.columns.map((c) => c.name);
    const column = ({ numbers, values, lists, codes }) => {
      if (lists !== undefined) return { kind: "list", at: (i) => lists[codes[i]] ?? null };
      if (values !== undefined) return { kind: "text", at: (i) => values[codes[i]] ?? null };
      return { kind: "number", at: (i) => numbers[i] ?? NaN };
    };
    this.columns = new Map([
      ["idx", { kind: "number", at: (i) => i }],
      ["id", { kind: "text", at: (i) => this.ids[i] }],
      ["title", { kind: "text", at: (i) => this.titles[i] }],
      ["available", { kind: "number", at: (i) => (unavailable.has(i) ? 0 : 1) }],
      ...value.columns.map((c) => [c.name, column(c)]),
    ]);
    this.groups_ = new Map();
  }

  get length() {
    return this.ids.length;
  }

  attributes(i) {
    const plain = (value) => (Number.isNaN(value) ? null : value);
    return Object.fromEntries(this.attributes_.map((name) => [name, plain(this.columns.get(name).at(i))]));
  }

  /** For each item the index of its value among a column's distinct values (-1 for none), and how many there are. */
  groups(name) {
    if (!this.groups_.has(name)) {
      const { at } = this.columns.get(name);
      const seen = new Map();
      const group = this.ids.map((_, i) => {
        const value = at(i);
        if (value === null || Number.isNaN(value)) return -1;
        if (!seen.has(value)) seen.set(value, seen.size);
        return seen.get(value);
      });
      this.groups_.set(name, { group, n: seen.size });
    }
    return this.groups_.get(name);
  }
}
