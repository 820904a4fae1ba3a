/** The drawer "Tune": what a visitor wants more of, in the shop's words. */
import { make } from "./cards.js";

const at = (id) => document.getElementById(id);

/** The words of a task: the shop's own, else by what it predicts. */
function named({ words, settings }, { name, kind, repeats = "allow" }) {
  if (Object.hasOwn(settings.tasks, name)) return settings.tasks[name];
  if (kind !== "retrieval") return name;
  return repeats === "exclude" ? words.discover : words.favourites;
}

export class Tune {
  constructor(shop, changed) {
    this.shop = shop;
    this.changed = changed;
    at("tune-open").addEventListener("click", () => at("tune").showModal());
    at("tune-close").addEventListener("click", () => at("tune").close());
    at("tune").addEventListener("click", (event) => event.target === at("tune") && at("tune").close());
    at("tune-reset").addEventListener("click", () => {
      this.reset();
      changed();
    });
    at("wishes").addEventListener("submit", (event) => event.preventDefault());
  }

  /** One slider for each task that has a word, and one for variety. */
  build() {
    const { rec, settings, words } = this.shop;
    const all = rec.manifest.tasks.filter((task) => task.kind !== "related" && (settings.weights[task.name] || Object.hasOwn(settings.tasks, task.name) || task.kind === "retrieval"));
    const tasks = all.length > 1 ? all : [];
    this.largest = Math.max(1, ...tasks.map((task) => Math.abs(settings.weights[task.name] ?? 0)));
    const rows = tasks.map((task) => this.slider(`task ${task.name}`, named(this.shop, task), (settings.weights[task.name] ?? 0) / this.largest));
    at("wishes").replaceChildren(...rows, this.slider("variety", words.variety, settings.diversity));
    at("tune-open").hidden = false;
  }

  slider(name, label, value) {
    const input = make("input", { type: "range", min: "0", max: "1", step: "0.1", data: { wish: name } });
    input.defaultValue = input.value = String(Math.min(Math.max(value, 0), 1));
    input.addEventListener("change", this.changed);
    return make("label", {}, label, input);
  }

  reset() {
    at("wishes").reset();
  }

  /** Weights by task; those of the settings where all sliders of tasks stand at nothing. */
  weights() {
    const { weights } = this.shop.settings;
    const sliders = [...at("wishes").querySelectorAll("input[data-wish^='task ']")];
    const moved = sliders.filter((input) => input.value !== input.defaultValue);
    if (!moved.length || sliders.every((input) => Number(input.value) === 0)) return weights;
    return { ...weights, ...Object.fromEntries(moved.map((input) => [input.dataset.wish.slice(5), Number(input.value) * this.largest])) };
  }

  get diversity() {
    const slider = at("wishes").querySelector("input[data-wish='variety']");
    return slider ? Number(slider.value) : this.shop.settings.diversity;
  }
}
