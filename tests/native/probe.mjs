// Answers requests by the WebAssembly build and prints all results as bytes: node probe.mjs WASM STUDENT CONFORMANCE K.
import { readFileSync, writeSync } from "node:fs";

const [wasm, student, conformance, count] = process.argv.slice(2);
const k = Number(count);
const { instance } = await WebAssembly.instantiate(readFileSync(wasm), {});
const engine = instance.exports;
const file = readFileSync(student);
const requests = JSON.parse(readFileSync(conformance, "utf8")).requests.filter((request) => !request.graph);

engine.memory.grow(256);
let top = engine.memory.buffer.byteLength - 256 * 65536;
const take = (bytes) => {
  const at = Math.ceil(top / 64) * 64;
  top = at + bytes;
  return at;
};
const done = (code) => {
  if (code) throw new Error(`code ${code}`);
};
const put = (values) => {
  const at = take(values.byteLength);
  new Uint8Array(engine.memory.buffer).set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), at);
  return at;
};
const word = (at) => new DataView(engine.memory.buffer).getUint32(at, true);

const bytes = put(new Uint8Array(file));
const pointer = take(4);
done(engine.edgerec_measure(bytes, file.length, pointer));
const need = word(pointer);
done(engine.edgerec_open(bytes, file.length, take(need), need, pointer));
const opened = word(pointer);
const room = engine.edgerec_workspace_bytes(opened, 256);
done(engine.edgerec_workspace_open(opened, 256, take(room), room, pointer));
const own = word(pointer);

const whole = (values) => put(BigInt64Array.from((values ?? []).map(BigInt)));
const real = (values) => put(Float32Array.from(values));
for (const { inputs } of requests) {
  const start = top;
  const events = inputs.history.length;
  const tasks = inputs.task_weights.length;
  const request = Uint32Array.of(
    whole(inputs.history), whole(inputs.history_kind),
    real(inputs.history_count), real(inputs.history_age_h), real(inputs.history_interval_h), events,
    whole(inputs.context_categorical), real(inputs.context_numeric), real(inputs.task_weights),
    whole(inputs.exclude), inputs.exclude.length,
  );
  const sizes = [8 * k, 4 * k, 4 * k * tasks, 4 * k * events];
  const out = sizes.map(take);
  done(engine.edgerec_recommend(opened, own, put(request), k, ...out));
  out.forEach((at, i) => writeSync(1, new Uint8Array(engine.memory.buffer, at, sizes[i])));
  top = start;
}
