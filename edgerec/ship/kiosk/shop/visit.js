/**
 * What a visitor did, and what of it the model is told. A look, a basket, a purchase and a "not for me" are different
 * things: `events` of kiosk.json says which kind of the log each of them is, or null where the log has none like it.
 */
const KEY = "edgerec-visit";
const MOST = 500;

export class Visit {
  /**
   * @param {Record<string, string | null>} kinds of view, basket, buy, dismiss @param {boolean} remember on this device
   * @param {(line: string) => void} trouble
   */
  constructor(kinds, remember, trouble = () => {}) {
    Object.assign(this, { kinds, remember, trouble });
    this.erase(false);
    if (remember) this.load();
  }

  /** Whether the visitor did anything. */
  get touched() {
    return this.signals.length > 0 || this.basket.size > 0;
  }

  look(item) {
    this.signal("view", item);
  }

  /** @param {number} change of the number in the basket */
  put(item, change = 1) {
    const count = (this.basket.get(item) ?? 0) + change;
    if (count > 0) this.basket.set(item, count);
    else this.basket.delete(item);
    this.signals = this.signals.filter((s) => !(s.what === "basket" && s.item === item));
    if (count > 0) this.signal("basket", item);
    else this.save();
  }

  hide(item) {
    this.signal("dismiss", item);
  }

  unhide(item) {
    this.signals = this.signals.filter((s) => !(s.what === "dismiss" && s.item === item));
    this.save();
  }

  /** The basket is bought. */
  buy() {
    const bought = [...this.basket.keys()];
    this.signals = this.signals.filter((s) => s.what !== "basket");
    this.basket.clear();
    for (const item of bought) this.signal("buy", item);
  }

  erase(fromDevice = true) {
    this.signals = [];
    this.basket = new Map();
    if (fromDevice) this.save();
  }

  /** Items of a kind, the latest first. */
  items(what) {
    return [...new Set(this.signals.filter((s) => s.what === what).map((s) => s.item).reverse())];
  }

  /** What the model is told: events of the kinds in `what`. */
  history(what = ["view", "basket", "buy", "dismiss"]) {
    return this.signals
      .filter((s) => what.includes(s.what) && (this.kinds[s.what] ?? null) !== null)
      .map(({ what: done, item, time }) => ({ item, time, kind: this.kinds[done] }));
  }

  // Parts.

  signal(what, item) {
    this.signals.push({ what, item, time: Date.now() });
    if (this.signals.length > MOST) this.signals.shift();
    this.save();
  }

  save() {
    if (!this.remember) return;
    try {
      localStorage.setItem(KEY, JSON.stringify({ signals: this.signals, basket: [...this.basket] }));
    } catch (error) {
      this.trouble(`visits are forgotten when the page is closed: ${error.message}`);
    }
  }

  load() {
    try {
      const { signals, basket } = JSON.parse(localStorage.getItem(KEY)) ?? {};
      const valid = (s) => typeof s.item === "string" && typeof s.what === "string" && Number.isFinite(s.time);
      this.signals = (signals ?? []).filter(valid);
      this.basket = new Map((basket ?? []).filter(([item, n]) => typeof item === "string" && Number.isInteger(n) && n > 0));
    } catch (error) {
      this.trouble(`the visit of before cannot be read: ${error.message}`);
      this.erase(false);
    }
  }
}
