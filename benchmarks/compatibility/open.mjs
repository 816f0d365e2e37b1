// What transformers.js returns for artifacts: `jobs`, which Python puts before this text, names them and their texts.
// It runs in the folder of the examples, whose packages have transformers.js, and prints one line of JSON.
import path from "node:path";
import * as transformers from "@huggingface/transformers";

const { env } = transformers;
env.allowRemoteModels = false;
env.useFSCache = false;

async function ask({ folder, auto, texts }) {
  env.localModelPath = path.dirname(folder) + path.sep;
  const name = path.basename(folder);
  const tokenizer = await transformers.AutoTokenizer.from_pretrained(name);
  const model = await transformers[auto].from_pretrained(name, { dtype: "fp32" });
  const rows = [];
  for (const text of texts) {
    const outputs = await model(await tokenizer(text, { truncation: true }));
    const first = outputs.last_hidden_state ?? outputs.logits ?? outputs.start_logits;
    rows.push(...first.data);
  }
  await model.dispose();
  return rows;
}

const found = {};
for (const job of jobs) {
  try {
    found[job.name] = await ask(job);
  } catch (error) {
    found[job.name] = String(error.message).split("\n")[0];
  }
}
console.log(JSON.stringify(found));
