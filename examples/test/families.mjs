// What transformers.js gives for an artifact of any task:  node families.mjs FOLDER TEXT [TEXT...]
// Prints a line of JSON: a row of numbers a text, from the manifest's task: an embedding, or logits of all places.
import { readFile } from "node:fs/promises";
import path from "node:path";
import { AutoModel, AutoModelForMaskedLM, AutoModelForQuestionAnswering, AutoModelForSequenceClassification,
  AutoModelForTokenClassification, AutoTokenizer, env, pipeline } from "@huggingface/transformers";

const [folder, ...texts] = process.argv.slice(2);
const manifest = JSON.parse(await readFile(path.join(folder, "manifest.json"), "utf8"));
env.allowRemoteModels = false;
env.useFSCache = false;
env.localModelPath = path.dirname(path.resolve(folder)) + path.sep;

const name = path.basename(folder);
const classes = {
  "feature-extraction": AutoModel,
  "fill-mask": AutoModelForMaskedLM,
  "question-answering": AutoModelForQuestionAnswering,
  "text-classification": AutoModelForSequenceClassification,
  "text-ranking": AutoModelForSequenceClassification,
  "token-classification": AutoModelForTokenClassification,
};

async function embeddings() {
  const [{ modes: [pooling] }, ...rest] = manifest.options.modules;
  const extract = await pipeline("feature-extraction", name, { dtype: "fp32" });
  const normalize = rest.some(({ kind }) => kind === "Normalize");
  return Promise.all(texts.map(async (text) => Array.from((await extract(text, { pooling, normalize })).data)));
}

async function outputs() {
  const tokenizer = await AutoTokenizer.from_pretrained(name);
  const model = await classes[manifest.task].from_pretrained(name, { dtype: "fp32" });
  const rows = [];
  for (const text of texts) {
    const found = await model(tokenizer(text));
    rows.push(Array.from((found.last_hidden_state ?? found.logits ?? found.start_logits).data));
  }
  return rows;
}

const rows = await (manifest.task === "sentence-similarity" ? embeddings() : outputs());
console.log(JSON.stringify(rows));
