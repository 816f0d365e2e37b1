// Opens an artifact with transformers.js, unchanged, and compares its embeddings:  node transformers.mjs FOLDER
import { readFile } from "node:fs/promises";
import path from "node:path";
import { env, pipeline } from "@huggingface/transformers";

const folder = path.resolve(process.argv[2]);
const vectors = JSON.parse(await readFile(path.join(folder, "vectors.json"), "utf8"));
const manifest = JSON.parse(await readFile(path.join(folder, "manifest.json"), "utf8"));

env.allowRemoteModels = false;
env.useFSCache = false;
env.localModelPath = path.dirname(folder) + path.sep;

const extract = await pipeline("feature-extraction", path.basename(folder), { dtype: "fp32" });
const { pooling, normalize } = manifest.options;
let difference = 0;
let texts = 0;
for (const one of vectors.cases) {
  // transformers.js cuts where the tokenizer says, not where sentence-transformers does.
  const cut = one.inputs.input_ids.shape[1] === vectors.max_length;
  if (!one.texts || one.pairs || cut) continue;
  const { data } = await extract(one.texts, { pooling, normalize });
  one.outputs.sentence_embedding.values.forEach((value, index) => {
    difference = Math.max(difference, Math.abs(value - data[index]));
  });
  texts += one.texts.length;
}
console.log(JSON.stringify({ texts, difference }));
process.exitCode = texts > 0 && difference <= 1e-4 ? 0 : 1;
