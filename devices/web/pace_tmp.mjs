import * as ort from "onnxruntime-web";
import { fromFolder } from "./src/node.js";
import { pace } from "./test/pace.js";
ort.env.wasm.numThreads = 1;
const f = await pace(ort, fromFolder(process.argv[2]), { warm: 150, rounds: Number(process.argv[3] ?? 150) });
console.log(f, "list", (f.list_ms / f.onnx_list_ms).toFixed(3), "model", (f.model_ms / f.onnx_model_ms).toFixed(3));
process.exit(0);
