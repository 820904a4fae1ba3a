/** What the owner should know, behind "For staff" at the foot of the page; shoppers see none of it. */
import { make } from "./cards.js";

const at = (id) => document.getElementById(id);

export class Staff {
  lines = new Map();

  /** Something is wrong: a line, once, and a mark on the button. */
  trouble(line) {
    if (this.lines.has(line)) return;
    this.lines.set(line, true);
    this.show();
  }

  note(line) {
    this.lines.set(line, false);
    this.show();
  }

  /** Troubles about something are over. */
  resolved(start) {
    for (const line of [...this.lines.keys()]) if (line.startsWith(start)) this.lines.delete(line);
    this.show();
  }

  show() {
    const rows = [...this.lines].map(([line, bad]) => make("li", { textContent: line, className: bad ? "bad" : "" }));
    at("staff-lines").replaceChildren(...rows);
    document.body.toggleAttribute("data-trouble", [...this.lines.values()].some(Boolean));
  }
}
