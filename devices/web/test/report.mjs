/** Opens a report in Chromium with the network off, at two sizes, light and dark, and as it is printed: node report.mjs PAGE PICTURES CHROMIUM. */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { launch } from "./origin.mjs";

const [, , page_, pictures, executablePath] = process.argv;
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const browser = await launch(executablePath);
const views = [];
/** Width of A4 between the margins, in pixels of CSS. */
const PAPER = Math.floor(((210 - 24) / 25.4) * 96);
for (const [width, height, colorScheme] of [[1440, 900, "light"], [390, 844, "dark"]]) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme, offline: true });
  const page = await context.newPage();
  const asked = [];
  const errors = [];
  page.on("request", (request) => asked.push(request.url()));
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => errors.push(message.text()));
  await page.goto(pathToFileURL(page_).href);
  await page.screenshot({ path: join(pictures, `report-${width}.png`), fullPage: true });
  await page.evaluate(axe);
  const violations = await page.evaluate(async () => (await globalThis.axe.run()).violations.map((v) => `${v.id}: ${v.nodes[0].html.slice(0, 200)}`));
  const view = {
    asked: asked.length,
    errors,
    overflow: await page.evaluate(() => document.documentElement.scrollWidth > innerWidth),
    answers: await page.$$eval(".answers dt", (all) => all.map((of) => [of.textContent, of.parentElement.getBoundingClientRect().bottom <= innerHeight])),
    budget: await page.$$eval(".budget span", (all) => all.map((of) => of.textContent)),
    links: await page.$$eval("nav a", (all) => all.filter((of) => !document.querySelector(of.getAttribute("href"))).length),
    plots: await page.$$eval("figure svg", (all) => all.filter((svg) => svg.getBoundingClientRect().height > 50).length),
    violations,
  };
  await page.emulateMedia({ media: "print", colorScheme: "light" });
  await page.setViewportSize({ width: PAPER, height: 1000 });
  view.printed = await page.evaluate(() => {
    const shown = (of) => [...document.querySelectorAll(of)].filter((one) => one.checkVisibility());
    return {
      cut: shown("table").filter((table) => table.getBoundingClientRect().right > innerWidth).length,
      bars: Math.min(...shown(".gain svg").map((svg) => svg.clientWidth)),
      empty: shown("main > section").filter((section) => !shown(`#${section.id || "gain"} > :not(h2)`).length).length,
    };
  });
  views.push(view);
  await context.close();
}
await browser.close();
process.stdout.write(JSON.stringify(views));
