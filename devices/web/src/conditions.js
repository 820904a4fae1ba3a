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
const COMPARISONS = {
  "=": (c) => c === 0,
  "==": (c) => c === 0,
  "!=": (c) => c !== 0,
  "<>": (c) => c !== 0,
  "<": (c) => c < 0,
  "<=": (c) => c <= 0,
  ">": (c) => c > 0,
  ">=": (c) => c >= 0,
};
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
class Parser {
  constructor(text, columns) {
    this.columns = columns;
    this.tokens = new TokenStream(text);
    this.depth = 0;
    this.parameters = new Set();
  }

  parse() {
    const truth = truthOf(this.anyOf());
    this.tokens.expectEnd();
    return truth;
  }

  anyOf() {
    return this.joined("or", () => this.allOf(), Math.max);
  }

  allOf() {
    return this.joined("and", () => this.negation(), Math.min);
  }

  joined(word, part, join) {
    const first = part();
    if (!this.tokens.accept(word)) return first;
    const parts = [truthOf(first)];
    do parts.push(truthOf(part()));
    while (this.tokens.accept(word));
    return joined(join, parts);
  }

  negation() {
    return this.tokens.accept("not") ? negated(this.deeper(() => this.negation())) : this.comparison();
  }

  comparison() {
    const { tokens } = this;
    const left = this.sum();
    const sign = tokens.peek();
    if (sign !== undefined && Object.hasOwn(COMPARISONS, sign)) {
      tokens.next();
      return comparison(sign, left, this.sum());
    }
    if (tokens.accept("is")) {
      const inverted = tokens.accept("not");
      tokens.expect("null");
      const value = valueOf(left);
      return { kind: "truth", of: (i, p) => (missing(value(i, p)) !== inverted ? 2 : 0) };
    }
    const inverted = tokens.peek() === "not" && ["in", "between", "like"].includes(tokens.peek(1));
    if (inverted) tokens.next();
    let node = left;
    if (tokens.accept("in")) node = this.in(left);
    else if (tokens.accept("between")) node = this.between(left);
    else if (tokens.accept("like")) node = like(stringsOf(left), this.sum());
    return inverted ? negated(node) : node;
  }

  in(left) {
    this.tokens.expect("(");
    const parts = [];
    do parts.push(comparison("=", left, this.sum()).of);
    while (this.tokens.accept(","));
    this.tokens.expect(")");
    return joined(Math.max, parts);
  }

  between(left) {
    const low = this.sum();
    this.tokens.expect("and");
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
    for (let sign = this.tokens.peek(); sign !== undefined && Object.hasOwn(signs, sign); sign = this.tokens.peek()) {
      this.tokens.next();
      node = calculation(signs[sign], node, part());
    }
    return node;
  }

  signed() {
    if (!this.tokens.accept("-")) return this.atom();
    const value = numberOf(this.deeper(() => this.signed()));
    return { kind: "number", of: (i, p) => -value(i, p) };
  }

  atom() {
    const [kind, token] = this.tokens.next();
    if (kind === "sign" && token === "(") {
      const node = this.deeper(() => this.anyOf());
      this.tokens.expect(")");
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
    if (kind === "word" && !KEYWORDS.has(word)) return this.tokens.peek() === "(" ? this.call(token) : this.column(token);
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
    this.tokens.expect("(");
    do nodes.push(this.deeper(() => this.sum()));
    while (this.tokens.accept(","));
    this.tokens.expect(")");
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

function negated(node) {
  const truth = truthOf(node);
  return { kind: "truth", of: (i, p) => 2 - truth(i, p) };
}

function joined(join, parts) {
  return { kind: "truth", of: parts.reduce((before, part) => (i, p) => join(before(i, p), part(i, p))) };
}

function comparison(sign, left, right) {
  const kinds = [left.kind, right.kind];
  if (kinds.includes("list")) return contains(sign, left, right);
  if (kinds.includes("number") && kinds.includes("text"))
    throw new InvalidCondition(`${sign} compares a number with a string`);
  const a = valueOf(left);
  const b = valueOf(right);
  const holds = COMPARISONS[sign];
  return { kind: "truth", of: (i, p) => compare(holds, a(i, p), b(i, p)) };
}

/** A column with several strings in a cell equals a string that is one of them. */
function contains(sign, left, right) {
  const [lists, other] = left.kind === "list" ? [left, right] : [right, left];
  const inverted = sign === "!=" || sign === "<>";
  if (!(inverted || sign === "=" || sign === "==") || !["text", "any"].includes(other.kind))
    throw new InvalidCondition(SEVERAL);
  const value = valueOf(other);
  const held = (i, p) => {
    const [list, text] = [lists.of(i, p), value(i, p)];
    return list === null || typeof text !== "string" ? 1 : list.includes(text) ? 2 : 0;
  };
  return inverted ? negated({ kind: "truth", of: held }) : { kind: "truth", of: held };
}

function like(value, pattern) {
  if (pattern.text === undefined) throw new InvalidCondition("LIKE expects a string in quotes");
  const matches = likeMatcher(pattern.text);
  return {
    kind: "truth",
    of: (i, p) => {
      const text = value(i, p);
      if (Array.isArray(text)) return text.some(matches) ? 2 : 0;
      return typeof text === "string" ? (matches(text) ? 2 : 0) : 1;
    },
  };
}

function calculation(apply, left, right) {
  const a = numberOf(left);
  const b = numberOf(right);
  return {
    kind: "number",
    of: (i, p) => {
      const value = apply(a(i, p), b(i, p));
      return Number.isFinite(value) ? value : NaN;
    },
  };
}

function constant(value) {
  return typeof value === "string"
    ? { kind: "text", of: () => value, text: value }
    : { kind: "number", of: () => (Number.isFinite(value) ? value : NaN) };
}

// Functions.

function oneString(nodes) {
  if (nodes.length !== 1 || !["text", "any"].includes(nodes[0].kind))
    throw new InvalidCondition("this function takes one string");
  return valueOf(nodes[0]);
}

const onStrings = (kind, apply, otherwise) => (nodes) => {
  const value = oneString(nodes);
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
    return { kind: "number", of: (i, p) => Math.abs(value(i, p)) };
  },
  coalesce: (nodes) => {
    const kinds = new Set(nodes.map((v) => v.kind).filter((k) => k !== "any"));
    if (nodes.length !== 2 || kinds.size !== 1 || kinds.has("truth") || kinds.has("list"))
      throw new InvalidCondition("coalesce takes two numbers or two strings");
    const kind = [...kinds][0];
    const [first, second] = nodes.map(valueOf);
    // A parameter of the other kind counts as missing.
    const known = (value) => (kind === "text") === (typeof value === "string") && !missing(value);
    const none = kind === "text" ? null : NaN;
    return {
      kind,
      of: (i, p) => {
        const value = first(i, p);
        if (known(value)) return value;
        const other = second(i, p);
        return known(other) ? other : none;
      },
    };
  },
  length: onStrings("number", (text) => [...text].length, NaN),
  lower: onStrings("text", lower, null),
  upper: onStrings("text", (text) => text.replace(/[a-z]/g, (c) => c.toUpperCase()), null),
};

// Values.

function lower(text) {
  return text.replace(/[A-Z]/g, (c) => c.toLowerCase());
}

function given(value) {
  if (typeof value === "string") return value;
  const number = typeof value === "boolean" ? Number(value) : value;
  return typeof number === "number" && Number.isFinite(number) ? number : NaN;
}

function asNumber(value) {
  return typeof value === "number" ? value : NaN;
}

function missing(value) {
  return value === null || Number.isNaN(value);
}

function compare(holds, a, b) {
  if (missing(a) || missing(b) || typeof a !== typeof b) return 1;
  return holds(typeof a === "string" ? order(a, b) : a < b ? -1 : a > b ? 1 : 0) ? 2 : 0;
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
