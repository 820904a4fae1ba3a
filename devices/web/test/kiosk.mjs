/** Walks through the kiosk page in Chromium and tells what it saw: node kiosk.mjs FOLDER NEXT BAD SCREENSHOTS CHROMIUM. */
import { cp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { launch, serve } from "./origin.mjs";

const [, , folder, next, bad, pictures, executablePath] = process.argv;
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const told = { requests: [], errors: [] };
const roots = { "": folder, ort: join(folder, "ort") };
let origin = await serve(roots);
const { port, url } = origin;
const browser = await launch(executablePath);

async function open(context) {
  const page = await context.newPage();
  page.on("request", (r) => told.requests.push(r.url()));
  page.on("pageerror", (e) => told.errors.push(String(e)));
  await page.goto(url);
  await page.waitForSelector("body[data-ready]", { timeout: 60000 });
  return page;
}

const titles = (page, list = "#list") => page.$$eval(`${list} strong`, (all) => all.map((e) => e.textContent));
const events = (page) =>
  page.evaluate(
    () =>
      new Promise((done) => {
        const asked = indexedDB.open("edgerec-kiosk");
        asked.onsuccess = () => {
          const rows = asked.result.transaction("events").objectStore("events").getAll();
          rows.onsuccess = () => done(rows.result.length);
        };
      }),
  );
const violations = async (page) => {
  await page.evaluate(axe);
  return page.evaluate(async () => (await globalThis.axe.run()).violations.map((v) => `${v.id}: ${v.nodes[0].html}`));
};

try {
  const context = await browser.newContext({ viewport: { width: 1920, height: 1080 }, bypassCSP: true });
  let page = await open(context);
  told.first = await titles(page);
  await page.screenshot({ path: join(pictures, "kiosk-1920x1080.png") });
  told.violations = await violations(page);

  await page.click("#list li:nth-child(3) button");
  await page.waitForSelector("#item[open]");
  await page.waitForFunction((n) => document.querySelectorAll("#list strong").length === n, told.first.length);
  told.related = await titles(page, "#related");
  told.dialogViolations = await violations(page);
  await page.screenshot({ path: join(pictures, "item-1920x1080.png") });
  await page.click("#back");
  told.afterClick = await titles(page);
  told.reasons = await page.$$eval("#list .why", (all) => all.map((e) => e.textContent));
  told.eventsAfterClick = await events(page);

  await page.fill("#words", told.first[0].split(" ")[0]);
  await page.waitForTimeout(500);
  told.found = await titles(page);
  await page.keyboard.press("Tab");
  told.focus = await page.evaluate(() => document.activeElement.id);

  await page.waitForTimeout(4500); // longer than idle_s of the test
  told.eventsAfterIdle = await events(page);
  told.afterIdle = await titles(page);

  await page.evaluate(() => navigator.serviceWorker.ready);
  await page.waitForTimeout(1000);
  await origin.close();
  await page.close();
  page = await open(context);
  told.offline = await titles(page);
  await page.close();
  origin = await serve(roots, port);

  await cp(bad, join(folder, "next"), { recursive: true });
  page = await open(context);
  await page.waitForSelector("#notice:not([hidden])");
  told.badUpdate = await page.textContent("#notice");
  told.afterBadUpdate = await titles(page);
  await page.close();
  await rm(join(folder, "next"), { recursive: true });
  await cp(next, join(folder, "next"), { recursive: true });
  page = await open(context);
  await page.waitForSelector("#notice:not([hidden])");
  told.update = await page.textContent("#notice");
  told.afterUpdate = await titles(page);
  await page.close();
  await origin.close();
  page = await open(context);
  told.afterUpdateOffline = await titles(page);
  await page.close();
  await context.close();
  origin = await serve(roots, port);

  const phone = await browser.newContext({ viewport: { width: 390, height: 844 }, hasTouch: true, bypassCSP: true });
  page = await open(phone);
  await page.screenshot({ path: join(pictures, "kiosk-390x844.png") });
  told.phoneViolations = await violations(page);
  told.phoneOverflow = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  await phone.close();

  const weights = join(folder, "bundle", "weights.bin");
  const content = await readFile(weights);
  content[7] ^= 1;
  await writeFile(weights, content);
  const broken = await browser.newContext({ viewport: { width: 1920, height: 1080 }, bypassCSP: true });
  page = await open(broken);
  told.broken = await titles(page);
  told.brokenNotice = await page.textContent("#notice");
  await broken.close();
  told.outside = [...new Set(told.requests.filter((r) => !r.startsWith(url)))];
} catch (error) {
  told.failed = String(error.stack);
} finally {
  await browser.close();
  await origin.close().catch(() => {});
  process.stdout.write(JSON.stringify(told));
}
