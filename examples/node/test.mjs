// Compares this client with the artifact's own test vectors:  node test.mjs FOLDER [VARIANT...] [--json]
// fp32: largest difference of every output <= 1e-4. Other precisions: cosines with what Python gave of the same file,
// mean over the texts >= 0.9995 and each >= 0.998 (../README.md says why).
// `eager` is the least cosine with the model itself, in float32. What this processor would saturate is left out.
import { readFile } from "node:fs/promises";
import path from "node:path";
import * as ort from "onnxruntime-node";
import { cosine, Embedder } from "./embed.mjs";
import { isRight, TARGETS } from "./variants.mjs";

const LARGEST_DIFFERENCE = 1e-4;
const MEAN_COSINE = 0.9995;
const LEAST_COSINE = 0.998;

const words = process.argv.slice(2);
const [folder, ...wanted] = words.filter((word) => word !== "--json");
if (!folder) {
  console.error("usage: node test.mjs FOLDER [VARIANT...] [--json]");
  process.exit(2);
}
const read = async (name) => {
  try {
    return JSON.parse(await readFile(path.join(folder, name), "utf8"));
  } catch (error) {
    console.error(`${folder} is not an artifact of bert-onnx: ${name} cannot be read (${error.message}).`);
    process.exit(2);
  }
};
const manifest = await read("manifest.json");
const vectors = await read("vectors.json");

/** Tensors of a case, as its graph takes them. */
function feeds(inputs) {
  return Object.fromEntries(manifest.inputs.map(({ name, dtype }) => {
    const { shape, values } = inputs[name];
    const data = dtype === "int64" ? BigInt64Array.from(values, BigInt) : Float32Array.from(values);
    return [name, new ort.Tensor(dtype, data, shape)];
  }));
}

/** The values that vectors.json holds of an output. */
function pick(data, { offsets, values }) {
  return values.map((_, index) => Number(data[offsets ? offsets[index] : index])); // ids come as BigInt
}

const largest = (a, b) => a.reduce((worst, value, index) => Math.max(worst, Math.abs(value - b[index])), 0);

/** Cosines of the rows of an output with those of vectors.json; one that is sampled there is one row. */
function cosines(actual, { shape, offsets, values }) {
  const width = offsets || shape.length < 2 ? values.length : shape.at(-1);
  const starts = Array.from({ length: values.length / width }, (_, row) => row * width);
  const rows = starts.map((at) => [actual, values].map((list) => list.slice(at, at + width)));
  return rows.map(([a, b]) => ([...a, ...b].some((value) => value !== 0) ? cosine(a, b) : 1)); // ids may all be 0
}

async function checkVariant(variant) {
  const embeds = manifest.outputs.some((output) => output.name === "sentence_embedding");
  const embedder = embeds ? await Embedder.open(folder, { variant: variant.name }) : null;
  const session = embedder?.session ?? await ort.InferenceSession.create(path.join(folder, variant.file));
  const result = { variant: variant.name, precision: variant.precision, texts: 0, difference: 0 };
  const [own, eager] = [[], []];
  // A few values of an output say little of its direction: they are compared where there are no whole ones.
  const whole = Object.values(vectors.cases[0].outputs).some(({ offsets }) => !offsets);
  for (const one of vectors.cases) {
    const expected = one.variants[variant.name] ?? one.outputs;
    const judge = (name, data) => {
      const actual = pick(data, expected[name]);
      result.difference = Math.max(result.difference, largest(actual, expected[name].values));
      if (whole && expected[name].offsets) return;
      own.push(...cosines(actual, expected[name]));
      eager.push(...cosines(actual, one.outputs[name]));
    };
    const answers = await session.run(feeds(one.inputs));
    for (const name of Object.keys(expected)) judge(name, answers[name].data);
    if (embedder && one.texts && !one.pairs) { // from text, with the tokenizer in JavaScript
      judge("sentence_embedding", (await embedder.embed(one.texts)).flatMap((vector) => [...vector]));
      result.texts += one.texts.length;
    }
  }
  await session.release();
  const mean = own.reduce((sum, value) => sum + value, 0) / own.length;
  Object.assign(result, { mean, cosine: Math.min(...own), eager: Math.min(...eager) });
  result.passed = variant.precision === "fp32"
    ? result.difference <= LARGEST_DIFFERENCE
    : mean >= MEAN_COSINE && result.cosine >= LEAST_COSINE;
  return result;
}

const results = [];
const asked = ({ name, target }) => TARGETS.includes(target) && (wanted.length === 0 || wanted.includes(name));
for (const variant of manifest.variants.filter(asked)) {
  if (!isRight(variant)) {
    console.error(`left out: ${variant.name} would saturate on this processor, which has no VNNI.`);
    continue;
  }
  results.push(await checkVariant(variant));
}
if (words.includes("--json")) console.log(JSON.stringify(results));
else console.table(results.map((line) => ({ ...line, difference: line.difference.toExponential(1),
  mean: line.mean.toFixed(7), cosine: line.cosine.toFixed(7), eager: line.eager.toFixed(7) })));
process.exitCode = results.length > 0 && results.every(({ passed }) => passed) ? 0 : 1;
