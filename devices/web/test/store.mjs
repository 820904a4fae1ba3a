/** What happens to an IndexedStore in Chromium, as JSON: node store.mjs CHROMIUM. */
import { launch, serve } from "./origin.mjs";

const origin = await serve({});
const browser = await launch(process.argv[2]);
try {
  const page = await browser.newPage();
  await page.goto(`${origin.url}empty/`);
  const seen = await page.evaluate(async () => {
    const { IndexedStore } = await import("/src/store.js");
    const now = Date.now();
    const see = (store, item, more = {}) => store.append({ profile: "", item, kind: "event", time: now, at: now, ...more });
    const items = async (store, profile = "") => (await store.events(profile)).map((e) => e.item);
    const seen_ = {};

    let store = await IndexedStore.open("shop", { rows: 5, days: 400 });
    seen_.twice = [await see(store, "a", { eventId: "e" }), await see(store, "a", { eventId: "e" })];
    await Promise.all(["b", "c", "d"].map((item) => see(store, item)));
    seen_.atOnce = await items(store);
    for (const item of ["e", "f"]) await see(store, item);
    seen_.bounded = await items(store);

    // Another page of the origin writes what is no event.
    await store.use("readwrite", (events) => {
      for (const odd of [{ profile: "", item: 5 }, { profile: "", item: "x", kind: "event", time: 10 }, { profile: "" }]) events.add(odd);
    });
    seen_.odd = await items(store);

    // The user clears the page's data while it is open.
    await new Promise((resolve, reject) => {
      const gone = indexedDB.deleteDatabase("shop");
      [gone.onsuccess, gone.onblocked] = [resolve, reject];
    });
    seen_.cleared = [await items(store), await see(store, "g"), await items(store), store.lost];

    // A full disk, as far as a page can tell: each transaction is ended.
    const write = IDBObjectStore.prototype.add;
    IDBObjectStore.prototype.add = function (...row) {
      const request = write.apply(this, row);
      this.transaction.abort();
      return request;
    };
    seen_.full = [await see(store, "h"), await store.show({ profile: "", time: now, items: [] }), await items(store)];
    seen_.trouble = (await store.health()).trouble !== null;
    IDBObjectStore.prototype.add = write;
    seen_.again = [await see(store, "i"), await items(store), (await store.health()).trouble];
    await store.close();
    store = await IndexedStore.open("shop");
    seen_.reopened = await items(store);

    // An error that is none of a doubled event ends the transaction.
    IDBObjectStore.prototype.add = function ({ item, ...row }) {
      return write.call(this, { ...row, item, number: item === "bad" ? {} : undefined });
    };
    seen_.bad = await see(store, "bad").catch((error) => String(error));
    IDBObjectStore.prototype.add = write;

    await see(store, "secret", { profile: "anna" });
    await store.forget("anna");
    seen_.forgotten = [await items(store, "anna"), (await items(store)).length > 0];
    return seen_;
  });
  process.stdout.write(JSON.stringify(seen));
} finally {
  await browser.close();
  await origin.close();
}
