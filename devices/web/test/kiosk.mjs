/**
 * Walks through the kiosk page in Chromium as shoppers, staff and bad luck do, and prints what it saw:
 * node kiosk.mjs FOLDER NEXT BAD PICTURES CHROMIUM. FOLDER is written to; its kiosk.json sets update_s to 1.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { cp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { launch, serve } from "./origin.mjs";

const [, , folder, next, bad, pictures, executablePath] = process.argv;
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const seen = { requests: [], errors: [], console: [], violations: [], overflow: [], fileNames: [] };
const roots = { "": folder, kiosk: folder };
let origin = await serve(roots);
const { port, url } = origin;
const browser = await launch(executablePath, ["--host-resolver-rules=MAP shop.lan 127.0.0.1"]);
const settings = JSON.parse(await readFile(join(folder, "kiosk.json"), "utf8"));
const VIEWS = [[1920, 1080, "light"], [1920, 1080, "dark"], [390, 844, "light"], [390, 844, "dark"]];

/** A new visitor's browser; `what` are options of its context. */
async function visitor({ width = 1920, height = 1080, colorScheme = "light", ...what } = {}) {
  return browser.newContext({ viewport: { width, height }, colorScheme, bypassCSP: true, reducedMotion: "reduce", ...what });
}

async function open(context, { address = url, ready = "body[data-ready]", quiet = true } = {}) {
  const page = await context.newPage();
  page.on("request", (r) => seen.requests.push(r.url()));
  page.on("pageerror", (e) => seen.errors.push(String(e.stack ?? e)));
  if (quiet) page.on("console", (message) => seen.console.push(message.text()));
  await page.goto(address);
  await page.waitForSelector(ready, { timeout: 60000 });
  return page;
}

const titles = (page, list = "#list") => page.$$eval(`${list} .title`, (all) => all.map((e) => e.textContent));
const texts = (page, selector) => page.$$eval(selector, (all) => all.map((e) => e.textContent));
const staff = (page) => texts(page, "#staff-lines li");
const settled = (page, ms = 250) => page.waitForTimeout(ms);

/** What axe and a ruler say of what is on the screen; a picture of it. */
async function judge(page, name, view) {
  const [width, , scheme] = view;
  await page.screenshot({ path: join(pictures, `${name}-${width}-${scheme}.png`) });
  await page.evaluate(axe);
  const found = await page.evaluate(async () => (await globalThis.axe.run()).violations.map((v) => `${v.id}: ${v.nodes[0].html.slice(0, 200)}`));
  seen.violations.push(...found.map((v) => `${name} ${width} ${scheme}: ${v}`));
  if (await page.evaluate(() => document.documentElement.scrollWidth > innerWidth)) seen.overflow.push(`${name} ${width}`);
}

/** Names of files that a shopper can read. */
async function shopperReads(page, name) {
  const text = await page.evaluate(() => document.body.innerText);
  for (const found of text.match(/[\w-]+\.(?:json|js|mjs|bin|onnx|sig|wasm|html)\b/g) ?? []) seen.fileNames.push(`${name}: ${found}`);
  return page.evaluate(() => document.querySelector("#notice:not([hidden])")?.textContent ?? "");
}

/** From the attracting screen to the basket and done. */
async function shopping(view) {
  const [width, height, colorScheme] = view;
  const context = await visitor({ width, height, colorScheme, hasTouch: width < 800 });
  await context.clock.install();
  const page = await open(context);
  const left = (s) => page.clock.fastForward(1000 * s);
  const went = { first: await titles(page), badges: await texts(page, "#list .badge"), prices: await texts(page, "#list .price") };
  went.reasons = await texts(page, "#list .why");
  await left(settings.idle_s - 5);
  await left(10);
  await page.waitForSelector("#attract[open]");
  await judge(page, "attract", view);
  await page.click("#touch");
  await settled(page);
  await judge(page, "home", view);

  await page.evaluate(() => scrollTo(0, 40));
  await settled(page);
  await page.click("#list .card:nth-child(3) .open");
  await page.waitForSelector("#item:not([hidden]) #related .title");
  went.facts = await texts(page, "#facts dt");
  went.related = await titles(page, "#related");
  await judge(page, "item", view);
  await page.goBack();
  await settled(page);
  went.scrolledBack = await page.evaluate(() => scrollY);
  went.afterLook = await titles(page);
  went.reasonsAfterLook = await texts(page, "#list .why");
  went.rows = await texts(page, "#rows h2");

  await page.click("#list .card:nth-child(2) .hide");
  await settled(page);
  went.afterHide = await titles(page);
  await page.click("#toast button");
  await settled(page);
  went.afterUndo = await titles(page);

  await page.click("#list .card:nth-child(3) .add");
  await settled(page);
  went.afterAdd = await titles(page);
  went.count = await page.textContent("#basket-count");
  await page.click("#basket-open");
  await page.waitForSelector("#with .title");
  went.lines = await titles(page, "#lines");
  went.total = await page.textContent("#total strong");
  went.with = await titles(page, "#with");
  went.withReasons = await texts(page, "#with .why");
  await judge(page, "basket", view);
  await page.click("#lines .step >> nth=1");
  await settled(page);
  went.twice = await page.textContent("#total strong");

  await page.fill("#words", "itm 1");
  await settled(page);
  went.found = await titles(page);
  await page.fill("#words", "qqqqqq");
  await settled(page);
  went.nothing = await page.textContent("#list-title");
  went.suggested = await titles(page);
  await judge(page, "nothing", view);
  await page.keyboard.press("Tab");
  went.focus = await page.evaluate(() => document.activeElement.id);
  await page.fill("#words", "");
  await settled(page);
  await page.click("#chips li:nth-child(2) button");
  await settled(page);
  went.category = [await page.textContent("#chips li:nth-child(2) button"), await titles(page)];
  await page.click("#chips li:nth-child(1) button");

  await page.click("#tune-open");
  went.sliders = await page.$$eval("#wishes label", (all) => all.map((e) => e.textContent));
  await judge(page, "tune", view);
  await page.$eval("#wishes [data-wish=variety]", (input) => { input.value = "1"; input.dispatchEvent(new Event("change")); });
  await settled(page);
  went.varied = await titles(page);
  await page.click("#tune-reset");
  await page.click("#tune-close");
  await settled(page);
  went.afterReset = await titles(page);

  await page.click("#basket-open");
  await page.click("#order");
  await settled(page);
  went.bought = await texts(page, "#bought li");
  await judge(page, "thanks", view);
  await page.click("#thanks-done");
  await settled(page);
  went.afterDone = await titles(page);
  went.countAfterDone = await page.isVisible("#basket-count");

  // A visitor who walks away is asked, then forgotten.
  await page.click("#list .card:nth-child(3) .add");
  await left(settings.idle_s - 5);
  await page.waitForSelector("#still[open]");
  await judge(page, "still", view);
  await page.click("#here");
  await settled(page);
  went.keptWhenHere = await page.textContent("#basket-count");
  await left(settings.idle_s - 5);
  await left(10);
  await page.waitForSelector("#attract[open]");
  await page.click("#attract");
  await settled(page);
  went.afterIdle = await titles(page);
  went.countAfterIdle = await page.isVisible("#basket-count");
  went.kept = await page.evaluate(async () => [localStorage.length, (await indexedDB.databases()).length]);
  await context.close();
  return went;
}

/** The example for React: attributes, their changes, events and calls. */
async function react() {
  const context = await visitor();
  const page = await open(context, { address: `${url}react.html`, ready: "edgerec-list" });
  await page.waitForSelector("edgerec-list .card .title");
  const heading = () => page.textContent("edgerec-list h2");
  const list = () => texts(page, "edgerec-list >> nth=0 >> .title");
  seen.react = { first: await list(), headings: [await heading()] };
  await page.click("edgerec-list .card .open");
  await page.waitForSelector("section edgerec-list .title");
  await settled(page);
  seen.react.headings.push(await heading(), await page.textContent("section edgerec-list h2"));
  await page.click("section button");
  await settled(page);
  seen.react.afterAdd = await list();
  await judge(page, "react", [1920, 1080, "light"]);
  await context.close();
}

async function configure(own) {
  await writeFile(join(folder, "kiosk.json"), JSON.stringify({ ...settings, ...own }));
}

/** The page is on the device. */
async function kept(page) {
  for (let n = 0; n < 150; n++) {
    if (await page.evaluate(async () => (await (await caches.open("page-state")).keys()).length > 0)) return;
    await settled(page, 200);
  }
  throw new Error(`the page was not kept: ${await staff(page)}`);
}

/** The first visit downloads each file once; later ones need no server. */
async function offline() {
  const context = await visitor();
  origin.served.clear();
  let page = await open(context, { ready: "body" });
  seen.firstPaint = await page.evaluate(() => new Promise((done) => new PerformanceObserver((list) => done(list.getEntries()[0].startTime)).observe({ type: "paint", buffered: true })));
  seen.paintedBeforeModules = await titles(page);
  await page.waitForSelector("body[data-ready]");
  await kept(page);
  seen.downloads = [...origin.served];
  seen.first = await titles(page);
  const session = await context.newCDPSession(page);
  seen.installability = (await session.send("Page.getInstallabilityErrors")).installabilityErrors.map((e) => e.errorId).filter((id) => id !== "in-incognito");
  await page.close();
  await origin.close();
  page = await open(context, { quiet: false });
  seen.offline = await titles(page);
  await page.close();
  origin = await serve(roots, port);
  await context.close();
}

/** Settings, code and bundle reach a page that stays open, and pages that are opened again. */
async function updates() {
  const context = await visitor();
  let page = await open(context, { quiet: false });
  await kept(page);
  await configure({ title: "Renamed shop" });
  await page.waitForFunction(() => document.title === "Renamed shop", null, { timeout: 20000 });
  seen.newSettings = await page.textContent("#name");

  // Not while somebody shops.
  await page.waitForSelector("body[data-ready]");
  await page.click("#list .card:nth-child(1) .add");
  await configure({ title: "Renamed again" });
  await page.waitForTimeout(2500);
  seen.titleWhileShopping = await page.title();
  await page.click("#done");
  await page.waitForFunction(() => document.title === "Renamed again", null, { timeout: 20000 });

  const changed = join(folder, "shop", "words.js");
  const code = (await readFile(changed, "utf8")).replace('"forYou": "For you"', '"forYou": "Newly yours"');
  await writeFile(changed, code);
  const list = JSON.parse(await readFile(join(folder, "files.json"), "utf8"));
  list.files["shop/words.js"] = createHash("sha256").update(code).digest("hex");
  origin.served.clear();
  await writeFile(join(folder, "files.json"), JSON.stringify(list));
  await page.waitForFunction(() => document.getElementById("list-title").textContent === "Newly yours", null, { timeout: 20000 });
  seen.newCode = [...origin.served.keys()].filter((path) => !["/files.json", "/kiosk.json", "/worker.js"].includes(path) && !path.startsWith("/next/"));

  await writeFile(join(folder, "kiosk.json"), '{"title": "broken",');
  await page.waitForFunction(() => document.getElementById("staff-lines").textContent.includes("kiosk.json"), null, { timeout: 20000 });
  seen.typoWhileOpen = [await page.title(), await staff(page)];
  await configure({});
  await page.waitForFunction((title) => document.title === title, settings.title, { timeout: 20000 });

  await page.waitForSelector("body[data-ready]");
  const first = await titles(page);
  await cp(bad, join(folder, "next"), { recursive: true });
  await page.waitForFunction(() => document.getElementById("staff-lines").textContent.includes("refused"), null, { timeout: 20000 });
  seen.badUpdate = [await staff(page), await shopperReads(page, "refused update")];
  seen.afterBadUpdate = [first, await titles(page)];
  await rm(join(folder, "next"), { recursive: true });
  await cp(next, join(folder, "next"), { recursive: true });
  await page.reload();
  await page.waitForFunction(() => document.getElementById("staff-lines")?.textContent.includes("took"), null, { timeout: 20000 });
  seen.update = [await staff(page), await shopperReads(page, "update")];
  await page.close();
  await origin.close();
  page = await open(context, { quiet: false });
  seen.afterUpdateOffline = [await titles(page), await staff(page)];
  await page.close();
  await context.close();
  origin = await serve(roots, port);
  await rm(join(folder, "next"), { recursive: true });
}

/** What shoppers and staff read, and what is on the list. */
async function report(page, name) {
  await page.screenshot({ path: join(pictures, `failure-${name}.png`) });
  const notice = (await shopperReads(page, name)) || (await texts(page, "noscript .notice:not(template *)")).join();
  return { notice, list: await titles(page), staff: await staff(page) };
}

async function failure(name, { prepare = () => {}, address = url, ready = "body[data-ready]", ...what } = {}) {
  const context = await visitor(what);
  await prepare(context);
  const page = await open(context, { address, ready, quiet: false });
  seen[name] = await report(page, name);
  await context.close();
}

/** By the page's own content security policy, which the tools of this walk step around elsewhere. */
async function strict() {
  const context = await visitor({ bypassCSP: false });
  await context.addInitScript(() => {
    globalThis.refused = [];
    document.addEventListener("securitypolicyviolation", (event) => globalThis.refused.push(`${event.violatedDirective} ${event.blockedURI}`));
  });
  const page = await open(context);
  seen.strict = { list: await titles(page), refused: await page.evaluate(() => globalThis.refused) };
  await context.close();
}

/** A page whose settings come after half a minute. */
async function late() {
  const context = await visitor();
  await context.clock.install();
  let go;
  const gate = new Promise((done) => (go = done));
  await context.route("**/kiosk.json", async (route) => {
    await gate;
    await route.continue();
  });
  const page = await open(context, { ready: "body", quiet: false });
  await page.clock.fastForward(31_000);
  await page.waitForSelector("body[data-broken]");
  const before = await shopperReads(page, "late");
  go();
  await page.waitForSelector("body[data-ready]");
  seen.late = [before, await shopperReads(page, "late")];
  await context.close();
}

async function failures() {
  await late();
  await writeFile(join(folder, "kiosk.json"), `{"title": "x" "k": 3}`);
  await failure("typo");
  await writeFile(join(folder, "kiosk.json"), JSON.stringify({ ...settings, titel: "x", k: "many", theme: { accent: "greenish", colour: "red" } }));
  await failure("wrongKeys");
  await configure({ remember: true });
  const blocked = (context) =>
    context.addInitScript(() => {
      for (const name of ["indexedDB", "localStorage"]) Object.defineProperty(globalThis, name, { get() { throw new DOMException("denied", "SecurityError"); } });
    });
  await failure("noStorage", { prepare: blocked });
  await configure({});
  await failure("plainHttpSigned", { address: `http://shop.lan:${port}/` });
  await configure({ public_key: null });
  await failure("plainHttp", { address: `http://shop.lan:${port}/` });
  await configure({});
  await failure("asFile", { address: pathToFileURL(join(folder, "index.html")).href, ready: "body[data-broken]" });
  await failure("noScript", { ready: "body", javaScriptEnabled: false });
  const app = await readFile(join(folder, "shop", "app.js"));
  await rm(join(folder, "shop", "app.js"));
  await failure("missingFile", { ready: "body[data-broken]" });
  await writeFile(join(folder, "shop", "app.js"), app);
  const model = join(folder, "bundle", "student.bin");
  const content = await readFile(model);
  content[content.length - 7] ^= 1;
  await writeFile(model, content);
  await failure("damaged");
  content[content.length - 7] ^= 1;
  await writeFile(model, content);
}

/** Languages, the shop's own colours, an existing page with a list in it, a visitor who is remembered. */
async function variants() {
  await configure({ language: "ar", theme: { accent: ["#ffdd00", "#332200"], radius: "0px" } });
  let context = await visitor({ width: 390, height: 844 });
  let page = await open(context);
  seen.rightToLeft = await page.evaluate(() => [document.documentElement.dir, document.documentElement.lang, document.title]);
  seen.theme = await page.$eval("#list .add", (e) => [getComputedStyle(e).backgroundColor, getComputedStyle(e).color]);
  await settled(page);
  await judge(page, "arabic", [390, 844, "light"]);
  await context.close();

  await configure({ remember: true });
  context = await visitor();
  page = await open(context);
  await page.click("#list .card:nth-child(1) .add");
  await page.close();
  page = await open(context);
  seen.remembered = await page.textContent("#basket-count");
  await page.click("#done");
  await page.reload();
  await page.waitForSelector("body[data-ready]");
  seen.erased = await page.isVisible("#basket-count");
  await context.close();
  await configure({});

  context = await visitor({ reducedMotion: "no-preference" });
  await context.clock.install();
  page = await open(context);
  await page.clock.fastForward(1000 * (settings.idle_s - 5));
  await page.clock.fastForward(10_000);
  await page.waitForSelector("#attract[open]");
  seen.moves = await page.evaluate(() => getComputedStyle(document.getElementById("parade")).animationName);
  await page.emulateMedia({ reducedMotion: "reduce" });
  seen.rests = await page.evaluate(() => getComputedStyle(document.getElementById("parade")).animationName);
  await context.close();

  context = await visitor();
  page = await open(context, { address: `${url}shop-page.html`, ready: "edgerec-list" });
  await page.waitForSelector("edgerec-list .card .title");
  seen.widget = { first: await texts(page, "edgerec-list >> nth=0 >> .title"), heading: await page.textContent("edgerec-list h2") };
  await page.click("edgerec-list .card .open");
  await page.waitForSelector("#more .title");
  seen.widget.because = await page.textContent("#more h2");
  await page.fill("edgerec-list input", "item 7");
  await settled(page);
  seen.widget.found = (await page.$$eval("edgerec-list", (all) => [...all[0].shadowRoot.querySelectorAll(".title")].map((e) => e.textContent)))[0];
  await judge(page, "widget", [1920, 1080, "light"]);
  await context.close();
}

try {
  await offline();
  await strict();
  seen.shopping = [];
  for (const view of VIEWS) seen.shopping.push(await shopping(view));
  await variants();
  if (existsSync(join(folder, "react.html"))) await react();
  await failures();
  await updates();
  const own = [url, `http://shop.lan:${port}/`, "file:", "data:", "blob:"];
  seen.outside = [...new Set(seen.requests.filter((r) => !own.some((start) => r.startsWith(start))))];
} catch (error) {
  seen.failed = String(error.stack);
} finally {
  await browser.close();
  await origin.close().catch(() => {});
  process.stdout.write(JSON.stringify({ ...seen, requests: seen.requests.length }));
}
