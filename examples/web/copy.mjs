// Copies the library files that the page loads from node_modules into vendor/. This is the whole build.
import { copyFile, mkdir } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(import.meta.url);
const folderOf = (name) => path.dirname(require.resolve(name));
const files = {
  "onnxruntime-web": [
    "ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm",
    "ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm",
  ],
  "@huggingface/tokenizers": ["tokenizers.min.mjs"],
};

const vendor = new URL("vendor/", import.meta.url);
await mkdir(vendor, { recursive: true });
for (const [name, wanted] of Object.entries(files)) {
  for (const file of wanted) await copyFile(path.join(folderOf(name), file), new URL(file, vendor));
}
