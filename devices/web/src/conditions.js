/**
 * The language of conditions, as edgerec/bundle/conditions describes it: it cannot fail, loop or reach outside.
 * A value is a number (NaN where missing), a string (null where missing) or, of a column with several in a cell, an
 * array of strings (null where there is none); a truth is 0 false, 1 unknown, 2 true.
 */
import { ConfigError } from "./errors.js";

const MAX_LENGTH = 4096;
const MAX_DEPTH = 40;
const TOKEN =
  /(?<space>[\s]+|--[^\n]*)|(?<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)|(?<text>'(?:[^']|'')*')|(?<quoted>"(?:[^"]|"")+")|(?<parameter>:[A-Za-z_][\p{L}\p{N}_]*)|(?<word>[\p{L}_][\p{L}\p{N}_]*)|(?<sign><=|>=|<>|!=|==|[=<>(),+\-*/])/uy;
const KEYWORDS = new Set(["and", "between", "false", "in", "is", "like", "not", "null", "or", "true"]);
/** The orders of two values, -1, 0 or 1, for which each holds. */
const COMPARISONS = { "=": [0], "==": [0], "!=": [-1, 1], "<>": [-1, 1], "<": [-1], "<=": [-1, 0], ">": [1], ">=": [0, 1] };
const SEVERAL = "a column with several values in a cell can be asked with = and != a string, IN, LIKE and IS NULL";
const SUMS = { "+": (a, b) => a + b, "-": (a, b) => a - b };
const PRODUCTS = { "*": (a, b) => a * b, "/": (a, b) => a / b };

/** A condition that was read and checked against a catalogue's columns. */
export class Condition {
  /**
   * @param {string} text
   * @param {{columns: Map<string, {kind: "number" | "text" | "list", at: (i: number) => number | string | string[] | null}>}} catalog
   */
  constructor(text, catalog) {
    try {
      const parser = new Parser(text, catalog.columns);
      this.text = text;
      this.met = parser.parse();
      this.parameters = [...parser.parameters].sort();
    } catch (error) {
      if (!(error instanceof InvalidCondition)) throw error;
      throw new ConfigError(`condition '${typeof text === "string" ? text.slice(0, 80) : typeof text}': ${error.message.slice(0, 400)}`);
    }
  }

  /** Indices of the n items that it is not true for; a parameter that is not given is missing. */
  failing(n, parameters) {
    const failing = [];
    for (let i = 0; i < n; i++) if (this.met(i, parameters) !== 2) failing.push(i);
    return failing;
  }
}

/** A part of a condition is not what the language allows. */
class InvalidCondition extends Error {}

// Tokens.

/** The tokens of one condition, read from left to right. */
class TokenStream {
  constructor(text) {
    if (typeof text !== "string") throw new InvalidCondition("expected a string");
    if (text.length > MAX_LENGTH) throw new InvalidCondition(`is longer than ${MAX_LENGTH} characters`);
    this.tokens = tokenize(text);
    this.at = 0;
  }

  next() {
    if (this.at >= this.tokens.length) throw new InvalidCondition("ends too early");
    return this.tokens[this.at++];
  }

  /** A sign, or a word of the language in lower case; undefined for everything else. */
  peek(ahead = 0) {
    const [kind, token] = this.tokens[this.at + ahead] ?? [];
    if (kind === "sign") return token;
    return kind === "word" && KEYWORDS.has(token.toLowerCase()) ? token.toLowerCase() : undefined;
  }

  accept(keyword) {
    const accepted = this.peek() === keyword;
    if (accepted) this.at++;
    return accepted;
  }

  expect(keyword) {
    if (this.accept(keyword)) return;
    const got = this.tokens[this.at];
    throw new InvalidCondition(`expected '${keyword.toUpperCase()}', got ${got ? `'${got[1]}'` : "the end"}`);
  }

  expectEnd() {
    if (this.at < this.tokens.length) throw new InvalidCondition(`did not expect '${this.tokens[this.at][1]}'`);
  }
}

function tokenize(text) {
  const tokens = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const at = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    if (match === null) throw new InvalidCondition(`did not expect '${text[at]}'`);
    const kind = Object.keys(match.groups).find((k) => match.groups[k] !== undefined);
    if (kind !== "space") tokens.push([kind, match[0]]);
  }
  return tokens;
}

// The grammar.

/** Reads one condition; a method for each rule of the grammar, from what binds least to what binds most. */
class Parser extends TokenStream {
  constructor(text, columns) {
    super(text);
    this.columns = columns;
    this.depth = 0;
    this.parameters = new Set();
  }

  parse() {
    const met = truthOf(this.anyOf());
    this.expectEnd();
    return met;
  }

  anyOf() {
    return this.joined("or", () => this.allOf(), Math.max);
  }

  allOf() {
    return this.joined("and", () => this.negation(), Math.min);
  }

  joined(word, part, join) {
    const first = part();
    if (!this.accept(word)) return first;
    const parts = [truthOf(first)];
    do parts.push(truthOf(part()));
    while (this.accept(word));
    return joined(join, parts);
  }

  negation() {
    return this.accept("not") ? negated(this.deeper(() => this.negation())) : this.comparison();
  }

  comparison() {
    const left = this.sum();
    const sign = this.peek();
    if (sign !== undefined && Object.hasOwn(COMPARISONS, sign)) {
      this.next();
      return comparison(sign, left, this.sum());
    }
    if (this.accept("is")) {
      const inverted = this.accept("not");
      this.expect("null");
      const value = valueOf(left);
      return truth((i, p) => (missing(value(i, p)) !== inverted ? 2 : 0));
    }
    const inverted = this.peek() === "not" && ["in", "between", "like"].includes(this.peek(1));
    if (inverted) this.next();
    let node = left;
    if (this.accept("in")) node = this.in(left);
    else if (this.accept("between")) node = this.between(left);
    else if (this.accept("like")) node = like(stringsOf(left), this.sum());
    return inverted ? negated(node) : node;
  }

  in(left) {
    this.expect("(");
    const parts = [];
    do parts.push(comparison("=", left, this.sum()).of);
    while (this.accept(","));
    this.expect(")");
    return joined(Math.max, parts);
  }

  between(left) {
    const low = this.sum();
    this.expect("and");
    return joined(Math.min, [comparison(">=", left, low).of, comparison("<=", left, this.sum()).of]);
  }

  sum() {
    return this.calculated(() => this.product(), SUMS);
  }

  product() {
    return this.calculated(() => this.signed(), PRODUCTS);
  }

  calculated(part, signs) {
    let node = part();
    for (let sign = this.peek(); sign !== undefined && Object.hasOwn(signs, sign); sign = this.peek()) {
      this.next();
      node = calculation(signs[sign], node, part());
    }
    return node;
  }

  signed() {
    if (!this.accept("-")) return this.atom();
    const value = numberOf(this.deeper(() => this.signed()));
    return numeric((i, p) => -value(i, p));
  }

  atom() {
    const [kind, token] = this.next();
    if (kind === "sign" && token === "(") {
      const node = this.deeper(() => this.anyOf());
      this.expect(")");
      return node;
    }
    if (kind === "number") return constant(Number(token));
    if (kind === "text") return constant(token.slice(1, -1).replaceAll("''", "'"));
    if (kind === "parameter") {
      const name = token.slice(1);
      this.parameters.add(name);
      return { kind: "any", of: (i, p) => given(p[name]) };
    }
    if (kind === "quoted") return this.column(token.slice(1, -1).replaceAll('""', '"'));
    const word = token.toLowerCase();
    if (kind === "word" && word === "true") return constant(1);
    if (kind === "word" && word === "false") return constant(0);
    if (kind === "word" && word === "null") return { kind: "any", of: () => NaN };
    if (kind === "word" && !KEYWORDS.has(word)) return this.peek() === "(" ? this.call(token) : this.column(token);
    throw new InvalidCondition(`did not expect '${token}'`);
  }

  column(name) {
    const names = [...this.columns.keys()];
    const known = this.columns.has(name) ? name : names.find((n) => n.toLowerCase() === name.toLowerCase());
    if (known === undefined) throw new InvalidCondition(`no such column: ${name} (the catalogue has ${names.join(", ")})`);
    const { kind, at } = this.columns.get(known);
    return { kind, of: (i) => at(i) };
  }

  call(name) {
    const nodes = [];
    this.expect("(");
    do nodes.push(this.deeper(() => this.sum()));
    while (this.accept(","));
    this.expect(")");
    if (!Object.hasOwn(FUNCTIONS, name.toLowerCase()))
      throw new InvalidCondition(`no function ${name}; these may be used: ${Object.keys(FUNCTIONS).join(" ")}`);
    return FUNCTIONS[name.toLowerCase()](nodes);
  }

  deeper(part) {
    if (++this.depth > MAX_DEPTH) throw new InvalidCondition(`is nested deeper than ${MAX_DEPTH}`);
    const node = part();
    this.depth--;
    return node;
  }
}

// Nodes: {kind, of}, where `of` gives the value or the truth of an item. Each is checked when it is made.

function truthOf(node) {
  if (node.kind === "truth") return node.of;
  if (node.kind === "text") throw new InvalidCondition("a string is neither true nor false; compare it");
  if (node.kind === "list") throw new InvalidCondition(SEVERAL);
  return (i, p) => {
    const value = asNumber(node.of(i, p));
    return Number.isNaN(value) ? 1 : value !== 0 ? 2 : 0;
  };
}

function valueOf(node) {
  if (node.kind === "truth")
    throw new InvalidCondition("a comparison is not a value; join comparisons with AND or OR");
  return node.of;
}

function numberOf(node) {
  if (node.kind === "text") throw new InvalidCondition("cannot calculate with a string");
  if (node.kind === "list") throw new InvalidCondition(SEVERAL);
  const value = valueOf(node);
  return (i, p) => asNumber(value(i, p));
}

function stringsOf(node) {
  if (node.kind === "number") throw new InvalidCondition("LIKE is for strings");
  return valueOf(node);
}

const truth = (of) => ({ kind: "truth", of });
const numeric = (of) => ({ kind: "number", of });

function negated(node) {
  const of = truthOf(node);
  return truth((i, p) => 2 - of(i, p));
}

function joined(join, parts) {
  return truth(parts.reduce((before, part) => (i, p) => join(before(i, p), part(i, p))));
}

function comparison(sign, left, right) {
  const kinds = [left.kind, right.kind];
  if (kinds.includes("list")) return contains(sign, left, right);
  if (kinds.includes("number") && kinds.includes("text"))
    throw new InvalidCondition(`${sign} compares a number with a string`);
  const a = valueOf(left);
  const b = valueOf(right);
  const holds = COMPARISONS[sign];
  return truth((i, p) => compare(holds, a(i, p), b(i, p)));
}

/** A column with several strings in a cell equals a string that is one of them. */
function contains(sign, left, right) {
  const [lists, other] = left.kind === "list" ? [left, right] : [right, left];
  const inverted = sign === "!=" || sign === "<>";
  if (!(inverted || sign === "=" || sign === "==") || !["text", "any"].includes(other.kind))
    throw new InvalidCondition(SEVERAL);
  const value = valueOf(other);
  const held = truth((i, p) => {
    const [list, text] = [lists.of(i, p), value(i, p)];
    return list === null || typeof text !== "string" ? 1 : list.includes(text) ? 2 : 0;
  });
  return inverted ? negated(held) : held;
}

function like(value, pattern) {
  if (pattern.text === undefined) throw new InvalidCondition("LIKE expects a string in quotes");
  const matches = likeMatcher(pattern.text);
  return truth((i, p) => {
    const text = value(i, p);
    if (Array.isArray(text)) return text.some(matches) ? 2 : 0;
    return typeof text === "string" ? (matches(text) ? 2 : 0) : 1;
  });
}

function calculation(apply, left, right) {
  const a = numberOf(left);
  const b = numberOf(right);
  return numeric((i, p) => finite(apply(a(i, p), b(i, p))));
}

function constant(value) {
  return typeof value === "string" ? { kind: "text", of: () => value, text: value } : numeric(() => finite(value));
}

// Functions.

const onStrings = (kind, apply, otherwise) => (nodes) => {
  if (nodes.length !== 1 || !["text", "any"].includes(nodes[0].kind))
    throw new InvalidCondition("this function takes one string");
  const value = valueOf(nodes[0]);
  return {
    kind,
    of: (i, p) => {
      const text = value(i, p);
      return typeof text === "string" ? apply(text) : otherwise;
    },
  };
};

const FUNCTIONS = {
  abs: (nodes) => {
    if (nodes.length !== 1) throw new InvalidCondition("abs takes one number");
    const value = numberOf(nodes[0]);
    return numeric((i, p) => Math.abs(value(i, p)));
  },
  coalesce: (nodes) => {
    const kinds = new Set(nodes.map((v) => v.kind).filter((k) => k !== "any"));
    if (nodes.length !== 2 || kinds.size !== 1 || kinds.has("truth") || kinds.has("list"))
      throw new InvalidCondition("coalesce takes two numbers or two strings");
    const kind = [...kinds][0];
    const [first, second] = nodes.map(valueOf);
    // A parameter of the other kind counts as missing.
    const known = (value) => (kind === "text") === (typeof value === "string") && !missing(value);
    return { kind, of: (i, p) => [first(i, p), second(i, p)].find(known) ?? (kind === "text" ? null : NaN) };
  },
  length: onStrings("number", (text) => [...text].length, NaN),
  lower: onStrings("text", lower, null),
  upper: onStrings("text", (text) => text.replace(/[a-z]/g, (c) => c.toUpperCase()), null),
};

// Values.

function lower(text) {
  return text.replace(/[A-Z]/g, (c) => c.toLowerCase());
}

function finite(value) {
  return Number.isFinite(value) ? value : NaN;
}

function given(value) {
  if (typeof value === "string") return value;
  return finite(typeof value === "boolean" ? Number(value) : value);
}

function asNumber(value) {
  return typeof value === "number" ? value : NaN;
}

function missing(value) {
  return value === null || Number.isNaN(value);
}

function compare(holds, a, b) {
  if (missing(a) || missing(b) || typeof a !== typeof b) return 1;
  return holds.includes(typeof a === "string" ? order(a, b) : Math.sign(a - b)) ? 2 : 0;
}

/** Order of two strings by code point; JavaScript compares 16-bit units, where surrogates come before U+E000. */
function order(a, b) {
  if (a === b) return 0;
  const n = Math.min(a.length, b.length);
  for (let i = 0; i < n; i++) {
    let x = a.charCodeAt(i);
    let y = b.charCodeAt(i);
    if (x === y) continue;
    if (x >= 0xd800 && y >= 0xd800) {
      x += x >= 0xe000 ? -0x800 : 0x2000;
      y += y >= 0xe000 ? -0x800 : 0x2000;
    }
    return x < y ? -1 : 1;
  }
  return a.length < b.length ? -1 : 1;
}

/** LIKE: % is any string, _ any character; each % matches as little as the rest allows. */
function likeMatcher(pattern) {
  const p = [...lower(pattern)];
  return (text) => {
    const s = [...lower(text)];
    let [i, j, star, mark] = [0, 0, -1, 0];
    while (j < s.length) {
      if (p[i] === "%") [star, mark] = [i++, j];
      else if (i < p.length && (p[i] === "_" || p[i] === s[j])) [i, j] = [i + 1, j + 1];
      else if (star >= 0) [i, j] = [star + 1, ++mark];
      else return false;
    }
    while (p[i] === "%") i++;
    return i === p.length;
  };
}
