// Opens a graph on a device, runs the artifact's own test vectors on it, and goes on to the next where they come out
// wrong: WebGPU has given wrong numbers for int8 and 4 bits without an error (README.md names the reports).
// A plain module that needs no library: the caller's `open` says how a graph is opened.

/** Precisions of manifest.json by the names that transformers.js has for them. */
export const PRECISIONS = { fp32: "fp32", fp16: "fp16", q8: "int8", q4: "int4" };

/** What is tried in the place of a dtype, one after the other. */
const DOWN = { q4: ["q4", "q8", "fp32"], q8: ["q8", "fp32"], fp16: ["fp16", "fp32"], fp32: ["fp32"] };

/** The same for devices. */
const DEVICES = { webgpu: ["webgpu", "wasm"], wasm: ["wasm"] };

const NO_WEBGPU = "does not run (this browser offers no WebGPU)";

/** What outputs are held to: the largest difference in fp32, else cosines (../README.md says why these). */
const LARGEST_DIFFERENCE = 1e-4, MEAN_COSINE = 0.9995, LEAST_COSINE = 0.998;

/** The ways to run a model, best first: a file that is here already is tried on wasm before another is fetched. */
export function candidates(device, dtype) {
  if (!Object.hasOwn(DOWN, dtype)) throw new Error(`The dtype "${dtype}" is unknown; choose one of ${Object.keys(DOWN).join(", ")}.`);
  if (!Object.hasOwn(DEVICES, device)) throw new Error(`The device "${device}" is unknown; choose one of ${Object.keys(DEVICES).join(", ")}.`);
  const devices = DEVICES[device];
  return DOWN[dtype].flatMap((each) => devices.map((one) => ({ device: one, dtype: each })));
}

/**
 * The first candidate whose outputs are those of vectors.json.
 * @param {{
 *   vectors: object,                        what vectors.json holds
 *   device?: "webgpu"|"wasm", dtype?: string,
 *   open: (candidate: {device: string, dtype: string}) => Promise<Opened>,
 *   say?: (message: string) => void,        hears of each candidate that is given up, and why
 * }} wanted where Opened is {variant, run, close}: the variant's `name` and `precision` as in manifest.json, `run`
 *   from a case's `inputs` (and the case) to `{output: {data}}`, and `close`, which gives memory back
 * @returns {Promise<{opened: Opened, device: string, dtype: string, figures: object, refused: object[]}>}
 * @throws where no candidate is right; the message has every reason
 */
export async function openChecked({ vectors, device = "webgpu", dtype = "fp32", open, say = console.warn }) {
  const refused = [];
  let left = candidates(device, dtype);
  while (left.length > 0) {
    const [candidate, ...others] = left;
    const result = await attempt(candidate, vectors, open);
    if (!result.reason) return { ...result, ...candidate, refused };
    refused.push({ ...candidate, reason: result.reason });
    left = result.reason === NO_WEBGPU ? others.filter((other) => other.device !== "webgpu") : others;
    say(`${candidate.dtype} on ${candidate.device} ${result.reason}; ` +
      (left.length > 0 ? `trying ${left[0].dtype} on ${left[0].device}.` : "nothing is left to try."));
  }
  throw new Error("No graph of this artifact is right here: " +
    refused.map((each) => `${each.dtype} on ${each.device} ${each.reason}`).join("; ") + ".");
}

/** A candidate, opened, with its figures; or the reason why it is not to be used. */
async function attempt(candidate, vectors, open) {
  const reason = candidate.device === "webgpu" ? await whatWebGpuLacks(candidate.dtype) : null;
  if (reason) return { reason };
  let opened;
  try {
    opened = await open(candidate);
    const figures = await compare(opened, vectors);
    const wrong = whyWrong(figures);
    if (!wrong) return { opened, figures };
    await opened.close();
    return { reason: wrong };
  } catch (error) {
    await opened?.close().catch(() => {}); // a session that failed may fail to close, too
    return { reason: `does not run (${error.message ?? error})` };
  }
}

/** What this browser's WebGPU has not; known before anything is downloaded. */
async function whatWebGpuLacks(dtype) {
  const adapter = await globalThis.navigator?.gpu?.requestAdapter();
  if (!adapter) return NO_WEBGPU;
  return dtype === "fp16" && !adapter.features.has("shader-f16") ? "does not run (this WebGPU has no shader-f16)" : null;
}

/**
 * How far outputs are from vectors.json, over all its cases.
 * @returns {Promise<{variant, precision, outputs, difference, mean, cosine, eager}>} `difference` from what Python gave of
 *   the same file, `mean` and `cosine` the mean and the least cosine with that, `eager` the least with the model itself
 */
export async function compare(opened, vectors) {
  const { name: variant, precision } = opened.variant;
  const [own, eager] = [[], []];
  const result = { variant, precision, outputs: 0, difference: 0 };
  // A few values of an output say little of its direction: they are compared where there are no whole ones.
  const whole = Object.values(vectors.cases[0].outputs).some(({ offsets }) => !offsets);
  for (const one of vectors.cases) {
    const expected = one.variants[variant] ?? one.outputs;
    const found = await opened.run(one.inputs, one);
    for (const name of Object.keys(expected).filter((key) => found[key])) {
      const { values, offsets } = expected[name];
      const actual = values.map((_, at) => Number(found[name].data[offsets ? offsets[at] : at])); // ids come as BigInt
      result.outputs += 1;
      values.forEach((value, at) => { result.difference = Math.max(result.difference, Math.abs(value - actual[at])); });
      if (whole && offsets) continue;
      own.push(...cosines(actual, expected[name]));
      eager.push(...cosines(actual, one.outputs[name]));
    }
  }
  const mean = own.reduce((sum, value) => sum + value, 0) / own.length;
  return { ...result, mean, cosine: Math.min(...own), eager: Math.min(...eager) };
}

/** Says what is wrong with such figures; null where nothing is. NaN is wrong. */
export function whyWrong({ precision, outputs, difference, mean, cosine }) {
  if (outputs === 0) return "gives none of the outputs that vectors.json has";
  if (precision === "fp32") {
    return difference <= LARGEST_DIFFERENCE ? null
      : `gives wrong outputs (${difference.toExponential(1)} from vectors.json, where ${LARGEST_DIFFERENCE} is allowed)`;
  }
  return mean >= MEAN_COSINE && cosine >= LEAST_COSINE ? null
    : `gives wrong outputs (cosine ${cosine.toFixed(4)} with vectors.json, in the mean ${mean.toFixed(4)}; ` +
      `${LEAST_COSINE} and ${MEAN_COSINE} are asked)`;
}

/** Cosines of the rows of an output with those of vectors.json; one that is sampled there is one row. */
function cosines(actual, { shape, offsets, values }) {
  const width = offsets || shape.length < 2 ? values.length : shape.at(-1);
  const starts = Array.from({ length: values.length / width }, (_, row) => row * width);
  const rows = starts.map((at) => [actual, values].map((list) => list.slice(at, at + width)));
  return rows.map(([a, b]) => ([...a, ...b].some((value) => value !== 0) ? cosine(a, b) : 1)); // ids may all be 0
}

/** Cosine of the angle between two vectors. */
export function cosine(a, b) {
  let dot = 0, aa = 0, bb = 0;
  for (let i = 0; i < a.length; i++) {
    dot += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  return dot / Math.sqrt(aa * bb);
}

/**
 * `open` for transformers.js: a pipeline for `task` over the model `name`, as its `pipeline` finds it. The pipeline is
 * `opened.pipeline`.
 * @param {object} transformers the module @huggingface/transformers
 */
export function withTransformers({ pipeline, Tensor }, task, name) {
  const files = { fp32: "model", fp16: "model_fp16", q8: "model_quantized", q4: "model_q4" };
  return async ({ device, dtype }) => {
    const made = await pipeline(task, name, { device, dtype });
    return {
      pipeline: made,
      variant: { name: files[dtype], precision: PRECISIONS[dtype] },
      run: (inputs) => made.model(feeds(inputs, (data, shape) => new Tensor("int64", data, shape))),
      close: () => made.dispose(),
    };
  };
}

/** The tensors of a case; `tensor` makes one of int64 values and a shape. */
export function feeds(inputs, tensor) {
  return Object.fromEntries(Object.entries(inputs).map(([name, { shape, values }]) =>
    [name, tensor(BigInt64Array.from(values, BigInt), shape)]));
}
