/**
 * Finds items by words that may be mistyped, joined ("cakestnd") or begun ("lante"): every word of the question is
 * compared with every word of the catalogue, and with every pair of neighbours written as one.
 */
import { plain, wordsIn } from "./titles.js";

/** How well a word of the catalogue answers a word of the question. */
const EXACT = 1;
const BEGUN = 0.85;
const TYPO = 0.6;
/** A pair of words counts for less than one word that fits as well. */
const PAIR = 0.95;

export class Search {
  /** @param {{texts: string[]}[]} items the first text is the title; the others (category, id) count for less */
  constructor(items) {
    this.size = items.length;
    this.compact = items.map(({ texts }) => plain(texts[0]).replace(/[^\p{L}\p{N}]/gu, ""));
    this.lengths = new Float32Array(items.length);
    const entries = new Map();
    const add = (word, item, weight) => {
      if (!entries.has(word)) entries.set(word, { word, letters: letters(word), items: [], weights: [] });
      const entry = entries.get(word);
      if (entry.items.at(-1) === item) return;
      entry.items.push(item);
      entry.weights.push(weight);
    };
    for (const [i, { texts }] of items.entries()) {
      for (const [t, text] of texts.entries()) {
        const words = wordsIn(text);
        if (t === 0) this.lengths[i] = words.length;
        for (const [at, word] of words.entries()) {
          add(word, i, t === 0 ? 1 : 0.7);
          if (at > 0) add(words[at - 1] + word, i, t === 0 ? PAIR : 0.6);
        }
      }
    }
    this.entries = [...entries.values()];
  }

  /** Items that answer, best first: {item, score}. All words must be answered; where none does so, most of them. */
  find(question) {
    const words = wordsIn(question);
    if (!words.length) return [];
    const total = new Float32Array(this.size);
    const answered = new Uint8Array(this.size);
    for (const [at, word] of words.entries()) {
      const best = this.answers(word, at === words.length - 1 || word.length > 3);
      for (const [item, quality] of best) {
        total[item] += quality;
        answered[item]++;
      }
    }
    const compact = words.join("");
    const found = [];
    const most = answered.reduce((a, b) => Math.max(a, b), 0);
    const least = Math.max(most === words.length ? most : Math.ceil(words.length / 2), 1);
    for (let i = 0; i < this.size; i++) {
      // Languages without spaces, and words written together.
      const inside = compact.length > 1 && this.compact[i].includes(compact);
      if (!inside && answered[i] < least) continue;
      const score = Math.max(total[i] / words.length, inside ? 0.8 : 0) + 0.05 / Math.max(this.lengths[i], 1);
      found.push({ item: i, score });
    }
    return found.sort((a, b) => b.score - a.score || a.item - b.item);
  }

  /** The best quality by item of one word. */
  answers(word, mayBegin) {
    const best = new Map();
    const errors = word.length < 4 ? 0 : word.length < 8 ? 1 : 2;
    const own = letters(word);
    for (const entry of this.entries) {
      const quality = this.quality(word, own, entry, errors, mayBegin);
      if (quality === 0) continue;
      for (let n = 0; n < entry.items.length; n++) {
        const value = quality * entry.weights[n];
        if (value > (best.get(entry.items[n]) ?? 0)) best.set(entry.items[n], value);
      }
    }
    return best;
  }

  quality(word, own, entry, errors, mayBegin) {
    if (entry.word === word) return EXACT;
    if (mayBegin && word.length > 1 && entry.word.startsWith(word)) return BEGUN * (0.9 + 0.1 * (word.length / entry.word.length));
    if (errors === 0 || Math.abs(entry.word.length - word.length) > errors) return 0;
    // Each error changes at most two letters of the set.
    if (bits(own ^ entry.letters) > 2 * errors) return 0;
    const distance = edits(word, entry.word, errors);
    return distance > errors ? 0 : TYPO - 0.1 * (distance - 1) - (entry.word[0] === word[0] ? 0 : 0.1);
  }

  /** Words of the catalogue that are most like a question that found nothing. */
  nearest(question, n = 3) {
    const asked = wordsIn(question).filter((word) => word.length > 2);
    const near = [];
    for (const { word, items, weights } of this.entries) {
      if (word.length < 3 || weights[0] < 1) continue;
      const distance = Math.min(...asked.map((a) => edits(a, word, 3) / Math.max(a.length, word.length)));
      if (distance < 0.5) near.push({ word, distance, often: items.length });
    }
    return near.sort((a, b) => a.distance - b.distance || b.often - a.often).slice(0, n).map(({ word }) => word);
  }
}

/** Which letters a word has, as bits; others than a to z share bits. */
function letters(word) {
  let set = 0;
  for (let i = 0; i < word.length; i++) set |= 1 << (word.charCodeAt(i) % 31);
  return set;
}

function bits(set) {
  let n = 0;
  for (let left = set; left; left &= left - 1) n++;
  return n;
}

/** Letters to insert, delete, change or swap with a neighbour; `most` + 1 where there are more. */
export function edits(a, b, most) {
  if (Math.abs(a.length - b.length) > most) return most + 1;
  let before = null;
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    let least = i;
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      row[j] = Math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) row[j] = Math.min(row[j], before[j - 2] + 1);
      if (row[j] < least) least = row[j];
    }
    if (least > most) return most + 1;
    [before, last] = [last, row];
  }
  return last[b.length];
}
