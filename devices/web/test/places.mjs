/**
 * Pictures of the real screens for the documentation, one for each of its places.
 * Standard input: {"folder" (of the page), "report" (its HTML), "example" (an existing page), "pictures", "chromium"}.
 */
import { copyFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { launch, serve } from "./origin.mjs";

const job = JSON.parse(readFileSync(0, "utf8"));
const origin = await serve({ "": job.folder, kiosk: job.folder });
const browser = await launch(job.chromium);

async function open(address, ready, width = 1280, height = 800) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: "light", reducedMotion: "reduce" });
  const page = await context.newPage();
  await page.goto(address);
  await page.waitForSelector(ready, { timeout: 60000 });
  return page;
}

async function shot(page, name) {
  await page.waitForTimeout(500);
  await page.screenshot({ path: join(job.pictures, `${name}.png`) });
}

let page = await open(origin.url, "body[data-ready]");
await shot(page, "kiosk-home");
await page.click("#list .card:nth-child(3) .open");
await page.waitForSelector("#related .title");
await page.click("#item-add");
await page.click("#basket-open");
await page.waitForSelector("#with .title");
await page.waitForTimeout(6000); // the toast goes
await shot(page, "kiosk-basket");
await shot(await open(origin.url, "body[data-ready]", 390, 844), "kiosk-phone");
copyFileSync(job.example, join(job.folder, "example.html"));
page = await open(`${origin.url}example.html`, "edgerec-list .card .why:not(:empty)", 1280, 1280);
await page.click("edgerec-list .card:nth-child(3) .open");
await page.waitForSelector("#more .title");
await shot(page, "widget");
await shot(await open(pathToFileURL(job.report).href, "nav", 1280, 640), "report");
await browser.close();
await origin.close();
process.stdout.write("null");
