// The same in a browser, on wasm and on WebGPU:  node tasks-browser.mjs CHROMIUM JOBS
// JOBS is JSON: a list of {url, task, device, dtypes, calls}; `url` is that of serve.mjs with the artifact. With `dtype` in
// the place of `dtypes`: what openChecked comes down to in onnxruntime-web's own default build, whose WebGPU is the old one.
import { createRequire } from "node:module";
import path from "node:path";
import { open } from "./chromium.mjs";

const [executablePath, jobs] = process.argv.slice(2);
const require = createRequire(import.meta.url);
// transformers.js takes ONNX Runtime Web from a public host unless it is told where else it is.
const library = {
  "transformers.min.js": path.join(path.dirname(require.resolve("@huggingface/transformers")), "transformers.min.js"),
  "judge.mjs": new URL("judge.mjs", import.meta.url).pathname,
};
const ours = createRequire(new URL("../web/embedder.mjs", import.meta.url)); // the version that pages use
for (const [from, names] of [
  [require, ["ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm"]],
  [ours, ["ort.min.mjs", "ort-wasm-simd-threaded.jsep.mjs", "ort-wasm-simd-threaded.jsep.wasm"]],
]) for (const name of names) library[name] = path.join(path.dirname(from.resolve("onnxruntime-web")), name);

const browser = await open(executablePath, { webgpu: true });
try {
  const found = [];
  for (const job of JSON.parse(jobs)) found.push(...await run(job));
  console.log(JSON.stringify(found));
} finally {
  await browser.close();
}

async function run({ url, ...job }) {
  const page = await browser.newPage();
  await page.route("**/library/*", (route) => route.fulfill({ path: library[path.basename(route.request().url())] }));
  await page.goto(url);
  const rows = await page.evaluate(job.dtypes ? judgeAll : fallBack, job);
  await page.close();
  return rows;
}

/** Runs in the page. */
async function judgeAll({ dtypes, ...job }) {
  const checked = await import("/checked.mjs");
  const { judge } = await import("/library/judge.mjs");
  const transformers = await import("/library/transformers.min.js");
  const { env } = transformers;
  env.allowRemoteModels = false;
  env.allowLocalModels = true;
  env.useBrowserCache = false;
  env.localModelPath = "/";
  const at = (end) => new URL(`/library/ort-wasm-simd-threaded.asyncify.${end}`, location.href).href;
  env.backends.onnx.wasm.wasmPaths = { mjs: at("mjs"), wasm: at("wasm") };
  const vectors = await (await fetch("/model/vectors.json")).json();
  const rows = [];
  for (const dtype of dtypes) rows.push(await judge(checked, transformers, { ...job, name: "model", vectors, dtype }));
  return rows;
}

/** Runs in the page. */
async function fallBack({ task, device, dtype }) {
  const { feeds, openChecked, PRECISIONS } = await import("/checked.mjs");
  const { chooseVariant } = await import("/embedder.mjs");
  const ort = await import("/library/ort.min.mjs");
  ort.env.wasm.wasmPaths = new URL("/library/", location.href).href;
  const [vectors, manifest] = await Promise.all(["vectors", "manifest"].map(async (name) =>
    (await fetch(`/model/${name}.json`)).json()));
  const said = [];
  const open = async (wanted) => {
    const variant = chooseVariant(manifest, { precision: PRECISIONS[wanted.dtype] });
    const session = await ort.InferenceSession.create(`/model/${variant.file}`, { executionProviders: [wanted.device] });
    return {
      variant,
      run: (inputs) => session.run(feeds(inputs, (data, shape) => new ort.Tensor("int64", data, shape))),
      close: () => session.release(),
    };
  };
  const { opened, figures, ...rest } = await openChecked({ vectors, device, dtype, open, say: (line) => said.push(line) });
  await opened.close();
  return [{ task, ...figures, ...rest, said }];
}
