/** kiosk.json: read, checked key by key, and what the shop's colours are made of. */
import { edits } from "./search.js";

const text = { is: (v) => typeof v === "string" && v !== "", what: "a text" };
const orNone = (kind) => ({ is: (v) => v === null || kind.is(v), what: `${kind.what}, or null` });
const flag = { is: (v) => typeof v === "boolean", what: "true or false" };
const number = (least, most) => ({ is: (v) => typeof v === "number" && v >= least && v <= most, what: `a number from ${least} to ${most}` });
const each = (kind) => ({
  is: (v) => v !== null && typeof v === "object" && !Array.isArray(v) && Object.values(v).every(kind.is),
  what: `{"name": ${kind.what}, ...}`,
});
const texts = { is: (v) => Array.isArray(v) && v.every((one) => typeof one === "string"), what: "a list of texts" };
const currency = { is: (v) => typeof v === "string" && /^[A-Z]{3}$/.test(v), what: "three capital letters, such as GBP" };
const color = { is: (v) => text.is(v) || (Array.isArray(v) && v.length === 2 && v.every(text.is)), what: "a value, or [light, dark]" };

/** Each key and what it takes. */
const KEYS = {
  title: text, language: text, k: number(1, 200), diversity: number(0, 1), idle_s: number(0, 86_400), remember: flag,
  price: orNone(text), currency: orNone(currency), picture: orNone(text), category: orNone(text), new: orNone(text), sold_out: texts,
  events: each(orNone(text)), tasks: each(text), weights: each(number(-1e6, 1e6)), related: flag, theme: each(color), words: each(text),
  updates: orNone(text), update_s: number(1, 1e6), public_key: orNone(text),
};
/** The six variables of style.css that a shop may set. */
const THEME = { accent: "color", paper: "color", card: "color", ink: "color", radius: "border-radius", font: "font-family" };

/** What `edgerec embed web` wrote into the page: settings and the popular items, which need no other file. */
export function made() {
  return JSON.parse(document.getElementById("made").textContent);
}

/**
 * The settings of the shop; what cannot be read or is wrong has the value that it was made with, and a line in `trouble`.
 * @param {object} base @param {(line: string) => void} trouble
 */
export async function readSettings(base, trouble, url = "kiosk.json") {
  let own = {};
  try {
    const answer = await fetch(url);
    if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
    own = JSON.parse(await answer.text());
    if (own === null || typeof own !== "object" || Array.isArray(own)) throw new Error('expected {"title": ...}');
  } catch (error) {
    trouble(`kiosk.json: ${error.message}; the settings that the page was made with are in use`);
    own = {};
  }
  return checked(own, base, trouble);
}

export function checked(own, base, trouble) {
  const settings = { ...base };
  for (const [key, value] of Object.entries(own)) {
    const kind = Object.hasOwn(KEYS, key) ? KEYS[key] : null;
    if (kind === null) {
      const near = Object.keys(KEYS).find((known) => edits(key, known, 2) <= 2);
      trouble(`kiosk.json: no key '${key.slice(0, 60)}'${near ? `; did you mean '${near}'?` : ""}`);
    } else if (kind.is(value)) settings[key] = value;
    else trouble(`kiosk.json: '${key}' must be ${kind.what}, got ${JSON.stringify(value).slice(0, 60)}; ${JSON.stringify(base[key])} is in use`);
  }
  return settings;
}

/** The shop's own colours as a style sheet over style.css; the text on the accent is black or white, whichever reads better. */
export function applyTheme(theme, trouble) {
  const [light, dark] = [[], []];
  for (const [name, value] of Object.entries(theme)) {
    const property = THEME[name];
    const [day, night] = Array.isArray(value) ? value : [value, value];
    if (property === undefined) trouble(`kiosk.json: theme has no '${name.slice(0, 60)}'; it has ${Object.keys(THEME).join(", ")}`);
    else if (![day, night].every((v) => CSS.supports(property, v) && !/[;{}]/.test(v)))
      trouble(`kiosk.json: theme: '${name}' is no ${property} of CSS: ${JSON.stringify(value).slice(0, 60)}`);
    else {
      light.push(`--${name}: ${day};`);
      dark.push(`--${name}: ${night};`);
      if (name === "accent") {
        light.push(`--on-accent: ${readableOn(day)};`);
        dark.push(`--on-accent: ${readableOn(night)};`);
      }
    }
  }
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`:root { ${light.join(" ")} } @media (prefers-color-scheme: dark) { :root { ${dark.join(" ")} } }`);
  document.adoptedStyleSheets = [sheet];
}

/** Black or white, by the contrast of WCAG 2. */
function readableOn(value) {
  const pixel = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d");
  pixel.fillStyle = value;
  pixel.fillRect(0, 0, 1, 1);
  const [r, g, b] = [...pixel.getImageData(0, 0, 1, 1).data].map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  const light = 0.2126 * r + 0.7152 * g + 0.0722 * b;
  return 1.05 / (light + 0.05) >= (light + 0.05) / 0.05 ? "#fff" : "#000";
}
