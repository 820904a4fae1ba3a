/**
 * <edgerec-list>: a list of recommendations for a page that already exists; see devices/web/examples/shop-page.html.
 * It takes bundle and kiosk.json of the folder that it lies in. Attributes: layout (grid, carousel), because (an item's id:
 * what goes with it), search (a search box), k, heading, href (with {id}), language. A tapped item is an event
 * "edgerec-pick" with detail {item, title}; `element.put(item)` and `element.hide(item)` tell what a visitor did.
 */
import { make, skeletons } from "./cards.js";
import { fill } from "./fill.js";
import { Goods } from "./goods.js";
import { byTaste, forYou, popular, related } from "./lists.js";
import { pictureOf } from "./pictures.js";
import { rankings } from "./reasons.js";
import { Search } from "./search.js";
import { pricer } from "./titles.js";
import { Visit } from "./visit.js";
import { filled, wordsOf } from "./words.js";

const HOME = new URL("../", import.meta.url);

/** What all lists of a page share: the bundle, and what the visitor does. */
let shared = null;

async function open() {
  const settings = await (await fetch(new URL("kiosk.json", HOME))).json();
  const { openShipped } = await import("./recommender.js");
  const rec = await openShipped(new URL("bundle/", HOME).href, settings.public_key);
  const pictures = await fetch(new URL("pictures.json", HOME)).then((answer) => answer.json()).catch(() => ({}));
  const { catalog } = rec.home.model;
  const gone = new Set(catalog.unavailable);
  const items = catalog.ids.map((item, i) => ({ item, title: catalog.titles[i], gone: gone.has(i), get attributes() { return catalog.attributes(i); } }));
  const visit = new Visit(settings.events, settings.remember);
  return { rec, settings, pictures, items, visit, lists: new Set(), last: Promise.resolve() };
}

class EdgerecList extends HTMLElement {
  static observedAttributes = ["because", "layout", "k", "heading"];
  // Private, since frameworks set a property where an element has one of an attribute's name.
  #ready = null;
  #shared = null;
  #shop = null;
  #heading = null;
  #list = null;
  #words = null;
  #search = null;
  #turn = 0;

  connectedCallback() {
    this.#ready ??= this.#build();
    this.#shared?.lists.add(this); // moved to another place of its page
  }

  attributeChangedCallback() {
    this.#ready?.then(() => this.#refresh());
  }

  disconnectedCallback() {
    this.#shared?.lists.delete(this);
  }

  /** The visitor put an item into the page's own basket. */
  put(item, change = 1) {
    this.#shop?.visit.put(item, change);
    return this.#all();
  }

  hide(item) {
    this.#shop?.visit.hide(item);
    return this.#all();
  }

  // Parts.

  async #build() {
    const root = this.attachShadow({ mode: "open" });
    const style = make("link", { rel: "stylesheet", href: new URL("../cards.css", import.meta.url).href });
    this.#heading = make("h2");
    this.#list = make("ol", { className: "cards" }, ...skeletons(4));
    const { code, words } = wordsOf(this.getAttribute("language") ?? (document.documentElement.lang || "auto"));
    this.#words = make("input", { type: "search", "aria-label": words.search, placeholder: words.search });
    this.#words.addEventListener("input", () => this.#refresh());
    root.append(style, ...(this.hasAttribute("search") ? [this.#words] : []), this.#heading, this.#list);
    try {
      shared ??= open();
      await this.#furnish(await shared, code, words);
      await this.#refresh();
    } catch (error) {
      // A page goes on without its list, and the page's owner can know why.
      this.hidden = true;
      this.dispatchEvent(new CustomEvent("edgerec-trouble", { bubbles: true, detail: { message: error.message } }));
    }
  }

  async #furnish(all, code, words) {
    const { rec, items, visit, lists, settings } = all;
    this.#shared = all;
    const goods = new Goods(items, { ...settings, language: code });
    const format = pricer(code, settings.currency);
    const address = this.getAttribute("href") ?? "#{id}";
    this.#shop = {
      rec, visit, settings, words, goods, ...rankings(goods, await popular({ rec, goods })),
      weights: () => settings.weights,
      diversity: () => settings.diversity,
      picture: pictureOf(settings, all.pictures, HOME),
      price: (item) => format(item.attributes?.[settings.price] ?? NaN),
      address: (item) => filled(address, { id: encodeURIComponent(item.item) }),
    };
    if (this.isConnected) lists.add(this);
    this.#list.addEventListener("click", (event) => {
      const id = event.target.closest?.("[data-item]")?.dataset.item;
      if (id === undefined) return;
      visit.look(id);
      this.dispatchEvent(new CustomEvent("edgerec-pick", { bubbles: true, composed: true, detail: { item: id, title: goods.titleOf(id) } }));
      this.#all();
    });
  }

  #all() {
    return Promise.all([...(this.#shared?.lists ?? [])].map((list) => list.#refresh()));
  }

  /** One list after the other, since they share a model; only the latest wish of each counts. */
  #refresh() {
    if (!this.#shop) return Promise.resolve();
    const turn = ++this.#turn;
    const mine = this.#shared.last.then(() => (turn === this.#turn ? this.#draw() : null));
    this.#shared.last = mine.catch(() => {});
    return mine;
  }

  async #draw() {
    const shop = this.#shop;
    const k = Math.max(1, Number(this.getAttribute("k")) || 12);
    const because = this.getAttribute("because");
    const asked = this.#words.value.trim();
    const titled = (text) => this.getAttribute("heading") ?? text;
    let items;
    let title;
    if (asked !== "") {
      this.#search ??= new Search(shop.goods.all.map((item) => ({ texts: [item.title, item.item] })));
      items = await byTaste(shop, this.#search.find(asked));
      title = items.length ? filled(shop.words.found, { n: items.length }) : filled(shop.words.nothing, { words: asked });
    } else if (because !== null && shop.goods.get(because)) {
      items = await related(shop, because, k);
      title = titled(filled(shop.words.becauseLooked, { title: shop.goods.titleOf(because) }));
    } else {
      items = await forYou(shop, k);
      title = titled(shop.words.forYou);
    }
    this.#heading.textContent = title;
    this.#list.className = this.getAttribute("layout") === "carousel" ? "cards row" : "cards";
    await fill(shop, this.#list, items.slice(0, k));
  }
}

customElements.define("edgerec-list", EdgerecList);
