/**
 * The language of conditions, as edgerec/bundle/conditions.py describes it: it cannot fail, loop or reach outside.
 * A value is a number (NaN where missing) or a text (null where missing); a truth is 0 false, 1 unknown, 2 true.
 */
import { ConfigError } from "./errors.js";

const MAX_LENGTH = 4096;
const MAX_DEPTH = 40;
const TOKEN =
  /(?<space>[\s]+|--[^\n]*)|(?<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)|(?<text>'(?:[^']|'')*')|(?<quoted>"(?:[^"]|"")+")|(?<parameter>:[A-Za-z_][\p{L}\p{N}_]*)|(?<word>[\p{L}_][\p{L}\p{N}_]*)|(?<sign><=|>=|<>|!=|==|[=<>(),+\-*/])/uy;
const WORDS = new Set(["and", "between", "false", "in", "is", "like", "not", "null", "or", "true"]);
const COMPARE = {
  "=": (c) => c === 0,
  "==": (c) => c === 0,
  "!=": (c) => c !== 0,
  "<>": (c) => c !== 0,
  "<": (c) => c < 0,
  "<=": (c) => c <= 0,
  ">": (c) => c > 0,
  ">=": (c) => c >= 0,
};

/** A condition that was read and checked against a catalogue's columns. */
export class Condition {
  /**
   * @param {string} text
   * @param {{columns: Map<string, {kind: "number" | "text", at: (i: number) => number | string | null}>}} catalog
   */
  constructor(text, catalog) {
    const reader = new Reader(text, catalog.columns);
    this.text = text;
    this.met = reader.whole();
    this.parameters = [...reader.parameters].sort();
  }

  /** Indices of the n items that it is not true for; a parameter that is not given is missing. */
  failing(n, parameters) {
    const found = [];
    for (let i = 0; i < n; i++) if (this.met(i, parameters) !== 2) found.push(i);
    return found;
  }
}

class Reader {
  constructor(text, columns) {
    this.shown = String(text).slice(0, 80);
    if (typeof text !== "string") throw this.unmet("expected text");
    if (text.length > MAX_LENGTH) throw this.unmet(`is longer than ${MAX_LENGTH} characters`);
    this.columns = columns;
    this.tokens = this.read(text);
    this.at = 0;
    this.depth = 0;
    this.parameters = new Set();
  }

  unmet(why) {
    return new ConfigError(`condition '${this.shown}': ${why}`);
  }

  read(text) {
    const found = [];
    TOKEN.lastIndex = 0;
    while (TOKEN.lastIndex < text.length) {
      const at = TOKEN.lastIndex;
      const match = TOKEN.exec(text);
      if (match === null) throw this.unmet(`did not expect '${text[at]}'`);
      const kind = Object.keys(match.groups).find((k) => match.groups[k] !== undefined);
      if (kind !== "space") found.push([kind, match[0]]);
    }
    return found;
  }

  whole() {
    const found = this.truth(this.anyOf());
    if (this.at < this.tokens.length) throw this.unmet(`did not expect '${this.tokens[this.at][1]}'`);
    return found;
  }

  // Truths.

  anyOf() {
    return this.joined("or", () => this.allOf(), Math.max);
  }

  allOf() {
    return this.joined("and", () => this.negated(), Math.min);
  }

  joined(word, part, join) {
    const first = part();
    if (!this.took(word)) return first;
    let whole = this.truth(first);
    do {
      const left = whole;
      const right = this.truth(part());
      whole = (i, p) => join(left(i, p), right(i, p));
    } while (this.took(word));
    return { kind: "truth", of: whole };
  }

  negated() {
    if (!this.took("not")) return this.comparison();
    const inner = this.truth(this.deeper(() => this.negated()));
    return { kind: "truth", of: (i, p) => 2 - inner(i, p) };
  }

  comparison() {
    const left = this.sum();
    const token = this.peek();
    if (token !== undefined && Object.hasOwn(COMPARE, token)) {
      this.at++;
      return this.compared(token, left, this.sum());
    }
    if (this.took("is")) {
      const turned = this.took("not");
      this.want("null");
      const value = this.value(left);
      return { kind: "truth", of: (i, p) => (missing(value(i, p)) !== turned ? 2 : 0) };
    }
    const turned = this.peek() === "not" && ["in", "between", "like"].includes(this.peek(1));
    if (turned) this.at++;
    let found;
    if (this.took("in")) found = this.among(left);
    else if (this.took("between")) found = this.between(left);
    else if (this.took("like")) found = this.like(left);
    else return left;
    const { of } = found;
    return turned ? { kind: "truth", of: (i, p) => 2 - of(i, p) } : found;
  }

  compared(sign, left, right) {
    const kinds = [left.kind, right.kind];
    if (kinds.includes("number") && kinds.includes("text")) throw this.unmet(`${sign} compares a number with a text`);
    const a = this.value(left);
    const b = this.value(right);
    const holds = COMPARE[sign];
    return { kind: "truth", of: (i, p) => compare(holds, a(i, p), b(i, p)) };
  }

  among(left) {
    this.want("(");
    let found = this.compared("=", left, this.sum()).of;
    while (this.took(",")) {
      const before = found;
      const next = this.compared("=", left, this.sum()).of;
      found = (i, p) => Math.max(before(i, p), next(i, p));
    }
    this.want(")");
    return { kind: "truth", of: found };
  }

  between(left) {
    const low = this.sum();
    this.want("and");
    const least = this.compared(">=", left, low).of;
    const most = this.compared("<=", left, this.sum()).of;
    return { kind: "truth", of: (i, p) => Math.min(least(i, p), most(i, p)) };
  }

  like(left) {
    if (left.kind === "number") throw this.unmet("LIKE is for texts");
    const value = this.value(left);
    const pattern = this.sum();
    if (pattern.text === undefined) throw this.unmet("LIKE wants a text in quotes");
    const matches = likeMatcher(pattern.text);
    return {
      kind: "truth",
      of: (i, p) => {
        const text = value(i, p);
        return typeof text === "string" ? (matches(text) ? 2 : 0) : 1;
      },
    };
  }

  // Values.

  sum() {
    return this.calculated(() => this.product(), { "+": (a, b) => a + b, "-": (a, b) => a - b });
  }

  product() {
    return this.calculated(() => this.signed(), { "*": (a, b) => a * b, "/": (a, b) => a / b });
  }

  calculated(part, signs) {
    let found = part();
    for (let sign = this.peek(); sign !== undefined && Object.hasOwn(signs, sign); sign = this.peek()) {
      this.at++;
      const apply = signs[sign];
      const a = this.number(found);
      const b = this.number(part());
      found = {
        kind: "number",
        of: (i, p) => {
          const value = apply(a(i, p), b(i, p));
          return Number.isFinite(value) ? value : NaN;
        },
      };
    }
    return found;
  }

  signed() {
    if (!this.took("-")) return this.atom();
    const inner = this.number(this.deeper(() => this.signed()));
    return { kind: "number", of: (i, p) => -inner(i, p) };
  }

  atom() {
    if (this.at >= this.tokens.length) throw this.unmet("ends too early");
    const [kind, token] = this.tokens[this.at++];
    if (kind === "sign" && token === "(") {
      const found = this.deeper(() => this.anyOf());
      this.want(")");
      return found;
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
    if (kind === "word" && !WORDS.has(word)) return this.peek() === "(" ? this.call(token) : this.column(token);
    throw this.unmet(`did not expect '${token}'`);
  }

  column(name) {
    const names = [...this.columns.keys()];
    const known = this.columns.has(name) ? name : names.find((n) => n.toLowerCase() === name.toLowerCase());
    if (known === undefined) throw this.unmet(`no such column: ${name} (the catalogue has ${names.join(", ")})`);
    const { kind, at } = this.columns.get(known);
    return { kind, of: (i) => at(i) };
  }

  call(name) {
    this.want("(");
    const values = [this.deeper(() => this.sum())];
    while (this.took(",")) values.push(this.deeper(() => this.sum()));
    this.want(")");
    const make = FUNCTIONS[name.toLowerCase()];
    if (make === undefined || !Object.hasOwn(FUNCTIONS, name.toLowerCase()))
      throw this.unmet(`no function ${name}; these may be used: ${Object.keys(FUNCTIONS).join(" ")}`);
    return make(this, values);
  }

  // What a node must be.

  truth(node) {
    if (node.kind === "truth") return node.of;
    if (node.kind === "text") throw this.unmet("a text is neither true nor false; compare it");
    return (i, p) => {
      const value = asNumber(node.of(i, p));
      return Number.isNaN(value) ? 1 : value !== 0 ? 2 : 0;
    };
  }

  value(node) {
    if (node.kind === "truth") throw this.unmet("a comparison is no value; join comparisons with AND or OR");
    return node.of;
  }

  number(node) {
    if (node.kind === "text") throw this.unmet("cannot calculate with a text");
    const value = this.value(node);
    return (i, p) => asNumber(value(i, p));
  }

  only(values, kind) {
    if (values.length !== 1 || ![kind, "any"].includes(values[0].kind))
      throw this.unmet(`this function wants one ${kind}`);
    return this.value(values[0]);
  }

  // Tokens.

  peek(ahead = 0) {
    const found = this.tokens[this.at + ahead];
    if (found === undefined) return undefined;
    const [kind, token] = found;
    if (kind === "sign") return token;
    return kind === "word" && WORDS.has(token.toLowerCase()) ? token.toLowerCase() : undefined;
  }

  took(token) {
    const found = this.peek() === token;
    if (found) this.at++;
    return found;
  }

  want(token) {
    if (this.took(token)) return;
    const got = this.tokens[this.at];
    throw this.unmet(`expected '${token.toUpperCase()}', got ${got ? `'${got[1]}'` : "the end"}`);
  }

  deeper(part) {
    if (++this.depth > MAX_DEPTH) throw this.unmet(`is nested deeper than ${MAX_DEPTH}`);
    const found = part();
    this.depth--;
    return found;
  }
}

const onTexts = (apply) => (reader, values) => {
  const value = reader.only(values, "text");
  return {
    kind: "text",
    of: (i, p) => {
      const text = value(i, p);
      return typeof text === "string" ? apply(text) : null;
    },
  };
};

const FUNCTIONS = {
  abs: (reader, values) => {
    if (values.length !== 1) throw reader.unmet("abs wants one number");
    const value = reader.number(values[0]);
    return { kind: "number", of: (i, p) => Math.abs(value(i, p)) };
  },
  coalesce: (reader, values) => {
    const kinds = new Set(values.map((v) => v.kind).filter((kind) => kind !== "any"));
    if (values.length !== 2 || kinds.size !== 1 || kinds.has("truth"))
      throw reader.unmet("coalesce wants two numbers or two texts");
    const kind = [...kinds][0];
    const [first, second] = values.map((v) => reader.value(v));
    // A parameter of the other kind counts as missing.
    const told = (value) => (kind === "text") === (typeof value === "string") && !missing(value);
    const none = kind === "text" ? null : NaN;
    return {
      kind,
      of: (i, p) => {
        const value = first(i, p);
        if (told(value)) return value;
        const other = second(i, p);
        return told(other) ? other : none;
      },
    };
  },
  length: (reader, values) => {
    const value = reader.only(values, "text");
    return {
      kind: "number",
      of: (i, p) => {
        const text = value(i, p);
        return typeof text === "string" ? [...text].length : NaN;
      },
    };
  },
  lower: onTexts(lower),
  upper: onTexts((text) => text.replace(/[a-z]/g, (c) => c.toUpperCase())),
};

function lower(text) {
  return text.replace(/[A-Z]/g, (c) => c.toLowerCase());
}

function constant(value) {
  return typeof value === "string"
    ? { kind: "text", of: () => value, text: value }
    : { kind: "number", of: () => (Number.isFinite(value) ? value : NaN) };
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

/** Of two texts by code point: strings compare by 16-bit units, among which pairs stand before U+E000. */
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

/** % any text, _ any character; a % is taken to be as short as what follows it allows. */
function likeMatcher(like) {
  const p = [...lower(like)];
  return (given_) => {
    const s = [...lower(given_)];
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
