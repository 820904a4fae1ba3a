/**
 * Looks for a newer page, newer settings and a newer bundle. The worker brings page and settings; a page without one (by
 * plain http) compares them itself, and gets them from the server when it is loaded again.
 */
import { newer, take } from "./recommender.js";

export class Fresh {
  /** @param {object} shop @param {(what: string) => void} found is called with "page" or "bundle", once they are there */
  constructor(shop, found) {
    Object.assign(this, { shop, found, seen: null });
  }

  async start() {
    const { shop } = this;
    if (!isSecureContext || !navigator.serviceWorker)
      shop.staff.trouble("opened by plain http: no offline use, no installing, no signatures; serve by https, or open it on localhost");
    else
      try {
        navigator.serviceWorker.addEventListener("message", ({ data }) => this.told(data));
        await navigator.serviceWorker.register("worker.js");
        this.worker = (await navigator.serviceWorker.ready).active;
      } catch (error) {
        shop.staff.trouble(`the page cannot be kept for offline use: ${error.message}`);
      }
    await this.check();
    setInterval(() => this.check(), shop.settings.update_s * 1000);
  }

  async check() {
    if (this.worker) this.worker.postMessage({ check: true });
    else await this.compare();
    await this.bundle();
  }

  told({ fresh, trouble }) {
    if (trouble) this.shop.staff.trouble(trouble);
    if (fresh) this.found("page");
  }

  async compare() {
    try {
      const read = async (name) => (await fetch(name, { cache: "no-store" })).text();
      const now = (await Promise.all(["files.json", "kiosk.json"].map(read))).join();
      if (this.seen !== null && now !== this.seen) this.found("page");
      this.seen = now;
    } catch {
      // no network: the page goes on
    }
  }

  async bundle() {
    const { rec, settings, staff } = this.shop;
    if (!settings.updates || !rec) return;
    let version = null;
    try {
      version = await newer(rec, settings.updates);
    } catch {
      return; // no network, or no manifest: nothing to take
    }
    if (version !== null && version !== this.refused) this.found("bundle");
    else if (version === null) staff.resolved("next");
  }

  /** Takes the newer bundle; true once it is in use. */
  async take() {
    const { rec, settings, staff } = this.shop;
    const version = await newer(rec, settings.updates).catch(() => null);
    if (version === null) return false;
    try {
      staff.note(`took ${await take(rec, settings.updates)}`);
      return true;
    } catch (error) {
      this.refused = version;
      staff.trouble(`${settings.updates}: refused: ${error.message}`);
      return false;
    }
  }
}
