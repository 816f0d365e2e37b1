// Artifacts of several tasks in transformers.js on Node:  node tasks.mjs JOBS
// JOBS is JSON: a list of {folder, task, dtypes, calls}. Prints a list with what `judge` found of each dtype.
import { readFile } from "node:fs/promises";
import path from "node:path";
import * as transformers from "@huggingface/transformers";
import * as checked from "../web/checked.mjs";
import { judge } from "./judge.mjs";

transformers.env.allowRemoteModels = false;
transformers.env.useFSCache = false;
const found = [];
for (const { folder, task, dtypes, calls } of JSON.parse(process.argv[2])) {
  transformers.env.localModelPath = path.dirname(folder) + path.sep;
  const vectors = JSON.parse(await readFile(path.join(folder, "vectors.json"), "utf8"));
  for (const dtype of dtypes) {
    found.push(await judge(checked, transformers, { task, name: path.basename(folder), vectors, device: "cpu", dtype, calls }));
  }
}
console.log(JSON.stringify(found));
