/** Opens the built documentation from file:// at two sizes: node docs.mjs SITE PICTURES CHROMIUM. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { launch } from "./origin.mjs";

const [, , site, pictures, executablePath] = process.argv;
const home = pathToFileURL(`${site}/`).href;
const files = (await readdir(site, { recursive: true })).filter((name) => name.endsWith(".html") && name !== "404.html");
const browser = await launch(executablePath);
const views = [];
for (const [width, height, colorScheme] of [[1440, 900, "light"], [390, 844, "dark"]]) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme, offline: true });
  const page = await context.newPage();
  const outside = [];
  const errors = [];
  page.on("request", (request) => { if (!request.url().startsWith(home)) outside.push(request.url()); });
  page.on("pageerror", (error) => errors.push(String(error)));
  const cut = [];
  for (const file of files) {
    await page.goto(home + file);
    if (await page.$$eval("pre code", (all) => all.some((code) => code.scrollWidth > code.clientWidth + 1))) cut.push(file);
  }
  await page.goto(home + "howto/logs.html");
  await page.keyboard.press("/");
  await page.keyboard.type("gdpr");
  const slash = (await page.$$(".site-search a")).length > 0;
  const first = (await page.$eval(".site-search a", (link) => link.href)).slice(home.length);
  await page.screenshot({ path: join(pictures, `docs-${width}.png`) });
  await page.keyboard.press("Enter");
  await page.waitForURL("**/questions.html**");
  const opened = await page.$eval(":target", (heading) => heading.firstChild.textContent);
  await page.keyboard.press("/");
  await page.keyboard.type("android");
  await page.keyboard.press("Escape");
  const closed = await page.$eval(".site-search ol", (list) => list.hidden);
  views.push({ outside, errors, cut, pages: files.length, first, opened, slash, closed });
  await context.close();
}
await browser.close();
process.stdout.write(JSON.stringify(views));
