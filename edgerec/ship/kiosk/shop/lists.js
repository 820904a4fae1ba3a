/** The lists of the page: for the visitor, with an item, with the basket, and search by taste. */

/** Of related items that are asked about each item of the basket. */
const DEEP = 40;
/** Found items whose order the visitor's taste has a say in. */
const TASTED = 200;
/** Share of the taste in the order of what was found. */
const TASTE = 0.2;
/** Items that a shop calls popular by number. */
const RANKED = 100;

/** Ids that no list shows. */
function left({ visit, goods }) {
  return [...visit.basket.keys(), ...visit.items("dismiss"), ...goods.gone];
}

/**
 * The list for the visitor. What was looked at keeps the place that it had without the look: a look tells what else might
 * please, and is no reason to show the same again.
 */
export async function forYou(shop, k) {
  const { rec, visit } = shop;
  const options = { weights: shop.weights(), diversity: shop.diversity(), explain: true };
  const exclude = left(shop);
  const before = await rec.recommend(k, { ...options, exclude, history: visit.history(["basket", "buy", "dismiss"]) });
  const looked = new Set(visit.items("view"));
  if (!looked.size) return before;
  const others = await rec.recommend(k, { ...options, exclude: [...exclude, ...looked], history: visit.history() });
  const list = [...others];
  for (const [at, item] of before.entries()) if (looked.has(item.item)) list.splice(at, 0, item);
  return list.slice(0, k);
}

/** The shop's favourites, without any visitor's past. */
export async function popular({ rec, goods }) {
  return rec.recommend(RANKED, { history: [], exclude: goods.gone });
}

/** What goes with an item. */
export async function related(shop, id, k) {
  if (!shop.rec || !shop.settings.related) return [];
  const { visit, goods } = shop;
  return shop.rec.similar(id, k, { exclude: [...visit.basket.keys(), ...visit.items("dismiss"), ...goods.gone] });
}

/** What goes with all that lies in the basket: related items of each, by their places in these lists together. */
export async function withBasket(shop, k) {
  const ids = [...shop.visit.basket.keys()].filter((id) => shop.goods.get(id));
  const lists = await Promise.all(ids.map((id) => related(shop, id, DEEP)));
  const sums = new Map();
  for (const [n, list] of lists.entries())
    for (const [at, item] of list.entries()) {
      const sum = sums.get(item.item) ?? { item, value: 0, best: 0, cause: null };
      const value = 1 / (10 + at);
      sum.value += value;
      if (value > sum.best) [sum.best, sum.cause] = [value, ids[n]];
      sums.set(item.item, sum);
    }
  const best = [...sums.values()].sort((a, b) => b.value - a.value).slice(0, k);
  return best.map(({ item, cause }) => ({ ...item, attributes: item.attributes, cause }));
}

/** What was found, by its text and by the visitor's taste. */
export async function byTaste(shop, found) {
  const { rec, goods, visit } = shop;
  const items = found.map(({ item, score }) => ({ ...goods.all[item], attributes: goods.all[item].attributes, score }));
  const hidden = new Set(visit.items("dismiss"));
  const shown = items.filter((item) => !hidden.has(item.item));
  const first = shown.slice(0, TASTED);
  if (rec && first.length > 1) {
    const scored = await rec.score(first.map((item) => item.item), { weights: shop.weights(), history: visit.history() });
    const order = scored.map((s, i) => [s.utility, i]).sort((a, b) => b[0] - a[0]);
    for (const [place, [, i]] of order.entries()) first[i].score += TASTE * (1 - place / order.length);
    first.sort((a, b) => b.score - a.score);
  }
  return [...first, ...shown.slice(TASTED)];
}
