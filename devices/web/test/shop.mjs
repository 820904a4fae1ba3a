/** Parts of the kiosk page that need no browser; prints what they answer: node shop.mjs < {"titles": [...]}. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

const page = "../../../edgerec/ship/kiosk/shop/";
const { readable, pricer } = await import(`${page}titles.js`);
const { Search } = await import(`${page}search.js`);
const { sha256 } = await import(`${page}sha256.js`);
const { checked } = await import(`${page}settings.js`);
const { Visit } = await import(`${page}visit.js`);
const { factsOf } = await import(`${page}item.js`);
const { Goods } = await import(`${page}goods.js`);
const { WORDS, filled, wordsOf } = await import(`${page}words.js`);
const job = JSON.parse(readFileSync(0, "utf8"));
const out = {};

out.readable = job.titles.map((title) => readable(title, "en"));
const attributes = { Description: "PARTY BUNTING ", made_of: "cotton", price: 4.95, weight: null };
out.facts = factsOf({ settings: { price: "price", picture: null }, code: "en" }, { title: "PARTY BUNTING", attributes }, "Party Bunting");
out.turkish = readable("IŞIK", "tr");
out.prices = [pricer("de", "EUR")(3.5), pricer("en", "GBP")(1234), pricer("ja", "JPY")(980), pricer("en", "EUR")(NaN), pricer("en", "nothing")(2), pricer("en", null)(2.5)];

const search = new Search(job.titles.map((title, i) => ({ texts: [title, `id${i}`] })));
out.found = Object.fromEntries(job.questions.map((question) => [question, search.find(question).slice(0, 3).map(({ item }) => job.titles[item])]));
out.near = search.nearest("candel", 1);

/** Ten thousand titles of three to six words from four thousand. */
let state = 1;
const random = (n) => (state = (state * 48271) % 2147483647) % n;
const words = Array.from({ length: 4000 }, () => Array.from({ length: 3 + random(7) }, () => "abcdefghijklmnoprstuw"[random(21)]).join(""));
const many = Array.from({ length: 10_000 }, () => Array.from({ length: 3 + random(4) }, () => words[random(4000)]).join(" "));
const large = new Search(many.map((title) => ({ texts: [title] })));
const asked = many.slice(0, 20).map((title) => { const [a, b] = title.split(" "); return `${a.slice(0, 2)}${a.slice(3)} ${b}`; });
const times = asked.map((question) => {
  const start = performance.now();
  large.find(question);
  return performance.now() - start;
});
out.searchMs = times.sort((a, b) => a - b)[times.length >> 1];

const lengths = [0, 1, 55, 56, 63, 64, 65, 1000];
const bytes = (n) => Uint8Array.from({ length: n }, (_, i) => (i * 7) & 255);
out.hashes = lengths.every((n) => Buffer.from(sha256(bytes(n))).equals(createHash("sha256").update(bytes(n)).digest()));

const trouble = [];
out.settings = checked({ currency: "euro", k: 12 }, { currency: "EUR", k: 24 }, (line) => trouble.push(line));
out.trouble = trouble;

const visit = new Visit({ view: "click", basket: "cart", buy: "order", dismiss: null }, false);
visit.look("a");
visit.put("b");
visit.put("c");
visit.put("c", -1);
visit.hide("d");
out.history = visit.history().map(({ item, kind }) => [item, kind]);
visit.buy();
out.bought = [visit.history(["buy"]).map(({ item, kind }) => [item, kind]), visit.basket.size];

const items = job.titles.map((title, i) => ({ item: String(i), title, gone: i === 0, attributes: { kind: i % 2 ? "odd" : "even" } }));
const goods = (category) => new Goods(items, { language: "en", category, sold_out: ["1"] });
out.onSale = goods("kind").all.map(({ item }) => item);
out.chips = [...goods("kind").chips().keys()];
out.nouns = goods(null).categories(items[2]);

const [english, ...others] = Object.keys(WORDS);
out.languages = Object.keys(WORDS).length;
const gaps = (text) => (text.match(/\{\w+\}/g) ?? []).sort().join();
out.wordsWithOtherGaps = others.flatMap((code) => Object.keys(WORDS[english]).filter((key) => gaps(WORDS[code][key] ?? "") !== gaps(WORDS[english][key])).map((key) => `${code}.${key}`));
out.fallback = wordsOf("xx", { basket: "Bag" }).words.basket + wordsOf("xx").words.done;
out.filled = filled("{a} of {b}", { a: 1 });

process.stdout.write(JSON.stringify(out));
