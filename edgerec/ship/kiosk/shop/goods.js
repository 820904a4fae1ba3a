/** The shop's items, whether they come from the bundle or from the page itself, with what the page shows of them. */
import { readable, singular, wordsIn } from "./titles.js";

/** Chips at most. */
const CHIPS = 14;
/** Words that name no kind of item: sizes, colours, counts, numbers. */
const NO_KIND = new Set(
  ("set pack design style colour color small medium large mini big red blue green pink white black cream ivory purple yellow orange " +
    "brown grey gray gold silver gift assorted with and for the new piece pair size in of on " +
    "kleine kleiner grosse grosser rot blau gruen weiss schwarz petit grand rouge bleu blanc noir").split(" "),
);

export class Goods {
  /**
   * @param {{item: string, title: string, attributes: object, gone?: boolean}[]} items in the catalogue's order
   * @param {{language: string, category: string | null, sold_out: string[]}} settings
   */
  constructor(items, { language, category, sold_out: soldOut }) {
    this.column = category;
    const gone = new Set(soldOut);
    this.all = items.filter((item) => !item.gone && !gone.has(item.item));
    this.gone = [...gone];
    this.by = new Map(this.all.map((item) => [item.item, item]));
    this.titles = new Map();
    this.language = language;
  }

  get(id) {
    return this.by.get(id);
  }

  title(item) {
    if (!this.titles.has(item.item)) this.titles.set(item.item, readable(item.title, this.language) || item.item);
    return this.titles.get(item.item);
  }

  titleOf(id) {
    const item = this.by.get(id);
    return item === undefined ? null : this.title(item);
  }

  /** An item's categories: those of the column, else the word that says what it is. */
  categories(item) {
    if (this.column === null) return kindOf(item.title);
    const value = item.attributes?.[this.column];
    return (Array.isArray(value) ? value : [value]).filter((v) => typeof v === "string" && v !== "");
  }

  /** The largest categories, by name, with their items. */
  chips() {
    const groups = new Map();
    for (const item of this.all)
      for (const name of this.categories(item)) groups.set(name, [...(groups.get(name) ?? []), item]);
    const least = this.column === null ? Math.max(4, this.all.length / 500) : 1;
    const large = [...groups].filter(([, items]) => items.length >= least && items.length < 0.9 * this.all.length);
    return new Map(large.sort((a, b) => b[1].length - a[1].length).slice(0, CHIPS));
  }
}

/** "CREAM HEART CARD HOLDER" is a holder. */
function kindOf(title) {
  const main = title.split(/\b(?:with|in|of|for|on|mit|avec|con)\b|[,(]/i)[0];
  const words = (wordsIn(main).length ? wordsIn(main) : wordsIn(title)).filter((w) => /^\p{L}{3,}$/u.test(w) && !NO_KIND.has(singular(w)));
  return words.length ? [words.at(-1)] : [];
}
