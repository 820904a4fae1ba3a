/** The shop's page: shows the popular items at once, then the visitor's own list; works offline and tells nobody. */
import { attract } from "./attract.js";
import { order, showBasket, showCount, showThanks } from "./basket.js";
import { make } from "./cards.js";
import { SHORT, fill } from "./fill.js";
import { Goods } from "./goods.js";
import { watch } from "./idle.js";
import { showItem } from "./item.js";
import { byTaste, forYou, popular, related } from "./lists.js";
import { pictureOf } from "./pictures.js";
import { rankings } from "./reasons.js";
import { Search } from "./search.js";
import { applyTheme, made, readSettings } from "./settings.js";
import { Staff } from "./staff.js";
import { capital, pricer } from "./titles.js";
import { Tune } from "./tune.js";
import { Visit } from "./visit.js";
import { filled, rightToLeft, wordsOf } from "./words.js";

const at = (id) => document.getElementById(id);
const VIEWS = ["home", "item", "basket", "thanks"];
/** Found items on one page; items of a row; seconds of a toast and of the last screen. */
const [FOUND, ROW, TOAST_S, THANKS_S] = [60, 8, 5, 30];

const { settings: base, items: shipped } = made();
const staff = new Staff();
const trouble = (line) => staff.trouble(line);
const [settings, pictures] = await Promise.all([
  readSettings(base, trouble),
  fetch("pictures.json").then((answer) => answer.json()).catch(() => ({})),
]);
const { code, words } = wordsOf(settings.language, settings.words);
const format = pricer(code, settings.currency);
const visit = new Visit(settings.events, settings.remember, trouble);

/** What the modules share of the page. */
const shop = {
  settings, words, code, format, visit, staff, rec: null, popular: shipped, ranks: new Map(), inCategory: new Map(),
  goods: new Goods(shipped, { ...settings, language: code }),
  picture: pictureOf(settings, pictures),
  price: (item, count = 1) => format(count * (item.attributes?.[settings.price] ?? NaN)),
  address: (item) => `#/item/${encodeURIComponent(item.item)}`,
  weights: () => tune.weights(),
  diversity: () => tune.diversity,
  add(item) {
    visit.put(item.item);
    toast(filled(words.added, { title: shop.goods.title(item) }));
    refresh();
  },
  hide(item) {
    visit.hide(item.item);
    toast(filled(words.hidden, { title: shop.goods.title(item) }), words.undo, () => {
      visit.unhide(item.item);
      refresh();
    });
    if (view().name === "item") location.hash = "#/";
    else refresh();
  },
  change(item, change) {
    visit.put(item.item, change);
    refresh();
  },
};
const nice = (text) => capital(text, code);
const tune = new Tune(shop, () => refresh());
let search = null;
let category = null;
/** Newer things that wait until nobody is there. */
const waiting = new Set();

// What is shown.

function view() {
  const [, name = "", id = ""] = location.hash.split("/");
  if (name === "item") return { name, id: decodeURIComponent(id) };
  return { name: VIEWS.includes(name) ? name : "home", id: null };
}

/** One drawing after the other, since all ask one model; of those that wait only the latest counts. */
let turn = 0;
let last = Promise.resolve();

function refresh() {
  const mine = ++turn;
  const { name, id } = view();
  for (const one of VIEWS) at(one).hidden = one !== name;
  for (const chip of at("chips").querySelectorAll("button")) chip.setAttribute("aria-pressed", String(name === "home" && (chip.value || null) === category));
  showCount(shop);
  const current = () => mine === turn;
  last = last.then(async () => {
    if (!current()) return;
    try {
      await { home: showHome, item: showItem, basket: showBasket, thanks: showThanks }[name](shop, current, id);
    } catch (error) {
      trouble(`this list could not be made: ${error.message}`);
    }
  });
  return last;
}

async function showHome(_, current) {
  const asked = at("words").value.trim();
  at("did-you-mean").hidden = true;
  if (asked !== "") return showFound(asked, current);
  at("rows").hidden = category !== null;
  if (category !== null) {
    const all = shop.goods.chips().get(category) ?? [];
    const index = new Map(shop.goods.all.map((item, i) => [item, i]));
    const items = await byTaste(shop, all.map((item) => ({ item: index.get(item), score: 0 })));
    at("list-title").textContent = nice(category);
    return fill(shop, at("list"), items.slice(0, FOUND), current);
  }
  at("list-title").textContent = shop.rec ? words.forYou : words.popular;
  await fill(shop, at("list"), shop.rec ? await forYou(shop, settings.k) : shipped.filter(({ item }) => !visit.basket.has(item) && !visit.items("dismiss").includes(item)), current);
  if (shop.rec && current()) await showRows(current);
}

/** Rows under the list once the visitor did something: with what was looked at last, and what is popular. */
async function showRows(current) {
  const rows = [];
  const [last] = visit.items("view").filter((id) => shop.goods.get(id));
  if (last) rows.push([filled(words.becauseLooked, { title: shop.goods.titleOf(last) }), await related(shop, last, ROW)]);
  const left = new Set([...visit.basket.keys(), ...visit.items("dismiss")]);
  if (visit.touched) rows.push([words.popular, shop.popular.filter((item) => !left.has(item.item)).slice(0, ROW)]);
  if (!current()) return;
  const sections = rows.filter(([, items]) => items.length).map(([title, items]) => {
    const list = make("ol", { className: "cards row" });
    return [make("section", {}, make("h2", { textContent: title }), list), list, items];
  });
  at("rows").replaceChildren(...sections.map(([section]) => section));
  for (const [, list, items] of sections) await fill(shop, list, items, current);
}

async function showFound(asked, current) {
  at("rows").hidden = true;
  search ??= new Search(shop.goods.all.map((item) => ({ texts: [item.title, item.item, ...(settings.category ? shop.goods.categories(item) : [])] })));
  const found = search.find(asked);
  const items = await byTaste(shop, found);
  if (!current()) return;
  if (items.length) {
    at("list-title").textContent = filled(words.found, { n: new Intl.NumberFormat(code).format(items.length) });
    return fill(shop, at("list"), items.slice(0, FOUND), current);
  }
  at("list-title").textContent = filled(words.nothing, { words: asked });
  const near = search.nearest(asked);
  const buttons = near.map((word) => {
    const button = make("button", { type: "button", textContent: nice(word) });
    button.addEventListener("click", () => {
      at("words").value = word;
      refresh();
    });
    return button;
  });
  at("did-you-mean").replaceChildren(near.length ? `${words.didYouMean} ` : `${words.maybe}`, ...buttons);
  at("did-you-mean").hidden = false;
  await fill(shop, at("list"), shop.rec ? await forYou(shop, SHORT) : shipped.slice(0, SHORT), current);
}

let toasted;
function toast(text, label, action) {
  clearTimeout(toasted);
  const button = label ? make("button", { type: "button", textContent: label }) : null;
  button?.addEventListener("click", () => {
    at("toast").replaceChildren();
    action();
  });
  at("toast").replaceChildren(make("span", { textContent: text }), ...(button ? [button] : []));
  toasted = setTimeout(() => at("toast").replaceChildren(), TOAST_S * 1000);
}

function showChips() {
  const row = (label, value) => {
    const button = make("button", { type: "button", textContent: label, value: value ?? "" });
    button.addEventListener("click", () => {
      category = value;
      at("words").value = "";
      if (view().name === "home") refresh();
      else location.hash = "#/";
    });
    return make("li", {}, button);
  };
  const names = [...shop.goods.chips().keys()];
  at("chips").hidden = names.length < 2;
  at("chips").querySelector("ul").replaceChildren(row(words.all, null), ...names.map((name) => row(nice(name), name)));
}

// What happens.

async function reset() {
  for (const dialog of document.querySelectorAll("dialog[open]")) if (dialog.id !== "attract") dialog.close();
  at("words").value = "";
  category = null;
  tune.reset();
  visit.erase();
  await shop.rec?.forget();
  at("bought").replaceChildren();
  at("toast").replaceChildren();
  if (await renewed()) return;
  if (view().name !== "home") location.replace("#/");
  await refresh();
  scrollTo(0, 0);
}

/** Takes what is newer, now that nobody is disturbed; true where the page is loaded again. */
async function renewed() {
  if (waiting.delete("bundle") && (await fresh?.take())) {
    await adopt();
  }
  if (!waiting.has("page")) return false;
  location.replace(location.pathname);
  location.reload();
  return true;
}

async function leave() {
  await reset();
  attract(shop, shop.popular);
}

/** Everything that follows from the bundle in use. */
async function adopt() {
  const { catalog } = shop.rec.home.model;
  const gone = new Set(catalog.unavailable);
  const items = catalog.ids.map((item, i) => ({ item, title: catalog.titles[i], gone: gone.has(i), get attributes() { return catalog.attributes(i); } }));
  shop.goods = new Goods(items, { ...settings, language: code });
  shop.popular = await popular(shop);
  Object.assign(shop, rankings(shop.goods, shop.popular));
  search = null;
  tune.build();
  showChips();
}

function dress() {
  document.documentElement.lang = code;
  document.documentElement.dir = rightToLeft(code) ? "rtl" : "ltr";
  document.title = at("name").textContent = at("attract-name").textContent = settings.title;
  for (const element of document.querySelectorAll("[data-say]")) element.textContent = words[element.dataset.say];
  for (const element of document.querySelectorAll("[data-say-label]")) element.setAttribute("aria-label", words[element.dataset.sayLabel]);
  for (const element of document.querySelectorAll("[data-say-placeholder]")) element.placeholder = words[element.dataset.sayPlaceholder];
  applyTheme(settings.theme, trouble);
}

function listen() {
  let shown = view();
  // Whoever comes back from an item finds the list where they left it.
  let here = 0;
  let homeAt = 0;
  history.scrollRestoration = "manual";
  addEventListener("scroll", () => (here = scrollY), { passive: true });
  addEventListener("hashchange", async () => {
    const { name, id } = view();
    if (shown.name === "home") homeAt = here;
    const back = name === "home" && shown.name === "item";
    const again = shown.name === name && shown.id === id;
    shown = { name, id };
    if (!again) at("toast").replaceChildren();
    if (name === "item" && shop.goods.get(id)) visit.look(id);
    if (name !== "home") at("words").value = "";
    await refresh();
    if (again) return;
    scrollTo(0, back ? homeAt : 0);
    at({ item: "item-title", basket: "basket-title", thanks: "thanks-title" }[name] ?? "main").focus({ preventScroll: true });
  });
  at("search").addEventListener("submit", (event) => {
    event.preventDefault();
    at("words").blur(); // an on-screen keyboard goes away
  });
  at("words").addEventListener("input", () => {
    category = null;
    if (view().name === "home") refresh();
    else location.hash = "#/";
  });
  at("name").addEventListener("click", () => {
    at("words").value = "";
    category = null;
    refresh();
  });
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    at("main").focus();
  });
  at("done").addEventListener("click", reset);
  at("thanks-done").addEventListener("click", reset);
  at("order").addEventListener("click", () => {
    order(shop);
    location.hash = "#/thanks";
    setTimeout(() => view().name === "thanks" && reset(), THANKS_S * 1000);
  });
  at("here").addEventListener("click", () => at("still").close());
  at("attract").addEventListener("click", () => at("attract").close());
  if (!settings.remember)
    watch(settings.idle_s, {
      asking: () => visit.touched && !at("still").open,
      ask: () => at("still").showModal(),
      unask: () => at("still").close(),
      leave,
    });
}

let fresh = null;

async function start() {
  dress();
  listen();
  if (location.hash !== "" && !settings.remember) history.replaceState(null, "", location.pathname);
  showChips();
  await refresh();
  document.body.dataset.shown = "true";
  try {
    const { openBundle } = await import("./recommender.js");
    shop.rec = await openBundle(settings.public_key);
    staff.note(`bundle ${shop.rec.manifest.name} ${shop.rec.manifest.version} of ${shop.rec.manifest.created.slice(0, 10)}`);
    await adopt();
  } catch (error) {
    shop.rec = null;
    at("notice").textContent = words.broken;
    at("notice").dataset.broken = "true";
    at("notice").hidden = false;
    trouble(`no personal lists: ${error.message}`);
  }
  await refresh();
  document.body.dataset.ready = "true";
  if (shop.rec) at("notice").hidden = true; // of start.js, where the page came late
  performance.mark("personal");
  try {
    const { Fresh } = await import("./fresh.js");
    fresh = new Fresh(shop, (what) => {
      waiting.add(what);
      if (!visit.touched && at("words").value === "") reset();
    });
    await fresh.start();
  } catch (error) {
    trouble(`newer versions cannot be looked for: ${error.message}`);
  }
}

await start();
