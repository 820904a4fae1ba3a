/** The site's one search. Index and code are plain scripts, so that it works from file:// and with no network. */
(() => {
  const MOST = 12;
  const AROUND = 70; // characters of a page shown on either side of what was found

  const plain = (text) => text.toLowerCase().normalize("NFKD").replace(/[\u0300-\u036f]/g, "");
  const words = (text) => (plain(text).match(/[\p{L}\p{N}_@.-]+/gu) ?? []).map((word) => word.replace(/^[.-]+|[.-]+$/g, ""));
  const stem = (word) => (word.length > 3 ? word.replace(/(?:es|s)$/, "") : word);
  const known = new WeakMap();

  function prepared(section) {
    if (!known.has(section)) {
      known.set(section, { heading: words(section.heading), page: words(section.page), text: words(section.text) });
    }
    return known.get(section);
  }

  const begins = (list, start) => list.filter((word) => word.startsWith(start)).length;

  /** Sections of the index that have all words of the query, best first; those that have some, where none has all. */
  function find(index, query) {
    const asked = [...new Set(words(query).filter(Boolean).map(stem))];
    if (!asked.length) return [];
    const scored = index.map((section) => {
      const of = prepared(section);
      const found = asked.map((word) => 12 * Math.min(begins(of.heading, word), 1) + 6 * Math.min(begins(of.page, word), 1) +
        Math.min(begins(of.text, word), 4));
      const phrase = asked.length > 1 && plain(`${section.heading} ${section.text}`).includes(plain(query.trim())) ? 8 : 0;
      const having = found.filter((score) => score > 0).length;
      return { section, having, score: found.reduce((sum, score) => sum + score, phrase) };
    });
    const most = Math.max(...scored.map((one) => one.having), 0);
    return most === 0 ? [] : scored.filter((one) => one.having === most).sort((a, b) => b.score - a.score)
      .slice(0, MOST).map((one) => one.section);
  }

  /** The part of a text around the first word that was asked for. */
  function excerpt(text, query) {
    const low = plain(text);
    const places = words(query).map((word) => low.indexOf(stem(word))).filter((place) => place >= 0);
    const from = Math.max(0, (places.length ? Math.min(...places) : 0) - AROUND);
    const part = text.slice(from, from + 2 * AROUND);
    return `${from ? "…" : ""}${part}${from + 2 * AROUND < text.length ? "…" : ""}`;
  }

  globalThis.edgerecFind = find;
  if (typeof document === "undefined") return;

  const base = new URL("..", document.currentScript.src);
  const built = (name, keys = {}, ...children) => {
    const node = Object.assign(document.createElement(name), keys);
    node.append(...children);
    return node;
  };
  document.addEventListener("DOMContentLoaded", () => {
    const input = built("input", { type: "search", placeholder: "Search", autocomplete: "off" });
    input.setAttribute("aria-label", "Search the documentation");
    const list = built("ol", { hidden: true });
    const status = built("span", { className: "site-search-status" });
    status.setAttribute("role", "status");
    const form = built("form", { className: "site-search" }, input, status, list);
    form.setAttribute("role", "search");
    document.querySelector(".md-header__inner").append(form);
    const close = () => { list.hidden = true; };
    input.addEventListener("input", () => {
      const found = find(globalThis.edgerecSections, input.value);
      list.replaceChildren(...found.map((section) => built("li", {}, built("a", { href: new URL(section.url, base).href },
        built("b", { textContent: section.heading }), built("small", { textContent: section.page }),
        built("span", { textContent: excerpt(section.text, input.value) })))));
      list.hidden = !found.length;
      status.textContent = input.value.trim() && !found.length ? "nothing found" : "";
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      list.querySelector("a")?.click();
    });
    form.addEventListener("keydown", (event) => { if (event.key === "Escape") close(); });
    document.addEventListener("click", (event) => { if (!form.contains(event.target)) close(); });
    document.addEventListener("keydown", (event) => {
      if (event.key === "/" && !/^(?:INPUT|TEXTAREA)$/.test(document.activeElement.tagName)) {
        event.preventDefault();
        input.focus();
      }
    });
  });
})();
