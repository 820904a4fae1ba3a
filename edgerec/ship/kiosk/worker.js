/**
 * Keeps the page on the device, and brings newer ones. The files of files.json are kept as one whole: a newer page is used
 * once each of its files is there with the hash that files.json states. What has not changed is not downloaded again.
 */
const FILES = "files.json";
const SETTINGS = "kiosk.json";
const STATE = "page-state";
const PICTURES = "pictures";

self.addEventListener("install", () => self.skipWaiting());

self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("message", (event) => {
  if (event.data?.check) event.waitUntil(refresh());
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  const own = url.href.startsWith(self.registration.scope);
  if (request.method !== "GET" || !own || request.cache === "no-store") return;
  // A page whose own code is broken is mended all the same.
  if (request.mode === "navigate") event.waitUntil(refresh());
  event.respondWith(answer(request, url.href.slice(self.registration.scope.length).replace(/[?#].*/, "")));
});

async function answer(request, path) {
  const page = await current();
  const kept = page && (await (await caches.open(page)).match(keyOf(path)));
  if (kept) return kept;
  if (!path.startsWith("pictures/")) return fetch(request);
  const pictures = await caches.open(PICTURES);
  const known = await pictures.match(request.url);
  if (known) return known;
  const got = await fetch(request);
  if (got.ok) await pictures.put(request.url, got.clone()).catch(() => {});
  return got;
}

function keyOf(path) {
  return new URL(path === "" ? "index.html" : decodeURI(path), self.registration.scope).href;
}

/** Name of the page in use, or null. */
async function current() {
  const state = await (await caches.open(STATE)).match(keyOf("state"));
  return state ? state.text() : null;
}

/** One at a time. */
let running = null;
function refresh() {
  running ??= renew()
    .catch((error) => tell({ trouble: `the newer page is not in use yet: ${error.message}` }))
    .finally(() => (running = null));
  return running;
}

async function renew() {
  const old = await current();
  // At first the page has just downloaded its settings.
  const asked = [fetch(FILES, { cache: "no-store" }), fetch(SETTINGS, { cache: old === null ? "force-cache" : "no-store" })];
  const lists = await Promise.all(asked).catch(() => null);
  // No network, or a server that is not ours: the page goes on as it is.
  if (lists === null || !lists[0].ok) return;
  const [list, settings] = await Promise.all(lists.map((response) => response.clone().text()));
  const { files } = JSON.parse(list);
  const name = `page-${(await sha256(new TextEncoder().encode(list + settings))).slice(0, 16)}`;
  if (name === old) return;
  if (old !== null && !isJson(settings)) throw new Error(`${SETTINGS} is not valid JSON; the settings of before are in use`);
  const page = await caches.open(name);
  const before = old === null ? null : await caches.open(old);
  const known = before && (await (await before.match(keyOf(FILES)))?.json())?.files;
  for (const [path, hash] of Object.entries(files)) {
    const kept = known?.[path] === hash ? await before.match(keyOf(path)) : undefined;
    await page.put(keyOf(path), kept ?? (await download(path, hash)));
  }
  await page.put(keyOf(FILES), lists[0]);
  if (lists[1].ok && isJson(settings)) await page.put(keyOf(SETTINGS), lists[1]);
  await (await caches.open(STATE)).put(keyOf("state"), new Response(name));
  for (const other of await caches.keys()) if (other.startsWith("page-") && ![STATE, name].includes(other)) await caches.delete(other);
  if (old !== null) tell({ fresh: true });
}

/** A file with its hash: from the browser's own cache, where the page has just left it, else from the server. */
async function download(path, hash) {
  for (const cache of ["force-cache", "reload"]) {
    const response = await fetch(path === "index.html" ? "./" : encodeURI(path), { cache });
    if (!response.ok) continue;
    const bytes = await response.clone().arrayBuffer();
    if ((await sha256(bytes)) === hash) return response;
  }
  throw new Error(`${path} is missing or not as in ${FILES}: the upload is not finished, or the file was edited`);
}

async function sha256(bytes) {
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return [...new Uint8Array(digest)].map((b) => b.toString(16).padStart(2, "0")).join("");
}

function isJson(text) {
  try {
    return typeof JSON.parse(text) === "object";
  } catch {
    return false;
  }
}

async function tell(message) {
  for (const client of await self.clients.matchAll()) client.postMessage(message);
}
