/** Titles and prices as people read them, and texts as the search compares them. */

/** Small words stay small inside a title, in the languages of the page. */
const SMALL = new Set("a an and as at by de der des die du e el en et for from in la le les mit no of on or the to und von with y".split(" "));

/** A title that was typed in capitals in readable case, without double spaces and a full stop at its end. */
export function readable(title, language) {
  const clean = title.replace(/\s+/g, " ").trim().replace(/(?<!\.)\.$/, "");
  if (clean.toLocaleUpperCase(language) !== clean || clean.toLocaleLowerCase(language) === clean) return clean;
  return clean.replace(/[\p{L}\p{M}\p{N}'’]+/gu, (word, at) => {
    const low = word.toLocaleLowerCase(language);
    if (at > 0 && SMALL.has(low)) return low;
    return low.replace(/^['’]*\p{L}/u, (first) => first.toLocaleUpperCase(language));
  });
}

/** A text with a capital at its beginning. */
export function capital(text, language) {
  return text.replace(/^\p{L}/u, (first) => first.toLocaleUpperCase(language));
}

/** Writes prices in a currency and language; "" for what is no number. A currency that there is not, or null, is left out. */
export function pricer(language, currency) {
  let format;
  try {
    format = new Intl.NumberFormat(language, { style: "currency", currency: currency ?? "" });
  } catch {
    format = new Intl.NumberFormat(language, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  }
  return (value) => (typeof value === "number" && Number.isFinite(value) ? format.format(value) : "");
}

/** Lower case without accents. */
export function plain(text) {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
}

/** The words of a text, plain and in the singular where a word looks like an English plural. */
export function wordsIn(text) {
  return (plain(text).match(/[\p{L}\p{N}]+/gu) ?? []).map(singular);
}

export function singular(word) {
  if (word.length > 4 && word.endsWith("ies")) return `${word.slice(0, -3)}y`;
  if (word.length > 4 && /(?:ch|sh|ss|x|z)es$/.test(word)) return word.slice(0, -2);
  return word.length > 3 && /[^su]s$/.test(word) ? word.slice(0, -1) : word;
}
