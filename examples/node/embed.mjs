// Embeds texts with an artifact of bert-onnx and prints how similar they are:
//   node embed.mjs FOLDER [--precision int8] TEXT TEXT...
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { Tokenizer } from "@huggingface/tokenizers";
import * as ort from "onnxruntime-node";
import { chooseVariant } from "./variants.mjs";

/** One graph of an artifact folder, and its tokenizer. */
export class Embedder {
  /**
   * @param {string} folder what `bert-onnx export` wrote
   * @param {{variant?: string, precision?: string, threads?: number, checkHash?: boolean}} options
   *   variant: a name of manifest.json; without one, the best in `precision` ("fp32") for this processor
   */
  static async open(folder, { variant, precision, threads = 0, checkHash = true } = {}) {
    const read = async (name) => {
      try {
        return JSON.parse(await readFile(path.join(folder, name), "utf8"));
      } catch (error) {
        throw new Error(`${folder} is not an artifact of bert-onnx: ${name} cannot be read (${error.message}).`);
      }
    };
    const manifest = await read("manifest.json");
    if (!manifest.outputs.some((output) => output.name === "sentence_embedding")) {
      throw new Error(`the artifact is for ${manifest.task}, not for sentence embeddings; export one for these.`);
    }
    const chosen = chooseVariant(manifest, { variant, precision });
    if (checkHash) {
      for (const name of [chosen.file, chosen.data_file, "tokenizer.json"]) if (name) await check(folder, manifest, name);
    }
    const tokenizer = new Tokenizer(await read("tokenizer.json"), await read("tokenizer_config.json"));
    const session = await ort.InferenceSession.create(path.join(folder, chosen.file), {
      intraOpNumThreads: threads,
      executionMode: "sequential",
    });
    return new Embedder(session, tokenizer, manifest, chosen);
  }

  constructor(session, tokenizer, manifest, variant) {
    this.variant = variant;
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

  /** Whether `text` is longer than what the model reads. */
  isTooLong(text) {
    return this.tokenizer.encode(text).ids.length > this.longest;
  }

  /** Give back the session's memory and threads. */
  async close() {
    await this.session.release();
  }
}

/** Throws unless a file of an artifact is what its manifest says. */
async function check(folder, manifest, name) {
  const hash = createHash("sha256");
  try {
    await pipeline(createReadStream(path.join(folder, name)), hash);
  } catch (error) {
    throw new Error(`${name} cannot be read (${error.message}); export the model again.`);
  }
  if (hash.digest("hex") !== manifest.files[name]?.sha256) {
    throw new Error(`${name} is not what manifest.json says; it was changed or damaged. Export the model again.`);
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

async function main(words) {
  const { values, positionals } = parseArgs({
    args: words, allowPositionals: true, options: { precision: { type: "string" }, variant: { type: "string" } },
  });
  const [folder, ...texts] = positionals;
  if (texts.length < 2) {
    throw new Error("usage: node embed.mjs FOLDER [--precision fp32|int8] [--variant NAME] TEXT TEXT...");
  }
  const embedder = await Embedder.open(folder, values);
  texts.forEach((text, index) => {
    if (embedder.isTooLong(text)) console.error(`text ${index + 1} is cut: the model reads ${embedder.longest} tokens.`);
  });
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
