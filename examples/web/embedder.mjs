// Embeds texts in the browser with an artifact of bert-onnx that a web server offers.
import { feeds } from "./checked.mjs";
import { Tokenizer } from "./vendor/tokenizers.min.mjs";

/** ONNX Runtime Web for a device: the build that has WebGPU is twice as large, so it is loaded where it is asked for. */
export async function loadRuntime(device = "wasm") {
  const ort = await (device === "webgpu" ? import("./vendor/ort.webgpu.min.mjs") : import("./vendor/ort.wasm.min.mjs"));
  ort.env.wasm.wasmPaths = new URL("./vendor/", import.meta.url).href;
  // Threads need shared memory, which browsers give to pages with the headers COOP and COEP alone.
  ort.env.wasm.numThreads = globalThis.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, 8) : 1;
  return ort;
}

/** One graph of an artifact, and its tokenizer. */
export class Embedder {
  /**
   * @param {string} base URL of the artifact folder, with a slash at the end
   * @param {{variant?: string, precision?: string, device?: string, onProgress?: (share: number) => void}} options
   *   variant: a name of manifest.json; without one, that for the web in `precision` ("fp32")
   *   device: "wasm", or "webgpu", whose numbers are to be checked (checked.mjs)
   */
  static async open(base, { variant, precision, device = "wasm", onProgress = () => {} } = {}) {
    const manifest = await (await get(base + "manifest.json")).json();
    const chosen = chooseVariant(manifest, { variant, precision });
    if (!manifest.outputs.some((output) => output.name === "sentence_embedding")) {
      throw new Error(`The artifact is for ${manifest.task}, not for sentence embeddings.`);
    }
    const [tokenizer, settings, graph] = await Promise.all([
      get(base + "tokenizer.json").then((response) => response.json()),
      get(base + "tokenizer_config.json").then((response) => response.json()),
      download(base + chosen.file, manifest.files[chosen.file].size, onProgress),
    ]);
    await check(graph, chosen.file, manifest);
    const ort = await loadRuntime(device);
    const session = await ort.InferenceSession.create(graph, { executionProviders: [device] });
    return new Embedder(ort, device, session, new Tokenizer(tokenizer, settings), manifest, chosen);
  }

  constructor(ort, device, session, tokenizer, manifest, variant) {
    this.ort = ort;
    this.device = device;
    this.session = session;
    this.tokenizer = tokenizer;
    this.manifest = manifest;
    this.variant = variant;
  }

  /** The vectors of `texts`, one Float32Array each, in their order; long texts are cut. */
  async embed(texts) {
    const rows = texts.map((text) => this.tokenize(text));
    const length = Math.max(...rows.map((row) => row.length));
    const ids = new BigInt64Array(rows.length * length).fill(BigInt(this.manifest.config.pad_token_id ?? 0));
    const mask = new BigInt64Array(rows.length * length);
    rows.forEach((row, index) => {
      ids.set(row.map(BigInt), index * length);
      mask.fill(1n, index * length, index * length + row.length);
    });
    const shape = [rows.length, length], { ort } = this;
    const { sentence_embedding: output } = await this.session.run({
      input_ids: new ort.Tensor("int64", ids, shape),
      attention_mask: new ort.Tensor("int64", mask, shape),
      token_type_ids: new ort.Tensor("int64", new BigInt64Array(ids.length), shape),
    }, ["sentence_embedding"]);
    const size = output.dims[1];
    return rows.map((_, index) => output.data.slice(index * size, (index + 1) * size));
  }

  /** The outputs for the `inputs` of a case of vectors.json. */
  run(inputs) {
    return this.session.run(feeds(inputs, (data, shape) => new this.ort.Tensor("int64", data, shape)));
  }

  /** Give back the session's memory. */
  async close() {
    await this.session.release();
  }

  /** Token ids of `text`, cut to what the model reads. */
  tokenize(text) {
    const { ids } = this.tokenizer.encode(text);
    const longest = this.manifest.model_max_length;
    return ids.length <= longest ? ids : [...ids.slice(0, longest - 1), ids.at(-1)];
  }

  /** Whether `text` is longer than what the model reads. */
  isTooLong(text) {
    return this.tokenizer.encode(text).ids.length > this.manifest.model_max_length;
  }
}

/**
 * The variant with that name, or the first for the web (else the portable one) in that precision.
 * A page cannot ask its processor how it adds up int8. So int8 must be laid out for `avx2`, as files for the target
 * `web` are, or be in the weights alone (null): these are right everywhere.
 */
export function chooseVariant({ variants }, { variant, precision = "fp32" } = {}) {
  const asked = variants.filter((entry) => (variant ? entry.name === variant : entry.precision === precision));
  const chosen = asked.find((entry) => entry.target === "web") ?? asked.find((entry) => entry.target === "portable")
    ?? (variant ? asked[0] : undefined);
  if (!chosen) throw new Error(`The artifact has no variant ${variant ? `"${variant}"` : `in ${precision} for the web`}.`);
  if (chosen.data_file) throw new Error(`${chosen.name} keeps its weights in a second file; export for the target web.`);
  if (chosen.precision === "int8" && !["avx2", null, undefined].includes(chosen.quantization?.isa)) {
    throw new Error(`${chosen.name} is right on some processors only; export int8 for the target web.`);
  }
  return chosen;
}

/** Throws unless the bytes of a file are what the manifest says; browsers hash on https and localhost alone. */
async function check(bytes, name, manifest) {
  const { size, sha256 } = manifest.files[name];
  const digest = globalThis.crypto?.subtle ? await crypto.subtle.digest("SHA-256", bytes) : null;
  const hex = digest && [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  if (bytes.length !== size || (hex && hex !== sha256)) {
    throw new Error(`${name} is not what manifest.json says; it was changed or damaged.`);
  }
}

async function get(url) {
  const response = await fetch(url).catch(() => {
    throw new Error(`${url} cannot be loaded; is the server running?`);
  });
  if (!response.ok) throw new Error(`${url} cannot be loaded (status ${response.status}).`);
  return response;
}

/** The bytes of `url`; `onProgress` hears which share of `size` has come. */
async function download(url, size, onProgress) {
  const reader = (await get(url)).body.getReader();
  const parts = [];
  let received = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    received += value.length;
    onProgress(Math.min(1, received / size));
  }
  const bytes = new Uint8Array(received);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
