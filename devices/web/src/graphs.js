/**
 * Whether a graph is one that edgerec builds: known operators, constants in weights.bin, nothing told twice; as
 * edgerec/runtime/onnx_file.py reads it, whose field numbers these are.
 */
import { BundleError } from "./errors.js";

const WEIGHTS = "weights.bin";
const MAX_NODES = 10_000;
const DOMAINS = ["", "ai.onnx", "com.microsoft"];
const OPERATORS = new Set(
  (
    "Abs Add And BitShift BitwiseAnd Cast Concat Constant Div Einsum Equal Exp Expand Gather Gemm Greater GreaterOrEqual " +
    "Identity Less LessOrEqual Log MatMul MatMulIntegerToFloat MatMulNBits Max Min Mod Mul Neg Not Or Pad ReduceMax " +
    "ReduceMean ReduceSum Relu Reshape Round ScatterElements Shape Sigmoid Slice Softmax Split Sqrt Squeeze Sub Tanh TopK " +
    "Transpose Unsqueeze Where"
  ).split(" "),
);
const utf8 = new TextDecoder("utf-8", { fatal: true });

/** Throws a BundleError where it is not. */
export function checkGraph(name, bytes) {
  try {
    const model = read(bytes, [1, 2, 3, 4, 5, 6, 7]);
    const strange = model.find(([field]) => !(field <= 8 || field === 14));
    if (strange) throw new Error(`a model with field ${strange[0]}`);
    graph(content(only(model, 7)));
  } catch (error) {
    throw new BundleError(`${name}: does not load (${error.message}); build the bundle again`);
  }
}

function graph(bytes) {
  let nodes = 0;
  for (const [field, value] of read(bytes, [2, 10])) {
    if (field === 1 && ++nodes <= MAX_NODES) node(content(value));
    else if (field === 5) tensor(content(value));
    else if (field === 1 || field === 15) throw new Error("too many operators, or sparse constants");
  }
}

function node(bytes) {
  const parts = read(bytes, [3, 4, 6, 7, 8]);
  const op = text(only(parts, 4));
  if (!OPERATORS.has(op) || !DOMAINS.includes(text(only(parts, 7) ?? new Uint8Array())))
    throw new Error(`no graph of edgerec has the operator '${op.slice(0, 40)}'`);
  for (const [field, value] of parts)
    if (field === 5)
      for (const [kind, inner] of read(content(value), [1, 2, 3, 4, 5, 20])) {
        if ([6, 10, 11, 22, 23].includes(kind)) throw new Error("a graph in a graph, or lists of tensors");
        if (kind === 5) tensor(content(inner));
      }
}

function tensor(bytes) {
  const parts = read(bytes, [2, 3, 8, 9, 14]);
  const told = new Map();
  for (const [field, value] of parts) {
    if (field !== 13) continue;
    const entry = read(content(value), [1, 2]);
    const key = text(only(entry, 1));
    if (told.has(key)) throw new Error("external data that is told twice");
    told.set(key, text(only(entry, 2)));
  }
  if ((only(parts, 14) === 1 || told.size) && told.get("location") !== WEIGHTS)
    throw new Error(`its constants lie in '${told.get("location")}', not in ${WEIGHTS}`);
}

// Protocol buffers.

/** The fields of a message, as [number, integer or bytes]; a number of `once` that occurs again is refused. */
function read(bytes, once) {
  const fields = [];
  const seen = new Set();
  let at = 0;
  function integer() {
    let value = 0;
    for (let factor = 1; factor < 2 ** 70; factor *= 128) {
      if (at >= bytes.length) break;
      const byte = bytes[at++];
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
    throw new Error("not a protocol buffer");
  }
  while (at < bytes.length) {
    const key = integer();
    const number = Math.floor(key / 8);
    if (seen.has(number) && once.includes(number)) throw new Error(`field ${number} twice`);
    seen.add(number);
    const wire = key % 8;
    if (wire === 0) {
      fields.push([number, integer()]);
      continue;
    }
    const length = wire === 2 ? integer() : { 1: 8, 5: 4 }[wire];
    if (!(at + length <= bytes.length)) throw new Error("it ends too early");
    fields.push([number, bytes.subarray(at, at + length)]);
    at += length;
  }
  return fields;
}

function only(fields, wanted) {
  return fields.find(([field]) => field === wanted)?.[1];
}

function content(value) {
  if (value instanceof Uint8Array) return value;
  throw new Error("a field that is missing, or of another type");
}

function text(value) {
  return utf8.decode(content(value));
}
