/** The basket, and the list for the till. */
import { basketLine, make } from "./cards.js";
import { SHORT, fill } from "./fill.js";
import { withBasket } from "./lists.js";

const at = (id) => document.getElementById(id);

function contents({ visit, goods }) {
  return [...visit.basket].map(([id, n]) => [goods.get(id), n]).filter(([item]) => item);
}

/** "" where an item has no price. */
function total({ settings, format }, rows) {
  return format(rows.reduce((sum, [item, n]) => sum + n * (item.attributes?.[settings.price] ?? NaN), 0));
}

function showTotal(id, sum) {
  at(id).hidden = sum === "";
  at(id).querySelector("strong").textContent = sum;
}

export function showCount({ visit }) {
  const n = [...visit.basket.values()].reduce((a, b) => a + b, 0);
  at("basket-count").textContent = String(n);
  at("basket-count").hidden = n === 0;
}

export async function showBasket(shop, current) {
  const { words } = shop;
  const rows = contents(shop);
  at("basket-full").hidden = rows.length === 0;
  at("basket-empty").hidden = rows.length > 0;
  at("lines").replaceChildren(...rows.map(([item, n]) => basketLine(shop, item, n)));
  showTotal("total", total(shop, rows));
  at("with-title").textContent = rows.length ? words.withBasket : words.popular;
  const list = !shop.rec ? [] : rows.length ? await withBasket(shop, SHORT) : shop.popular.slice(0, SHORT);
  if (!current()) return;
  at("with-title").hidden = !list.length;
  await fill(shop, at("with"), list, current);
}

/** The basket becomes the list for the till. */
export function order(shop) {
  const rows = contents(shop);
  at("bought").replaceChildren(...rows.map(([item, n]) => make("li", { textContent: `${n} × ${shop.goods.title(item)}` })));
  showTotal("bought-total", total(shop, rows));
  shop.visit.buy();
}

export function showThanks() {
  // Only `order` leads here; a page that is loaded again has no list to show.
  if (!at("bought").children.length) location.replace("#/");
}
