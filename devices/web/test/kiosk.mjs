/** Walks through the kiosk page in Chromium and prints what it saw: node kiosk.mjs FOLDER NEXT BAD SCREENSHOTS CHROMIUM. */
import { cp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { launch, serve } from "./origin.mjs";

const [, , folder, next, bad, pictures, executablePath] = process.argv;
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const seen = { requests: [], errors: [] };
const roots = { "": folder };
let origin = await serve(roots);
const { port, url } = origin;
const browser = await launch(executablePath);

async function open(context) {
  const page = await context.newPage();
  page.on("request", (r) => seen.requests.push(r.url()));
  page.on("pageerror", (e) => seen.errors.push(String(e)));
  await page.goto(url);
  await page.waitForSelector("body[data-ready]", { timeout: 60000 });
  return page;
}

const titles = (page, list = "#list") => page.$$eval(`${list} strong`, (all) => all.map((e) => e.textContent));
const events = (page) =>
  page.evaluate(
    () =>
      new Promise((done) => {
        const request = indexedDB.open("edgerec-kiosk");
        request.onsuccess = () => {
          const rows = request.result.transaction("events").objectStore("events").getAll();
          rows.onsuccess = () => done(rows.result.length);
        };
      }),
  );
const violations = async (page) => {
  await page.evaluate(axe);
  return page.evaluate(async () => (await globalThis.axe.run()).violations.map((v) => `${v.id}: ${v.nodes[0].html}`));
};

try {
  const strict = await browser.newContext(); // by the page's own content security policy
  let page = await open(strict);
  seen.strict = await titles(page);
  seen.strictNotice = await page.isVisible("#notice");
  await strict.close();

  const context = await browser.newContext({ viewport: { width: 1920, height: 1080 }, bypassCSP: true });
  page = await open(context);
  seen.first = await titles(page);
  await page.screenshot({ path: join(pictures, "kiosk-1920x1080.png") });
  seen.violations = await violations(page);

  await page.click("#list li:nth-child(3) button");
  await page.waitForSelector("#item[open]");
  await page.waitForFunction((n) => document.querySelectorAll("#list strong").length === n, seen.first.length);
  seen.related = await titles(page, "#related");
  seen.dialogViolations = await violations(page);
  await page.screenshot({ path: join(pictures, "item-1920x1080.png") });
  await page.click("#back");
  seen.afterClick = await titles(page);
  seen.reasons = await page.$$eval("#list .why", (all) => all.map((e) => e.textContent));
  seen.eventsAfterClick = await events(page);

  await page.fill("#words", seen.first[0].split(" ")[0]);
  await page.waitForTimeout(500);
  seen.matches = await titles(page);
  await page.keyboard.press("Tab");
  seen.focus = await page.evaluate(() => document.activeElement.id);

  await page.waitForTimeout(4500); // longer than idle_s of the test
  seen.eventsAfterIdle = await events(page);
  seen.afterIdle = await titles(page);

  await page.evaluate(() => navigator.serviceWorker.ready);
  await page.waitForTimeout(1000);
  await origin.close();
  await page.close();
  page = await open(context);
  seen.offline = await titles(page);
  await page.close();
  origin = await serve(roots, port);

  await cp(bad, join(folder, "next"), { recursive: true });
  page = await open(context);
  await page.waitForSelector("#notice:not([hidden])");
  seen.badUpdate = await page.textContent("#notice");
  seen.afterBadUpdate = await titles(page);
  await page.close();
  await rm(join(folder, "next"), { recursive: true });
  await cp(next, join(folder, "next"), { recursive: true });
  page = await open(context);
  await page.waitForSelector("#notice:not([hidden])");
  seen.update = await page.textContent("#notice");
  seen.afterUpdate = await titles(page);
  await page.close();
  await origin.close();
  page = await open(context);
  seen.afterUpdateOffline = await titles(page);
  await page.close();
  await context.close();
  origin = await serve(roots, port);

  const phone = await browser.newContext({ viewport: { width: 390, height: 844 }, hasTouch: true, bypassCSP: true });
  page = await open(phone);
  await page.screenshot({ path: join(pictures, "kiosk-390x844.png") });
  seen.phoneViolations = await violations(page);
  seen.phoneOverflow = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  await phone.close();

  const student = join(folder, "bundle", "student.bin");
  const content = await readFile(student);
  content[content.length - 7] ^= 1;
  await writeFile(student, content);
  const broken = await browser.newContext({ viewport: { width: 1920, height: 1080 }, bypassCSP: true });
  page = await open(broken);
  seen.broken = await titles(page);
  seen.brokenNotice = await page.textContent("#notice");
  await broken.close();
  seen.outside = [...new Set(seen.requests.filter((r) => !r.startsWith(url)))];
} catch (error) {
  seen.failed = String(error.stack);
} finally {
  await browser.close();
  await origin.close().catch(() => {});
  process.stdout.write(JSON.stringify(seen));
}
