/** A touch page for a shop: search, items, what goes with them, and why; works offline and stores nothing about a visitor. */
import { BundleError, EdgerecError, IndexedStore } from "./edgerec/index.js";
import { openNewest, take } from "./edgerec/updates.js";
import { WORDS } from "./words.js";

const settings = await (await fetch("kiosk.json")).json();
const say = { ...WORDS.en, ...WORDS[settings.language] };
const at = (id) => document.getElementById(id);
let rec = null;
let catalog = [];

document.documentElement.lang = settings.language;
document.title = at("name").textContent = settings.title;
for (const element of document.querySelectorAll("[data-say]")) element.textContent = say[element.dataset.say];

const notice = (text) => {
  at("notice").textContent = text;
  at("notice").hidden = text === "";
};

function price(attributes) {
  const value = attributes?.[settings.price];
  if (typeof value !== "number") return "";
  return new Intl.NumberFormat(settings.language, { style: "currency", currency: settings.currency }).format(value);
}

function why(reasons) {
  const reason = (reasons ?? []).find((r) => r.title !== null);
  if (reason === undefined) return "";
  return reason.kind === "again" ? say.again : `${say.because} ${reason.title}`;
}

function cards(list, items) {
  list.replaceChildren(
    ...items.map((item) => {
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.item = item.item;
      for (const [kind, text] of [["strong", item.title], ["why", why(item.reasons)], ["price", price(item.attributes)]]) {
        if (text === "") continue;
        const part = document.createElement(kind === "strong" ? "strong" : "span");
        part.className = kind;
        part.textContent = text;
        button.append(part);
      }
      button.addEventListener("click", () => look(item));
      const row = document.createElement("li");
      row.append(button);
      return row;
    }),
  );
}

function weights() {
  return Object.fromEntries([...at("wishes").querySelectorAll("input")].map((i) => [i.name, Number(i.value)]));
}

async function show() {
  const words = at("words").value.trim().toLowerCase();
  if (words) {
    const matches = catalog.filter((item) => words.split(/\s+/).every((w) => item.title.toLowerCase().includes(w)));
    at("list-title").textContent = matches.length ? `${say.found}: ${matches.length}` : say.nothing;
    const items = matches.slice(0, 60);
    const scored = rec && items.length ? await rec.score(items.map((i) => i.item), { weights: weights() }) : items;
    cards(at("list"), scored.sort((a, b) => (b.utility ?? 0) - (a.utility ?? 0)));
    return;
  }
  at("list-title").textContent = rec ? say.forYou : say.popular;
  cards(at("list"), rec ? await rec.recommend(settings.k, { weights: weights(), explain: true, diversity: settings.diversity }) : catalog);
}

async function look(item) {
  at("item-title").textContent = item.title;
  const facts = Object.entries(item.attributes ?? {}).filter(([n, v]) => v !== null && v !== item.title && n !== settings.price);
  at("facts").replaceChildren(
    ...facts.flatMap(([name, value]) => {
      const [term, detail] = [document.createElement("dt"), document.createElement("dd")];
      [term.textContent, detail.textContent] = [name, String(value)];
      return [term, detail];
    }),
  );
  at("item-price").textContent = price(item.attributes);
  const related = rec && settings.related ? await rec.similar(item.item, 6) : [];
  at("related-title").hidden = related.length === 0;
  cards(at("related"), related);
  if (!at("item").open) at("item").showModal();
  if (rec) {
    await rec.observe(item.item);
    await show();
  }
}

async function reset() {
  at("item").close();
  at("words").value = "";
  for (const input of at("wishes").querySelectorAll("input")) input.value = input.defaultValue;
  if (rec) await rec.forget();
  await show();
  globalThis.scrollTo(0, 0);
}

function idleReset() {
  let timer;
  const wake = () => {
    clearTimeout(timer);
    timer = setTimeout(reset, settings.idle_s * 1000);
  };
  for (const kind of ["pointerdown", "keydown", "scroll"]) document.addEventListener(kind, wake, { passive: true });
  wake();
}

function sliders() {
  const names = rec.tasks.length > 1 ? rec.tasks : [];
  at("wishes").closest("aside").hidden = names.length === 0;
  at("wishes").replaceChildren(
    ...names.map((name) => {
      const label = document.createElement("label");
      const input = document.createElement("input");
      Object.assign(input, { type: "range", name, min: "0", max: "1", step: "0.1" });
      input.defaultValue = input.value = String(Math.min(Math.max(settings.weights[name] ?? 0, 0), 1));
      input.addEventListener("change", show);
      label.append(settings.tasks[name] ?? name, input);
      return label;
    }),
  );
}

async function update() {
  if (!settings.updates || rec === null) return;
  try {
    const answer = await fetch(`${settings.updates}manifest.json`, { cache: "no-store" });
    if (!answer.ok || (await answer.json()).version <= rec.manifest.version) return;
    await take(rec, settings.updates);
    notice(say.ready);
    await show();
  } catch (error) {
    if (error instanceof BundleError) notice(`${say.refused}: ${error.message}`);
  }
}

async function start() {
  const key = settings.public_key ? Uint8Array.from(atob(settings.public_key), (c) => c.charCodeAt(0)) : null;
  try {
    const store = await IndexedStore.open("edgerec-kiosk");
    rec = await openNewest("./bundle/", { store, publicKey: key });
    await rec.forget(); // whoever was here before the power went
    const { ids, titles } = rec.home.model.catalog;
    catalog = ids.map((item, i) => ({ item, title: titles[i], get attributes() { return rec.home.model.catalog.attributes(i); } }));
    sliders();
  } catch (error) {
    if (!(error instanceof EdgerecError)) throw error; // such as a browser without WebAssembly
    console.warn(error.message);
    rec = null;
    catalog = await (await fetch("fallback.json")).json();
    at("wishes").closest("aside").hidden = true;
    notice(say.broken);
  }
  at("search").addEventListener("submit", (event) => event.preventDefault());
  at("words").addEventListener("input", show);
  at("done").addEventListener("click", reset);
  at("back").addEventListener("click", () => at("item").close());
  idleReset();
  await show();
  document.body.dataset.ready = "true";
  if ("serviceWorker" in navigator) await navigator.serviceWorker.register("worker.js");
  await update();
  setInterval(update, settings.update_s * 1000);
}

await start();
