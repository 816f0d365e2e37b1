// Drives the page in a real browser:  node browser.mjs CHROMIUM PAGE_URL [SCREENSHOT_PREFIX]
// Prints JSON: differences from the artifact's test vectors by variant, and what the page showed.
import { open } from "./chromium.mjs";

const [executablePath, url, screenshots] = process.argv.slice(2);
const browser = await open(executablePath);
try {
  console.log(JSON.stringify(await drive()));
} finally {
  await browser.close();
}

async function drive() {
  const page = await browser.newPage({ viewport: { width: 1000, height: 700 } });
  const complaints = [];
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(error.message));
  await page.goto(url);
  const status = page.locator("#status");
  await page.waitForFunction(() => document.getElementById("similarity").textContent !== "–" ||
    document.getElementById("status").classList.contains("error"), null, { timeout: 120_000 });
  const shown = { status: await status.textContent(), similarity: await page.locator("#similarity").textContent(),
    milliseconds: await page.locator("#milliseconds").textContent(),
    model: await page.locator("#model").textContent() };
  if (screenshots) await takeScreenshots(page);

  await page.getByLabel("Second sentence").fill("The cat sat on the mat.");
  await page.waitForFunction((before) => !["–", before].includes(document.getElementById("similarity").textContent),
    shown.similarity);
  const same = await page.locator("#similarity").textContent();
  await page.getByLabel("Second sentence").fill("The river rises in the hills. ".repeat(60));
  await page.waitForFunction(() => document.getElementById("status").textContent.startsWith("Only the first"));
  const long = await status.textContent();
  await page.getByLabel("Second sentence").fill("   ");
  await page.waitForFunction(() => document.getElementById("similarity").textContent === "–");
  const empty = await status.textContent();

  const isolated = await page.evaluate(() => globalThis.crossOriginIsolated);
  const variants = await page.evaluate(compareWithVectors);
  const small = await followLink(page);
  const overflow = await phoneOverflow(page);
  const refusals = [];
  for (const query of ["?variant=none", "?precision=fp8"]) refusals.push(await refusal(query));
  return { shown, same, long, empty, small, refusals, isolated, variants, overflow, complaints };
}

/** What the page shows after its link to the int8 graph was followed; null where the artifact has none. */
async function followLink(page) {
  const link = page.getByRole("link", { name: "int8" });
  if (await link.count() === 0) return null;
  await link.click();
  await page.waitForFunction(() => document.getElementById("similarity").textContent !== "–", null, { timeout: 60_000 });
  return { similarity: await page.locator("#similarity").textContent(),
    model: await page.locator("#model").textContent() };
}

/** How far the page is wider than a phone. */
async function phoneOverflow(page) {
  await page.setViewportSize({ width: 320, height: 700 });
  return page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
}

async function refusal(query) {
  const page = await browser.newPage();
  await page.goto(url + query);
  await page.waitForSelector("#status.error");
  if (screenshots) await page.screenshot({ path: `${screenshots}-refusal.png` });
  return page.locator("#status").textContent();
}

async function takeScreenshots(page) {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    for (const [name, width, height] of [["wide", 1000, 700], ["narrow", 380, 860]]) {
      await page.setViewportSize({ width, height });
      await page.screenshot({ path: `${screenshots}-${name}-${colorScheme}.png` });
    }
  }
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize({ width: 1000, height: 700 });
}

/** Runs in the page. */
async function compareWithVectors() {
  const { cosine, Embedder, ort } = await import("/embedder.mjs");
  const vectors = await (await fetch("/model/vectors.json")).json();
  const manifest = await (await fetch("/model/manifest.json")).json();
  const results = [];
  const right = ({ precision, quantization }) => precision !== "int8" || ["avx2", null].includes(quantization.isa);
  for (const variant of manifest.variants.filter((entry) => ["portable", "web"].includes(entry.target) && right(entry))) {
    const embedder = await Embedder.open("/model/", { variant: variant.name });
    const result = { variant: variant.name, precision: variant.precision, difference: 0, texts: 0 };
    const [own, eager] = [[], []];
    const judge = (actual, { shape, values }, model) => {
      const width = shape.at(-1);
      values.forEach((value, at) => { result.difference = Math.max(result.difference, Math.abs(value - actual[at])); });
      for (let at = 0; at < values.length; at += width) {
        const [a, b, c] = [actual, values, model.values].map((list) => list.slice(at, at + width));
        own.push(cosine(a, b));
        eager.push(cosine(a, c));
      }
    };
    for (const one of vectors.cases) {
      const model = one.outputs.sentence_embedding;
      const expected = (one.variants[variant.name] ?? one.outputs).sentence_embedding;
      const feeds = Object.fromEntries(Object.entries(one.inputs).map(([name, { shape, values }]) =>
        [name, new ort.Tensor("int64", BigInt64Array.from(values, BigInt), shape)]));
      const answers = await embedder.session.run(feeds, ["sentence_embedding"]);
      judge(answers.sentence_embedding.data, expected, model);
      if (!one.texts || one.pairs) continue;
      judge((await embedder.embed(one.texts)).flatMap((vector) => [...vector]), expected, model);
      result.texts += one.texts.length;
    }
    await embedder.session.release();
    const mean = own.reduce((sum, value) => sum + value, 0) / own.length;
    results.push({ ...result, mean, cosine: Math.min(...own), eager: Math.min(...eager) });
  }
  return results;
}
