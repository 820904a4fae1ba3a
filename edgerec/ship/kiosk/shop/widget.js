/**
 * <edgerec-list>: a list of recommendations for a page that already exists; see devices/web/examples/shop-page.html.
 * Attributes: bundle (URL; needed), layout (grid, carousel), because (an item's id: what goes with it), search (a search box), k,
 * heading, href (with {id}), language, price (column), currency, picture (column), remember. A tapped item is an event
 * "edgerec-pick" with detail {item, title}; `element.put(item)` and `element.hide(item)` tell what a visitor did.
 */
import { card, make, skeletons } from "./cards.js";
import { Goods } from "./goods.js";
import { byTaste, forYou, popular, related } from "./lists.js";
import { pictureOf } from "./pictures.js";
import { badgeOf, rankings, reasonsOf } from "./reasons.js";
import { Search } from "./search.js";
import { pricer } from "./titles.js";
import { Visit } from "./visit.js";
import { filled, wordsOf } from "./words.js";

/** Lists of one bundle on one page share it, and what the visitor does. */
const shops = new Map();

async function open(url, remember) {
  const { openShipped } = await import("./recommender.js");
  const rec = await openShipped(url);
  const kind = (what) => rec.manifest.inputs.history.kinds.find((name) => name.includes(what)) ?? "event";
  const events = { view: kind("click"), basket: kind("like"), buy: "event", dismiss: null };
  const { catalog } = rec.home.model;
  const gone = new Set(catalog.unavailable);
  const items = catalog.ids.map((item, i) => ({ item, title: catalog.titles[i], gone: gone.has(i), get attributes() { return catalog.attributes(i); } }));
  return { rec, items, visit: new Visit(events, remember), lists: new Set(), last: Promise.resolve() };
}

class EdgerecList extends HTMLElement {
  static observedAttributes = ["because", "layout", "k", "heading"];

  connectedCallback() {
    this.ready ??= this.build();
  }

  attributeChangedCallback() {
    this.ready?.then(() => this.refresh());
  }

  disconnectedCallback() {
    this.shop?.lists.delete(this);
  }

  /** The visitor put an item into the page's own basket. */
  put(item, change = 1) {
    this.shop?.visit.put(item, change);
    return this.all();
  }

  hide(item) {
    this.shop?.visit.hide(item);
    return this.all();
  }

  // Parts.

  async build() {
    const root = this.attachShadow({ mode: "open" });
    const style = make("link", { rel: "stylesheet", href: new URL("../cards.css", import.meta.url).href });
    this.heading = make("h2");
    this.list = make("ol", { className: "cards" }, ...skeletons(4));
    const { code, words } = wordsOf(this.getAttribute("language") ?? (document.documentElement.lang || "auto"));
    this.words = make("input", { type: "search", "aria-label": words.search, placeholder: words.search });
    this.words.addEventListener("input", () => this.refresh());
    root.append(style, ...(this.hasAttribute("search") ? [this.words] : []), this.heading, this.list);
    const url = new URL(this.getAttribute("bundle"), document.baseURI).href;
    if (!shops.has(url)) shops.set(url, open(url, this.hasAttribute("remember")));
    try {
      const shared = await shops.get(url);
      await this.furnish(shared, code, words);
      await this.refresh();
    } catch (error) {
      // A page goes on without its list, and the page's owner can know why.
      this.hidden = true;
      this.dispatchEvent(new CustomEvent("edgerec-trouble", { bubbles: true, detail: { message: error.message } }));
    }
  }

  async furnish(shared, code, words) {
    const { rec, items, visit, lists } = shared;
    this.shared = shared;
    const column = (name) => this.getAttribute(name);
    const settings = { related: "similar.onnx" in rec.manifest.files, new: null, picture: column("picture"), category: column("category"), sold_out: [], language: code };
    const goods = new Goods(items, settings);
    const format = pricer(code, column("currency") ?? "EUR");
    const best = await popular({ rec, goods });
    const address = column("href") ?? "#{id}";
    this.shop = {
      rec, visit, lists, settings, words, goods, ...rankings(goods, best),
      weights: () => rec.home.model.policy.weights,
      diversity: () => rec.home.model.policy.diversity,
      picture: pictureOf(settings, {}),
      price: (item) => format(item.attributes?.[column("price")] ?? NaN),
      address: (item) => filled(address, { id: encodeURIComponent(item.item) }),
    };
    lists.add(this);
    this.list.addEventListener("click", (event) => {
      const id = event.target.closest?.("[data-item]")?.dataset.item;
      if (id === undefined) return;
      visit.look(id);
      this.dispatchEvent(new CustomEvent("edgerec-pick", { bubbles: true, composed: true, detail: { item: id, title: goods.titleOf(id) } }));
      this.all();
    });
  }

  all() {
    return Promise.all([...(this.shop?.lists ?? [])].map((list) => list.refresh()));
  }

  /** One list after the other, since they share a model; only the latest wish of each counts. */
  refresh() {
    if (!this.shop) return Promise.resolve();
    const turn = (this.turn = (this.turn ?? 0) + 1);
    const mine = this.shared.last.then(() => (turn === this.turn ? this.draw() : null));
    this.shared.last = mine.catch(() => {});
    return mine;
  }

  async draw() {
    const { shop } = this;
    const k = Math.max(1, Number(this.getAttribute("k")) || 12);
    const because = this.getAttribute("because");
    const asked = this.words.value.trim();
    const titled = (text) => this.getAttribute("heading") ?? text;
    let items;
    let title;
    if (asked !== "") {
      this.search ??= new Search(shop.goods.all.map((item) => ({ texts: [item.title, item.item] })));
      items = await byTaste(shop, this.search.find(asked));
      title = items.length ? filled(shop.words.found, { n: items.length }) : filled(shop.words.nothing, { words: asked });
    } else if (because !== null && shop.goods.get(because)) {
      items = await related(shop, because, k);
      title = titled(filled(shop.words.becauseLooked, { title: shop.goods.titleOf(because) }));
    } else {
      items = await forYou(shop, k);
      title = titled(shop.words.forYou);
    }
    items = items.slice(0, k);
    const reasons = await reasonsOf(shop, items);
    this.heading.textContent = title;
    this.list.className = this.getAttribute("layout") === "carousel" ? "cards row" : "cards";
    this.list.replaceChildren(...items.map((item, i) => card(shop, item, { why: reasons[i], badge: badgeOf(shop, item) })));
  }
}

customElements.define("edgerec-list", EdgerecList);
