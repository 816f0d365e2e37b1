// Embeds texts with an artifact of bert-onnx:  node embed.mjs FOLDER TEXT TEXT...  prints how similar they are.
import { readFile } from "node:fs/promises";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { Tokenizer } from "@huggingface/tokenizers";
import * as ort from "onnxruntime-node";

/** One graph of an artifact folder, and its tokenizer. */
export class Embedder {
  /**
   * @param {string} folder what `bert-onnx export` wrote
   * @param {{variant?: string, threads?: number}} options variant: a name of manifest.json (default: its first, fp32)
   */
  static async open(folder, { variant, threads = 0 } = {}) {
    const read = async (name) => {
      try {
        return JSON.parse(await readFile(path.join(folder, name), "utf8"));
      } catch (error) {
        throw new Error(`${folder} is not an artifact of bert-onnx: ${name} cannot be read (${error.message}).`);
      }
    };
    const manifest = await read("manifest.json");
    const names = manifest.variants.map((entry) => entry.name);
    const chosen = manifest.variants.find((entry) => entry.name === (variant ?? names[0]));
    if (!chosen) throw new Error(`there is no variant "${variant}"; the artifact has ${names.join(", ")}.`);
    if (!manifest.outputs.some((output) => output.name === "sentence_embedding")) {
      throw new Error(`the artifact is for ${manifest.task}, not for sentence embeddings; export one for these.`);
    }
    const tokenizer = new Tokenizer(await read("tokenizer.json"), await read("tokenizer_config.json"));
    const session = await ort.InferenceSession.create(path.join(folder, chosen.file), {
      intraOpNumThreads: threads,
      executionMode: "sequential",
    });
    return new Embedder(session, tokenizer, manifest);
  }

  constructor(session, tokenizer, manifest) {
    this.session = session;
    this.tokenizer = tokenizer;
    this.longest = manifest.model_max_length;
    this.padId = manifest.config.pad_token_id ?? 0;
  }

  /**
   * The vectors of `texts`, one Float32Array each, in their order.
   * Texts longer than the model reads are cut; all are padded to the longest, so give batches of similar lengths.
   */
  async embed(texts) {
    if (!Array.isArray(texts) || texts.length === 0) throw new TypeError("texts must be an array of at least one.");
    const rows = texts.map((text, index) => {
      if (typeof text !== "string") throw new TypeError(`text ${index} is a ${typeof text}; it must be a string.`);
      return this.tokenize(text);
    });
    const length = Math.max(...rows.map((row) => row.length));
    const ids = new BigInt64Array(rows.length * length).fill(BigInt(this.padId));
    const mask = new BigInt64Array(rows.length * length);
    rows.forEach((row, index) => {
      ids.set(row.map(BigInt), index * length);
      mask.fill(1n, index * length, index * length + row.length);
    });
    const shape = [rows.length, length];
    const { sentence_embedding: output } = await this.session.run({
      input_ids: new ort.Tensor("int64", ids, shape),
      attention_mask: new ort.Tensor("int64", mask, shape),
      token_type_ids: new ort.Tensor("int64", new BigInt64Array(ids.length), shape),
    }, ["sentence_embedding"]);
    const size = output.dims[1];
    return rows.map((_, index) => output.data.slice(index * size, (index + 1) * size));
  }

  /** Token ids of `text`, with [CLS] before and [SEP] behind, cut to what the model reads. */
  tokenize(text) {
    const { ids } = this.tokenizer.encode(text);
    return ids.length <= this.longest ? ids : [...ids.slice(0, this.longest - 1), ids.at(-1)];
  }

  /** Give back the session's memory and threads. */
  async close() {
    await this.session.release();
  }
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

async function main([folder, ...texts]) {
  if (texts.length < 2) throw new Error("usage: node embed.mjs FOLDER TEXT TEXT...");
  const embedder = await Embedder.open(folder);
  const [first, ...others] = await embedder.embed(texts);
  console.log(`similarity to "${texts[0]}"`);
  others.forEach((vector, index) => console.log(`${cosine(first, vector).toFixed(4)}  ${texts[index + 1]}`));
  await embedder.close();
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  main(process.argv.slice(2)).catch((error) => {
    console.error(error.message);
    process.exitCode = 2;
  });
}
