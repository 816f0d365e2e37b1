// Opens an artifact with transformers.js, unchanged, and compares its embeddings:  node transformers.mjs FOLDER
// Prints a line of JSON for dtype fp32 and, where the artifact has an int8 graph for the web, for q8.
import { readFile } from "node:fs/promises";
import path from "node:path";
import { env, pipeline } from "@huggingface/transformers";
import { cosine } from "../node/embed.mjs";

const folder = path.resolve(process.argv[2]);
const vectors = JSON.parse(await readFile(path.join(folder, "vectors.json"), "utf8"));
const manifest = JSON.parse(await readFile(path.join(folder, "manifest.json"), "utf8"));
const [{ modes: [pooling] }, ...rest] = manifest.options.modules;
const normalize = rest.some(({ kind }) => kind === "Normalize");
const names = { fp32: "model", q8: "model_quantized" }; // its own suffixes of file names

env.allowRemoteModels = false;
env.useFSCache = false;
env.localModelPath = path.dirname(folder) + path.sep;

async function compare(dtype) {
  const extract = await pipeline("feature-extraction", path.basename(folder), { dtype });
  const { name: variant, precision } = manifest.variants.find(({ name }) => name === names[dtype]);
  const result = { variant, precision, dtype, texts: 0, difference: 0 };
  const [own, eager] = [[], []];
  for (const one of vectors.cases) {
    // transformers.js cuts where the tokenizer says, not where sentence-transformers does.
    const cut = one.inputs.input_ids.shape[1] === vectors.max_length;
    if (!one.texts || one.pairs || cut) continue;
    const { data } = await extract(one.texts, { pooling, normalize });
    const { values, shape } = (one.variants[variant] ?? one.outputs).sentence_embedding;
    values.forEach((value, at) => { result.difference = Math.max(result.difference, Math.abs(value - data[at])); });
    for (let at = 0; at < values.length; at += shape[1]) {
      const [a, b, c] = [data, values, one.outputs.sentence_embedding.values].map((all) => all.slice(at, at + shape[1]));
      own.push(cosine(a, b));
      eager.push(cosine(a, c));
    }
    result.texts += one.texts.length;
  }
  await extract.dispose();
  const mean = own.reduce((sum, value) => sum + value, 0) / own.length;
  return { ...result, mean, cosine: Math.min(...own), eager: Math.min(...eager) };
}

const results = [];
for (const dtype of Object.keys(names)) {
  if (manifest.variants.some(({ name }) => name === names[dtype])) results.push(await compare(dtype));
}
console.log(JSON.stringify(results));
