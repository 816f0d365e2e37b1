// Drives the page in a real browser:  node browser.mjs CHROMIUM PAGE_URL [SCREENSHOT_PREFIX]
// Prints JSON: differences from the artifact's test vectors by variant, and what the page showed.
import { chromium } from "playwright-core";

const [executablePath, url, screenshots] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
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
  await page.getByLabel("Second sentence").fill("   ");
  await page.waitForFunction(() => document.getElementById("similarity").textContent === "–");
  const empty = await status.textContent();

  const isolated = await page.evaluate(() => globalThis.crossOriginIsolated);
  const variants = await page.evaluate(compareWithVectors);
  const { width } = await page.evaluate(() => ({ width: document.documentElement.scrollWidth }));

  const wrong = await browser.newPage();
  await wrong.goto(`${url}?variant=none`);
  await wrong.waitForSelector("#status.error");
  const refusal = await wrong.locator("#status").textContent();
  return { shown, same, empty, refusal, isolated, variants, width, complaints };
}

async function takeScreenshots(page) {
  await page.screenshot({ path: `${screenshots}-light.png` });
  await page.emulateMedia({ colorScheme: "dark" });
  await page.screenshot({ path: `${screenshots}-dark.png` });
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize({ width: 380, height: 860 });
  await page.screenshot({ path: `${screenshots}-narrow.png` });
  await page.setViewportSize({ width: 1000, height: 700 });
}

/** Runs in the page. */
async function compareWithVectors() {
  const { cosine, Embedder, ort } = await import("/embedder.mjs");
  const vectors = await (await fetch("/model/vectors.json")).json();
  const manifest = await (await fetch("/model/manifest.json")).json();
  const results = [];
  for (const variant of manifest.variants.filter(({ target }) => ["portable", "web"].includes(target))) {
    const embedder = await Embedder.open("/model/", { variant: variant.name });
    const result = { variant: variant.name, precision: variant.precision, difference: 0, cosine: 1, texts: 0 };
    const judge = (actual, { shape, values }) => {
      const width = shape.at(-1);
      values.forEach((value, at) => { result.difference = Math.max(result.difference, Math.abs(value - actual[at])); });
      for (let at = 0; at < values.length; at += width) {
        const [a, b] = [actual, values].map((list) => list.slice(at, at + width));
        result.cosine = Math.min(result.cosine, cosine(a, b));
      }
    };
    for (const one of vectors.cases) {
      const expected = (one.variants[variant.name] ?? one.outputs).sentence_embedding;
      const feeds = Object.fromEntries(Object.entries(one.inputs).map(([name, { shape, values }]) =>
        [name, new ort.Tensor("int64", BigInt64Array.from(values, BigInt), shape)]));
      const answers = await embedder.session.run(feeds, ["sentence_embedding"]);
      judge(answers.sentence_embedding.data, expected);
      if (!one.texts || one.pairs) continue;
      judge((await embedder.embed(one.texts)).flatMap((vector) => [...vector]), expected);
      result.texts += one.texts.length;
    }
    await embedder.session.release();
    results.push(result);
  }
  return results;
}
