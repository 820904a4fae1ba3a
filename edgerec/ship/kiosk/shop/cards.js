/** Cards of items, and skeletons in their place while they are looked up. */
/** An element with properties and children. */
export function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("aria-") || key === "role") element.setAttribute(key, value);
    else if (key === "data") Object.assign(element.dataset, value);
    else element[key] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== ""));
  return element;
}

/**
 * @param {object} item @param {{why?: string, badge?: string | null}} extra
 * `shop.open(item)`, `shop.add(item)` and `shop.hide(item)` are called, where they are.
 */
export function card(shop, item, { why = "", badge = null } = {}) {
  const { goods, words } = shop;
  const title = goods.title(item);
  const price = shop.price(item);
  const picture = shop.picture(item, title, goods.categories(item)[0]);
  const open = make(
    "a",
    { className: "open", href: shop.address(item) },
    make("span", { className: "top" }, picture, badge === null ? null : make("span", { className: "badge", textContent: badge })),
    make("strong", { className: "title", textContent: title }),
    why === "" ? null : make("span", { className: "why", textContent: why }),
    price === "" ? null : make("span", { className: "price", textContent: price }),
  );
  const row = make("li", { className: "card", data: { item: item.item } }, open);
  if (shop.add) {
    const add = make("button", { type: "button", className: "add", "aria-label": `${words.add}: ${title}`, title: words.add }, icon("plus"));
    add.addEventListener("click", () => shop.add(item));
    row.append(add);
  }
  if (shop.hide) {
    const hide = make("button", { type: "button", className: "hide", "aria-label": `${words.hide}: ${title}`, title: words.hide }, icon("down"));
    hide.addEventListener("click", () => shop.hide(item));
    row.append(hide);
  }
  return row;
}

export function skeletons(n) {
  return Array.from({ length: n }, () => make("li", { className: "card skeleton", "aria-hidden": "true" }, make("span", { className: "top" }, make("span", { className: "picture" })), make("span", { className: "bar" }), make("span", { className: "bar short" })));
}

const PATHS = {
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  close: "M6 6l12 12M18 6L6 18",
  // a thumb that points down
  down: "M8 4v9H4V4zM8 13l4 7c1.6 0 2.5-1 2.2-2.6L13.6 14H18a2 2 0 0 0 2-2.3l-.9-5.4A2.6 2.6 0 0 0 16.5 4H8",
};

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** A line of what is in the basket. */
export function basketLine(shop, item, count) {
  const { goods, words } = shop;
  const title = goods.title(item);
  const button = (name, label, change) => {
    const made = make("button", { type: "button", className: "step", "aria-label": `${label}: ${title}`, title: label }, icon(name));
    made.addEventListener("click", () => shop.change(item, change));
    return made;
  };
  return make(
    "li",
    { className: "line", data: { item: item.item } },
    shop.picture(item, title, goods.categories(item)[0]),
    make("a", { className: "title", href: shop.address(item), textContent: title }),
    make(
      "span",
      { className: "count" },
      button("minus", words.less, -1),
      make("output", { textContent: String(count) }),
      button("plus", words.more, 1),
    ),
    make("span", { className: "price", textContent: shop.price(item, count) }),
    button("close", words.remove, -count),
  );
}
