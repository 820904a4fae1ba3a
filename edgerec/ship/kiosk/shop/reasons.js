/** One short reason for each card, another for each, and its badge. */
import { related } from "./lists.js";
import { capital } from "./titles.js";
import { filled } from "./words.js";

const BESTSELLERS = 5;
/** A place in the shop beyond this one says little. */
const HIGH = 20;
/** Things that the visitor did last, and what goes with each of them. */
const [CAUSES, NEAR] = [12, 60];
const NEW_DAYS = 60;
/** Items that another one may be named with. */
const TOGETHER = 4;

/** @param {object[]} list items with `reasons`; gives their texts in the list's order, "" where there is none of its own */
export async function reasonsOf(shop, list) {
  const used = new Set();
  const texts = [];
  const near = await relatedToVisit(shop);
  for (const item of list) {
    let text = known(shop, item, near).find((one) => !used.has(one)) ?? "";
    if (text === "") text = (await others(shop, item)).find((one) => !used.has(one)) ?? "";
    used.add(text);
    texts.push(text);
  }
  return texts;
}

/** What can be said where nothing else can: another item, a place further down. */
async function others(shop, item) {
  const { words, goods, ranks } = shop;
  const near = await related(shop, item.item, TOGETHER);
  const titles = near.map((other) => goods.titleOf(other.item)).filter((title) => title);
  const rank = ranks.get(item.item);
  const [first, ...more] = titles.map((title) => filled(words.together, { title }));
  return [...(first ? [first] : []), ...(rank > BESTSELLERS ? [filled(words.rank, { n: rank })] : []), ...more];
}

/** For what the visitor did last, the ids of what goes with it: no card names a cause that people would not see. */
async function relatedToVisit(shop) {
  const { rec, visit, settings } = shop;
  if (!settings.related) return null;
  const ids = [...new Set([...visit.basket.keys(), ...visit.items("view"), ...visit.items("buy")])].filter((id) => shop.goods.get(id));
  const found = await Promise.all(ids.slice(0, CAUSES).map(async (id) => [id, new Set((await rec.similar(id, NEAR)).map((item) => item.item))]));
  return new Map(found);
}

/** The reasons that are known of an item, the strongest first. */
function known({ words, visit, goods, ranks, inCategory }, item, near) {
  const texts = [];
  const of = (id) => (visit.basket.has(id) ? words.becauseBasket : visit.items("buy").includes(id) ? words.becauseBought : words.becauseLooked);
  const because = (id) => {
    const title = id === item.item ? null : goods.titleOf(id);
    if (title) texts.push(filled(of(id), { title }));
  };
  if (item.cause) because(item.cause);
  for (const reason of item.reasons ?? []) if (reason.kind === "history" && (near === null || near.get(reason.item)?.has(item.item))) because(reason.item);
  const rank = ranks.get(item.item);
  const own = inCategory.get(item.item);
  if (rank > BESTSELLERS && rank <= HIGH) texts.push(filled(words.rank, { n: rank }));
  if (own && own.n <= HIGH) texts.push(filled(words.rankIn, { n: own.n, name: capital(own.name, goods.language) }));
  return texts;
}

/** Places in the shop, and in a category of the catalogue where it has one. */
export function rankings(goods, popular) {
  const ranks = new Map(popular.map((item, i) => [item.item, i + 1]));
  const counts = new Map();
  const inCategory = new Map();
  for (const { item } of goods.column === null ? [] : popular) {
    const [name] = goods.by.has(item) ? goods.categories(goods.get(item)) : [];
    if (name === undefined) continue;
    counts.set(name, (counts.get(name) ?? 0) + 1);
    inCategory.set(item, { n: counts.get(name), name });
  }
  return { ranks, inCategory };
}

/** The text of an item's badge, or null. */
export function badgeOf({ words, visit, settings, ranks }, item) {
  if (visit.items("buy").includes(item.item)) return words.bought;
  if (settings.new !== null && isNew(item.attributes?.[settings.new])) return words.new;
  return (ranks.get(item.item) ?? Infinity) <= BESTSELLERS ? words.bestseller : null;
}

/** A mark (1, true), or a date of the last weeks. */
function isNew(value) {
  if (value === 1 || value === true || /^(true|yes|1)$/i.test(value ?? "")) return true;
  const time = typeof value === "string" ? Date.parse(value) : NaN;
  return Number.isFinite(time) && Date.now() - time < NEW_DAYS * 86_400_000;
}
