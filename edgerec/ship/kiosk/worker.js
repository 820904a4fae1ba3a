/** Keeps the page on the device: all files of files.json are cached at once and then always served from the cache. */
const FILES = "files.json";

self.addEventListener("install", (event) => {
  event.waitUntil(
    (async () => {
      const { version, files } = await (await fetch(FILES, { cache: "no-store" })).json();
      await (await caches.open(`page-${version}`)).addAll(files);
      await self.skipWaiting();
    })(),
  );
});

self.addEventListener("activate", (event) => {
  event.waitUntil(
    (async () => {
      const pages = (await caches.keys()).filter((name) => name.startsWith("page-"));
      await Promise.all(pages.slice(0, -1).map((name) => caches.delete(name)));
      await self.clients.claim();
    })(),
  );
});

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== location.origin || event.request.cache === "no-store") return;
  event.respondWith(
    (async () => {
      const path = url.pathname.endsWith("/") ? new URL("index.html", url).href : event.request;
      for (const name of await caches.keys()) {
        if (!name.startsWith("page-")) continue;
        const cached = await (await caches.open(name)).match(path, { ignoreSearch: true });
        if (cached !== undefined) return cached;
      }
      return fetch(event.request);
    })(),
  );
});
