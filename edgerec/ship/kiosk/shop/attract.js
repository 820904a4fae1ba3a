/** The screen that attracts: a moving band of popular items. */
import { card } from "./cards.js";

const at = (id) => document.getElementById(id);
const PARADE = 12;

export function attract(shop, popular) {
  if (at("attract").open) return;
  const items = popular.filter((item) => shop.goods.get(item.item)).slice(0, PARADE);
  const shown = { ...shop, add: undefined, hide: undefined };
  // Twice, so that the end of the band is its beginning.
  at("parade").replaceChildren(...[...items, ...items].map((item) => card(shown, item)));
  at("attract").showModal();
}
