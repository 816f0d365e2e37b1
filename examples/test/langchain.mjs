// The artifact in LangChain.js, unchanged:  node langchain.mjs FOLDER TEXT TEXT...
// Prints JSON: the vectors of the texts as documents, and of the last one as a query.
import path from "node:path";
import { HuggingFaceTransformersEmbeddings } from "@langchain/community/embeddings/huggingface_transformers";
import { env } from "@huggingface/transformers";

const [folder, ...texts] = process.argv.slice(2);
env.allowRemoteModels = false;
env.useFSCache = false;
env.localModelPath = path.dirname(path.resolve(folder)) + path.sep;

const embeddings = new HuggingFaceTransformersEmbeddings({
  model: path.basename(folder),
  pretrainedOptions: { dtype: "fp32" },
  pipelineOptions: { pooling: "mean", normalize: true },
});
console.log(JSON.stringify({
  documents: await embeddings.embedDocuments(texts),
  query: await embeddings.embedQuery(texts.at(-1)),
}));
