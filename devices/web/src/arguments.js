/** What a caller may give: times, ids, names; whatever else is given is refused in one line. */
import { ConfigError, DataError } from "./errors.js";
import { MS_PER_DAY } from "./units.js";

/** 1990: earlier times are seconds that were mistaken for milliseconds. */
const EARLIEST = 631_152_000_000;
/** 2100. */
export const LATEST = 4_102_444_800_000;
const MAX_NAME = 1024;
const MAX_TEXT = 4096;
const MAX_PARTS = 256;
export const MAX_WEIGHT = 1e9;
/** Half of a character, which cannot be written as UTF-8. */
const HALF = /\p{Cs}/u;

/** A value, for an error message. */
export function shown(value) {
  try {
    return String(value).slice(0, 60);
  } catch {
    return typeof value;
  }
}

/** Whether it is a time from 1990 to `latest`, in milliseconds since 1970 UTC. */
export function isPlausible(time, latest = LATEST) {
  return typeof time === "number" && time >= EARLIEST && time <= latest;
}

/** Milliseconds since 1970 UTC from 1990 to `latest`. */
export function plausible(what, time, latest = LATEST) {
  if (isPlausible(time, latest)) return Math.trunc(time);
  const ms = typeof time === "number" ? time : NaN;
  const why = isPlausible(ms * 1000, latest) ? "is in seconds" : ms > latest ? "is in the future" : "is no time from 1990 on";
  throw new ConfigError(`${what} ${shown(time)} ${why}; give milliseconds since 1970 UTC`);
}

/** The time of an event may be a day ahead of the device. */
export function ofEvent(time, now) {
  return plausible("time", time ?? now, now + MS_PER_DAY);
}

/** Whether it is a text that can be stored, and short enough to be read with every list. */
export function isName(value) {
  return typeof value === "string" && value.length <= MAX_NAME && !HALF.test(value);
}

export function itemId(item) {
  if (item && isName(item)) return item;
  throw new DataError(`an item is named by its id, a string of 1 to ${MAX_NAME} characters; got ${shown(item)}`);
}

/** Any collection of ids, as an array; one text is none. */
export function itemIds(what, items) {
  const ids = typeof items === "string" || typeof items?.[Symbol.iterator] !== "function" ? [null] : [...items];
  if (ids.every((id) => typeof id === "string")) return ids;
  throw new ConfigError(`${what} must be a list of ids, which are strings`);
}

export function name(what, value) {
  if (isName(value)) return value;
  throw new ConfigError(`${what} must be a string of at most ${MAX_NAME} characters`);
}

/** A number from `least` to `most`. */
export function number(what, value, least, most) {
  if (typeof value === "number" && value >= least && value <= most) return value;
  throw new ConfigError(`${what} must be a number between ${least} and ${most}, got ${shown(value)}`);
}

export function whole(what, value) {
  if (Number.isInteger(value) && value >= 1) return value;
  throw new ConfigError(`${what} must be a whole number of at least 1, got ${shown(value)}`);
}

/** Something by name; nothing where nothing is given. */
export function named(what, given) {
  if (given === undefined || given === null) return {};
  if (typeof given === "object" && !Array.isArray(given)) return given;
  throw new ConfigError(`${what} must be an object, such as {a: 1}; got ${shown(given)}`);
}

/** Values by name: texts, numbers, booleans, null; with `lists` also lists of these. */
export function values(what, given, lists = false) {
  for (const [key, value] of Object.entries(named(what, given))) {
    if (lists && Array.isArray(value) && value.length > MAX_PARTS)
      throw new ConfigError(`${what}: ${key.slice(0, 60)} has at most ${MAX_PARTS} values`);
    for (const part of lists && Array.isArray(value) ? value : [value])
      if (!(part == null || ["number", "boolean"].includes(typeof part) || (typeof part === "string" && part.length <= MAX_TEXT)))
        throw new ConfigError(`${what}: ${key.slice(0, 60)} must be a number, or a text of at most ${MAX_TEXT} characters`);
  }
  return given ?? {};
}

/** A user's events, as a caller gives them. */
export function history(events) {
  if (!Array.isArray(events)) throw new ConfigError("history must be a list of {item, kind, time}");
  for (const event of events) {
    plausible("history: time", named("history", event).time);
    name("history: kind", event.kind ?? "event");
  }
  return events;
}
