/** A server on loopback for the tests, and pages of Chromium on it. */
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { readFile } from "node:fs/promises";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const home = dirname(dirname(fileURLToPath(import.meta.url)));
const TYPES = {
  ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css",
  ".json": "application/json", ".webmanifest": "application/manifest+json", ".svg": "image/svg+xml", ".wasm": "application/wasm",
};
/** For threads, and for a clock finer than .1 ms. */
const ISOLATED = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

/**
 * Serves folders by the first part of a path ("" for all others), the runtime as src/, onnxruntime-web as ort/.
 * `served` counts answers by path.
 */
export async function serve(folders, port = 0) {
  const served = new Map();
  const ort = dirname(createRequire(import.meta.url).resolve("onnxruntime-web"));
  const roots = { src: join(home, "src"), ort, ...folders };
  const server = createServer(async (request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, "http://x").pathname));
    const [, root, ...rest] = path.split("/");
    const file = Object.hasOwn(roots, root) ? join(roots[root], ...rest) : join(roots[""] ?? home, path);
    served.set(path, (served.get(path) ?? 0) + 1);
    try {
      const empty = path === "/empty/";
      const body = empty ? "<!doctype html><title>empty</title>" : await readFile(path.endsWith("/") ? join(file, "index.html") : file);
      const type = path.endsWith("/") ? "text/html" : (TYPES[extname(path)] ?? "application/octet-stream");
      response.writeHead(200, { "Content-Type": type, ...ISOLATED }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((done) => server.listen(port, "127.0.0.1", done));
  return {
    served,
    port: server.address().port,
    url: `http://127.0.0.1:${server.address().port}/`,
    close: () => new Promise((done) => { server.close(done); server.closeAllConnections(); }),
  };
}

export function launch(executablePath, args = []) {
  return chromium.launch({ executablePath, args: ["--no-sandbox", ...args] });
}
