/** Fills a list with cards of items that are on sale, each with its reason and badge. */
import { card } from "./cards.js";
import { badgeOf, reasonsOf } from "./reasons.js";

/** Cards of a short list: full rows of two, three, four and six. */
export const SHORT = 12;

/** @param {() => boolean} current whether the list is still wanted once its reasons are found */
export async function fill(shop, list, items, current = () => true) {
  const known = items.filter((item) => shop.goods.get(item.item));
  const reasons = shop.rec ? await reasonsOf(shop, known) : known.map(() => "");
  if (!current()) return;
  list.replaceChildren(...known.map((item, i) => card(shop, item, { why: reasons[i], badge: badgeOf(shop, item) })));
}
