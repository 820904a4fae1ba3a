/**
 * The kiosk page of a real bundle: pictures of its screens at two sizes, light and dark, and what a first visit costs.
 * Standard input: {"folder", "pictures" (folder or null), "search", "visits", "chromium"}.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { launch, serve } from "./origin.mjs";

const job = JSON.parse(readFileSync(0, "utf8"));
const origin = await serve({ "": job.folder });
const browser = await launch(job.chromium);

async function open(options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  await page.goto(origin.url);
  await page.waitForSelector("body[data-ready]", { timeout: 60000 });
  return { context, page };
}

/** One first visit: ms to the first paint and to the visitor's own list, bytes until then. */
async function cold() {
  const { context, page } = await open({ viewport: { width: 1920, height: 1080 } });
  const figures = await page.evaluate(() => {
    const paint = performance.getEntriesByName("first-contentful-paint")[0];
    const loaded = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
    const personal = performance.getEntriesByName("personal")[0];
    const before = loaded.filter((entry) => entry.startTime < personal.startTime);
    return { first_paint_ms: paint.startTime, own_list_ms: personal.startTime, download_bytes: before.reduce((sum, entry) => sum + entry.decodedBodySize, 0), files: before.length };
  });
  await context.close();
  return figures;
}

async function pictures([width, height, colorScheme]) {
  const { context, page } = await open({ viewport: { width, height }, colorScheme, reducedMotion: "reduce" });
  const shot = async (name) => {
    await page.waitForTimeout(400);
    await page.screenshot({ path: join(job.pictures, `${name}-${width}-${colorScheme}.png`) });
  };
  await shot("home");
  await page.click("#list .card:nth-child(3) .open");
  await page.waitForSelector("#related .title");
  await shot("item");
  await page.click("#item-add");
  await page.click("#related .card:nth-child(1) .open");
  await page.goBack();
  await page.goBack();
  await page.waitForSelector("#rows h2");
  await shot("home-after-a-look");
  await page.click("#basket-open");
  await page.waitForSelector("#with .title");
  await shot("basket");
  await page.fill("#words", job.search);
  await shot("search");
  await page.fill("#words", "");
  await page.click("#tune-open");
  await shot("tune");
  await page.click("#tune-close");
  await page.click("#basket-open");
  await page.click("#order");
  await shot("thanks");
  await context.close();
  const idle = await browser.newContext({ viewport: { width, height }, colorScheme, reducedMotion: "reduce" });
  await idle.clock.install();
  const waiting = await idle.newPage();
  await waiting.goto(origin.url);
  await waiting.waitForSelector("body[data-ready]", { timeout: 60000 });
  await waiting.clock.fastForward(85_000);
  await waiting.clock.fastForward(11_000);
  await waiting.waitForSelector("#attract[open]");
  await waiting.screenshot({ path: join(job.pictures, `attract-${width}-${colorScheme}.png`) });
  await idle.close();
}

await cold(); // Chromium itself starts with it
const visits = [];
for (let n = 0; n < job.visits; n++) visits.push(await cold());
const median = (name) => visits.map((visit) => visit[name]).sort((a, b) => a - b)[visits.length >> 1];
const figures = Object.fromEntries(Object.keys(visits[0]).map((name) => [name, Math.round(median(name))]));
if (job.pictures) for (const size of [[1920, 1080], [390, 844]]) for (const scheme of ["light", "dark"]) await pictures([...size, scheme]);
await browser.close();
await origin.close();
process.stdout.write(JSON.stringify(figures));
