// The page: two sentences in, their similarity and the milliseconds out.
import { cosine, openChecked, PRECISIONS } from "./checked.mjs";
import { Embedder } from "./embedder.mjs";

const WAIT_MS = 200; // after the last key

const element = (id) => document.getElementById(id);
const inputs = [element("first"), element("second")];
let embedder = null;
let running = false;
let again = false;

function say(text, isError = false) {
  if (element("status").textContent !== text) element("status").textContent = text; // said once to screen readers
  element("status").classList.toggle("error", isError);
}

async function start() {
  embedder = await open(Object.fromEntries(new URLSearchParams(location.search)));
  element("loading").hidden = true;
  const { name, precision, size_bytes: size } = embedder.variant;
  const { env } = embedder.ort;
  const where = embedder.device === "wasm" ? `wasm, ${env.wasm.numThreads} thread${env.wasm.numThreads === 1 ? "" : "s"}` : "WebGPU";
  element("model").textContent = [
    embedder.manifest.source.model, name, precision, megabytes(size), `ONNX Runtime Web ${env.versions.web}`, where,
  ].join(" · ");
  offerOthers(embedder);
  await embedder.embed(["warm up"]); // the first run prepares memory; it would be timed otherwise
  await compare();
}

/** What the address asks for: ?precision=int8, ?variant=NAME; or ?device=webgpu&dtype=q4, which is checked first. */
async function open({ variant, precision, device, dtype }) {
  const onProgress = (share) => {
    element("loading").value = share;
    say(share < 1 ? `Loading the model: ${Math.round(100 * share)} %` : "Opening the model…");
  };
  if (!device) return Embedder.open("model/", { variant, precision, onProgress });
  const vectors = await (await fetch("model/vectors.json")).json();
  const { opened } = await openChecked({
    vectors, device, dtype,
    open: (candidate) => Embedder.open("model/", { device: candidate.device, precision: PRECISIONS[candidate.dtype], onProgress }),
    say: (message) => element("notes").append(Object.assign(document.createElement("li"), { textContent: message })),
  });
  return opened;
}

/** Links to the other graphs that were made for the web. */
function offerOthers({ manifest, variant }) {
  const others = manifest.variants.filter(({ target, name }) => target === "web" && name !== variant.name);
  for (const { name, precision, size_bytes: size } of others) {
    const link = document.createElement("a");
    link.href = `?variant=${encodeURIComponent(name)}`;
    link.textContent = `Use ${precision}, ${megabytes(size)}`;
    element("others").append(link);
  }
}

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(0)} MB`;

/** Compare now; where a comparison is under way, once more after it. */
async function compare() {
  if (running || !embedder) {
    again = true;
    return;
  }
  running = true;
  do {
    again = false;
    await compareOnce();
  } while (again);
  running = false;
}

async function compareOnce() {
  const texts = inputs.map((input) => input.value.trim());
  if (texts.some((text) => text === "")) {
    show(null, null);
    say("Write something into both fields.");
    return;
  }
  const begun = performance.now();
  const [first, second] = await embedder.embed(texts);
  show(cosine(first, second), performance.now() - begun);
  const cut = texts.some((text) => embedder.isTooLong(text));
  say(cut ? `Only the first ${embedder.manifest.model_max_length} tokens of a text are read; one is longer.`
    : "Ready. Edit either sentence.");
}

function show(similarity, milliseconds) {
  const known = similarity !== null;
  element("similarity").textContent = known ? similarity.toFixed(3).replace("-", "−") : "–";
  element("milliseconds").textContent = known ? milliseconds.toFixed(1) : "–";
  element("marker").style.inlineSize = `${known ? 100 * Math.max(0, Math.min(1, similarity)) : 0}%`;
}

function fail(error) {
  element("loading").hidden = true;
  say(error.message, true);
}

let timer;
for (const input of inputs) {
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => compare().catch(fail), WAIT_MS);
  });
}
start().catch(fail);
