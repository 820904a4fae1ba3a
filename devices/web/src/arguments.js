/** What a caller may give: times, ids, names; whatever else is given is refused in one line. */
import { ConfigError, DataError } from "./errors.js";
import { MS_PER_DAY } from "./units.js";

/** 1990: earlier times are seconds that were mistaken for milliseconds. */
const EARLIEST = 631_152_000_000;
/** 2100. */
export const LATEST = 4_102_444_800_000;
const MAX_NAME = 1024;
const MAX_WEIGHT = 1e9;

/** Milliseconds since 1970 from 1990 to `latest`. */
export function plausible(what, time, latest = LATEST) {
  if (typeof time === "number" && time >= EARLIEST && time <= latest) return Math.trunc(time);
  const seconds = time * 1000 >= EARLIEST && time * 1000 <= latest;
  const why = seconds ? "is in seconds" : time > latest ? "is in the future" : "is no time from 1990 on";
  throw new ConfigError(`${what} ${time} ${why}; give milliseconds since 1970 UTC`);
}

/** The time of an event may be a day ahead of the device. */
export function ofEvent(time, now) {
  return plausible("time", time ?? now, now + MS_PER_DAY);
}

export function itemId(item) {
  if (typeof item === "string" && item && item.length <= MAX_NAME) return item;
  throw new DataError(`an item is named by its id, a string of 1 to ${MAX_NAME} characters; got ${String(item).slice(0, 60)}`);
}

/** Any collection of ids, as an array; one text is none. */
export function itemIds(what, items) {
  const ids = typeof items === "string" || typeof items?.[Symbol.iterator] !== "function" ? [null] : [...items];
  if (ids.every((id) => typeof id === "string")) return ids;
  throw new ConfigError(`${what} must be a list of ids, which are strings`);
}

export function name(what, value) {
  if (typeof value === "string" && value.length <= MAX_NAME) return value;
  throw new ConfigError(`${what} must be a string of at most ${MAX_NAME} characters`);
}

export function weight(what, value) {
  if (!(Math.abs(value) <= MAX_WEIGHT)) throw new ConfigError(`weights: ${what} must be a number of at most ${MAX_WEIGHT}, got ${value}`);
}
