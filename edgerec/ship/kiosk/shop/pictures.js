/** The picture of an item: from a catalogue column or the folder `pictures/`, else a drawn one of colour and initials. */
import { plain, wordsIn } from "./titles.js";

const SVG = "http://www.w3.org/2000/svg";
/** Colours that a title may name, as hues. */
const HUES = {
  red: 2, pink: 338, rose: 344, orange: 26, yellow: 48, gold: 44, green: 128, mint: 158, turquoise: 176, teal: 180, blue: 212,
  purple: 276, lilac: 282, violet: 270, brown: 24, cream: 40, ivory: 42, silver: 210, rot: 2, blau: 212, gruen: 128, gelb: 48, rouge: 2, bleu: 212, vert: 128,
};

/** @param {{picture: string | null}} settings @param {Record<string, string>} folder file by item, below pictures/ of `home` */
export function pictureOf(settings, folder, home = document.baseURI) {
  return (item, title, kind) => {
    const own = settings.picture === null ? null : item.attributes?.[settings.picture];
    const source = folder[item.item] ? `pictures/${folder[item.item]}` : typeof own === "string" && own !== "" ? own : null;
    const frame = document.createElement("span");
    frame.className = "picture";
    const drawn = () => frame.replaceChildren(draw(title, kind));
    if (source === null) drawn();
    else {
      const image = Object.assign(new Image(), { alt: "", loading: "lazy", decoding: "async" });
      image.addEventListener("error", drawn);
      image.src = new URL(source, home).href;
      frame.append(image);
    }
    return frame;
  };
}

function element(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Items of one kind have one colour and pattern, unless the title names a colour. */
function draw(title, kind) {
  const seed = [...plain(kind ?? title)].reduce((sum, c) => (sum * 31 + c.codePointAt(0)) >>> 0, 7);
  const named = wordsIn(title).find((word) => Object.hasOwn(HUES, word));
  const hue = named === undefined ? (seed * 47) % 360 : HUES[named];
  const words = title.match(/[\p{L}\p{N}]+/gu) ?? ["?"];
  const spoken = words.filter((word) => /^\p{L}/u.test(word) && word.length > 2);
  const initials = (spoken.length ? spoken : words).slice(0, 2).map((word) => [...word][0]).join("").toLocaleUpperCase();
  const svg = element("svg", { viewBox: "0 0 160 120", preserveAspectRatio: "xMidYMid slice", "aria-hidden": "true", focusable: "false" });
  svg.style.setProperty("--hue", String(hue));
  svg.append(element("rect", { width: 160, height: 120, class: "ground" }), ...pattern(seed));
  const text = element("text", { x: 80, y: 62, class: "initials", "text-anchor": "middle", "dominant-baseline": "central" });
  text.textContent = initials;
  svg.append(text);
  return svg;
}

/** Large quiet shapes behind the initials. */
function pattern(seed) {
  const shift = (seed >>> 5) % 60;
  const circle = (x, y, r) => element("circle", { cx: x, cy: y, r, class: "shape" });
  const kinds = [
    () => [circle(30 + shift, 14, 46), circle(140 - shift, 112, 38)],
    () => [element("path", { d: `M0 ${70 + shift / 3} Q40 ${40 + shift / 3} 80 ${70 + shift / 3} T160 ${70 + shift / 3} V120 H0Z`, class: "shape" })],
    () => [element("path", { d: `M${shift} 120 L${shift + 70} 0 H${shift + 110} L${shift + 40} 120Z`, class: "shape" })],
    () => [element("rect", { x: 44 + shift / 4, y: 14, width: 92, height: 92, rx: 18, class: "shape", transform: `rotate(${shift} 80 60)` })],
    () => [circle(80, 60, 52), circle(80, 60, 36)],
  ];
  return kinds[seed % kinds.length]();
}
