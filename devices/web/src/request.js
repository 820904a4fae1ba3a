/** From events and context to the arrays that the graphs take, computed as in edgerec/tasks. */
import { BundleError } from "./errors.js";
import { MS_PER_DAY, MS_PER_HOUR } from "./units.js";

const SMOOTHING = 20;
const CLIP = 5;

/** @param {object} inputs "inputs" of manifest.json */
export class RequestEncoder {
  constructor(inputs, smoothing = SMOOTHING) {
    this.kinds = inputs.history.kinds;
    this.rates = this.kinds.map((kind) => inputs.past.rates[kind]);
    this.maxItems = inputs.history.max_items;
    this.smoothing = smoothing;
    const indexed = (columns, from) => columns.map((c) => ({ ...c, index: new Map(c.values.map((v, i) => [v, i + from])) }));
    this.categorical = indexed(inputs.categorical, 1);
    this.numeric = inputs.numeric;
    if (!this.rates.every((rate) => rate > 0 && rate < 1)) throw new BundleError("manifest.json: a rate that is none");
    this.multi = indexed(inputs.multi ?? [], 0);
    if (this.categorical.some((c) => c.source === "time"))
      this.clock = new Intl.DateTimeFormat("en-US", {
        timeZone: inputs.timezone, hour: "2-digit", hourCycle: "h23", weekday: "short",
      });
  }

  /** Names of the columns of "context" or "user". */
  columns(source) {
    const own = (column) => column.source === source;
    return [...this.categorical, ...this.numeric, ...this.multi].filter(own).map((column) => column.name);
  }

  /** Distinct past items in the order of their last event; events are {item: index, kind: bits, time: ms}. */
  past(events) {
    const by = new Map();
    for (const { item, kind, time } of events) {
      const row = by.get(item);
      if (row === undefined) by.set(item, { item, kind, count: 1, first: time, last: time });
      else {
        row.kind |= kind;
        row.count++;
        row.first = Math.min(row.first, time);
        row.last = Math.max(row.last, time);
      }
    }
    const items = [...by.values()].sort((a, b) => a.last - b.last || a.item - b.item);
    return { items: items.slice(Math.max(items.length - this.maxItems, 0)), sums: this.sums(events) };
  }

  sums(events) {
    const times = events.map((e) => e.time).sort((a, b) => a - b);
    return {
      events: times.length,
      sessions: times.filter((t, i) => i === 0 || t !== times[i - 1]).length,
      first: times[0] ?? 0,
      last: times.at(-1) ?? 0,
      positives: this.kinds.map((_, b) => events.reduce((n, e) => n + ((e.kind >> b) & 1), 0)),
    };
  }

  /** The user's own past as numbers of about unit size; zeros without events. */
  numbers({ events, sessions, first, last, positives }, now) {
    const gap = (last - first) / MS_PER_DAY / Math.max(sessions - 1, 1);
    const since = (from, unit) => (events > 0 ? Math.max(now - from, 0) / unit : 0);
    const numbers = [
      Math.log1p(events),
      Math.log1p(sessions),
      Math.log1p(since(last, MS_PER_DAY)),
      Math.log1p(since(first, MS_PER_DAY)),
      Math.log1p(gap),
      Math.log1p(since(last, MS_PER_DAY * (gap + 1))),
    ];
    this.rates.forEach((rate, b) => {
      const smoothed = (positives[b] + this.smoothing * rate) / (events + this.smoothing);
      numbers.push(Math.log(smoothed / (1 - smoothed)) - Math.log(rate / (1 - rate)), Math.log1p(positives[b]));
    });
    return numbers;
  }

  /** All arrays by the names of the graph's inputs; whole numbers in plain ones. */
  encode(past, now, values) {
    const { items, sums } = past;
    const gap = (h) => (h.last - h.first) / MS_PER_HOUR / Math.max(h.count - 1, 1);
    return {
      history: items.map((h) => h.item),
      history_kind: items.map((h) => h.kind),
      history_count: Float32Array.from(items, (h) => h.count),
      history_age_h: Float32Array.from(items, (h) => Math.max(now - h.last, 0) / MS_PER_HOUR),
      history_interval_h: Float32Array.from(items, gap),
      context_categorical: this.categories(values, now),
      context_numeric: Float32Array.from([
        ...this.numbers(sums, now), ...this.numeric.map((n) => standard(n, values)), ...this.multi.flatMap((c) => shares(c, values)),
      ]),
    };
  }

  categories(values, now) {
    const clock = this.clock ? this.local(now) : {};
    return this.categorical.map((column) => {
      if (column.source === "time") return clock[column.name] + 1;
      const value = values[column.name];
      if (value === undefined || value === null) return 0;
      return column.index.get(String(value)) ?? column.index.get(spelled(String(value))) ?? 0;
    });
  }

  /** Hour and weekday; every clock on earth is a whole number of quarters of an hour from UTC. */
  local(now) {
    const quarter = Math.floor(now / (MS_PER_HOUR / 4));
    if (quarter !== this.quarter) {
      const { hour, weekday } = Object.fromEntries(this.clock.formatToParts(now).map((p) => [p.type, p.value]));
      this.here = { hour: Number(hour), weekday: "MonTueWedThuFriSatSun".indexOf(weekday) / 3 };
      this.quarter = quarter;
    }
    return this.here;
  }
}

function standard({ name, mean, std }, values) {
  const scaled = (Number(values[name] ?? NaN) - mean) / std;
  return Number.isFinite(scaled) ? Math.min(Math.max(scaled, -CLIP), CLIP) : 0;
}

/** For each value of a column with several in a cell: 1 over the known values that are given, or 0. */
function shares({ name, separator, index }, values) {
  const held = partsOf(values[name], separator).filter((part) => index.has(part)).map((part) => index.get(part));
  const row = new Array(index.size).fill(0);
  for (const place of held) row[place] = 1 / held.length;
  return row;
}

/** The different values in a cell, by the rule of edgerec/tasks/parts.py: a list, a list as text, or pieces of a text. */
export function partsOf(value, separator) {
  let given = value instanceof Set ? [...value] : Array.isArray(value) ? value : [value ?? ""];
  if (typeof value === "string") {
    const text = value.trim();
    const bare = (part) => part.trim().replace(/^['"]+|['"]+$/g, "");
    given = text.startsWith("[") && text.endsWith("]") ? text.slice(1, -1).split(",").map(bare) : text.split(separator);
  }
  const texts = given.filter((v) => v !== null && v !== undefined && !Number.isNaN(v)).map((v) => spelled(String(v).trim()));
  return [...new Set(texts.filter((text) => text !== ""))];
}

/** Text as vocabularies spell it: a whole number without a decimal point, true and false in lower case. */
function spelled(text) {
  const lower = text.trim().toLowerCase();
  return lower === "true" || lower === "false" ? lower : text.replace(/^(-?(?:0|[1-9][0-9]*))\.0+$/, "$1");
}

/** Items with their places in the flat outputs of an engine: utility, probability (by task), reason (by past item). */
export function ranked(items, outputs) {
  return items.map((item, place) => ({ item, utility: outputs.utility[place], place, outputs }));
}
