/** The page of one item. */
import { make, skeletons } from "./cards.js";
import { SHORT, fill } from "./fill.js";
import { related } from "./lists.js";
import { capital, plain } from "./titles.js";

const at = (id) => document.getElementById(id);

export async function showItem(shop, current, id) {
  const item = shop.goods.get(id);
  at("item-add").disabled = at("item-hide").disabled = item === undefined;
  if (item === undefined) {
    at("item-title").textContent = shop.words.gone;
    for (const part of ["item-picture", "item-price", "facts"]) at(part).replaceChildren();
    at("related-section").hidden = true;
    return;
  }
  const title = shop.goods.title(item);
  at("item-title").textContent = title;
  at("item-price").textContent = shop.price(item);
  at("item-picture").replaceChildren(shop.picture(item, title, shop.goods.categories(item)[0]));
  at("item-add").onclick = () => shop.add(item);
  at("item-hide").onclick = () => shop.hide(item);
  const facts = factsOf(shop, item, title).flatMap(([name, value]) => [make("dt", { textContent: name }), make("dd", { textContent: value })]);
  at("facts").replaceChildren(...facts);
  at("related-section").hidden = !shop.settings.related || at("notice").dataset.broken === "true";
  if (!shop.rec) {
    at("related").replaceChildren(...skeletons(6));
    return;
  }
  const list = await related(shop, id, SHORT);
  if (!current()) return;
  at("related-section").hidden = !list.length;
  await fill(shop, at("related"), list, current);
}

/** Attributes that say something, with their names: not the title again, nor price and picture. */
export function factsOf({ settings, code }, item, title) {
  const known = [settings.price, settings.picture];
  const words = (text) => (plain(text).match(/[\p{L}\p{N}]+/gu) ?? []).join(" ");
  const said = [words(item.title), words(title)];
  const shown = (value) => {
    if (Array.isArray(value)) return value.map((one) => capital(one, code)).join(", ");
    return typeof value === "number" ? new Intl.NumberFormat(code).format(value) : capital(String(value), code);
  };
  return Object.entries(item.attributes ?? {})
    .filter(([name, value]) => !known.includes(name) && value !== null && !said.includes(words(String(value))))
    .map(([name, value]) => [capital(name.replace(/_+/g, " ").trim(), code), shown(value)]);
}
