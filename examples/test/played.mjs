// openChecked in a browser that is played, on graphs that are:  node played.mjs JOB
// JOB is JSON: {vectors, device, dtype, gpu, plays}. `gpu`: the features of the adapter, null where there is none; `plays`: what
// is wrong with the graph of "DTYPE DEVICE". Prints JSON: what came of it, and what was opened, said and closed on the way.
import { openChecked, PRECISIONS } from "../web/checked.mjs";

const { vectors, gpu, plays, device, dtype } = JSON.parse(process.argv[2]);
const adapter = gpu && { features: new Set(gpu) };
const navigator = { gpu: { requestAdapter: async () => adapter } };
Object.defineProperty(globalThis, "navigator", { value: navigator, configurable: true }); // newer Nodes have one
const said = [], tried = [], closed = [], fed = new Set();

/** What a graph makes of values that would be right. */
const WRONG = {
  nan: (values) => values.map(() => NaN),
  far: ([first, ...rest]) => [first + 1e-3, ...rest],
  negative: (values) => values.map((value) => -value),
};

async function open(candidate) {
  const key = `${candidate.dtype} ${candidate.device}`, play = plays[key];
  tried.push(key);
  if (play === "missing") throw new Error("no such file");
  return {
    variant: { name: candidate.dtype, precision: PRECISIONS[candidate.dtype] },
    run: async (inputs, { outputs, variants }) => {
      fed.add(JSON.stringify(inputs.input_ids.values));
      if (play === "crash") throw new Error("device lost");
      if (play === "other") return { pooled: { data: [1] } };
      const { values } = (variants[candidate.dtype] ?? outputs).logits;
      return { logits: { data: WRONG[play]?.(values) ?? values } };
    },
    close: async () => {
      closed.push(key);
      if (play === "crash") throw new Error("lost, too");
    },
  };
}

const ways = { said, tried, closed };
try {
  const found = await openChecked({ vectors, device, dtype, open, say: (line) => said.push(line) });
  const { device: on, dtype: as, figures, refused, opened } = found;
  console.log(JSON.stringify({ on, as, variant: opened.variant.name, figures, refused, fed: [...fed], ...ways }));
} catch (error) {
  console.log(JSON.stringify({ error: error.message, ...ways }));
}
