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
  const { compare } = await import("/checked.mjs");
  const { Embedder } = await import("/embedder.mjs");
  const vectors = await (await fetch("/model/vectors.json")).json();
  const manifest = await (await fetch("/model/manifest.json")).json();
  const results = [];
  const right = ({ precision, quantization }) => precision !== "int8" || ["avx2", null].includes(quantization.isa);
  for (const variant of manifest.variants.filter((entry) => ["portable", "web"].includes(entry.target) && right(entry))) {
    const embedder = await Embedder.open("/model/", { variant: variant.name });
    let texts = 0;
    const fromText = async (_, { texts: all, pairs }) => {
      if (!all || pairs) return {};
      texts += all.length;
      return { sentence_embedding: { data: (await embedder.embed(all)).flatMap((vector) => [...vector]) } };
    };
    const one = await compare(embedder, vectors);
    const other = await compare({ variant, run: fromText }, vectors);
    await embedder.close();
    const worst = (pick, key) => pick(one[key], other[key]);
    results.push({ variant: variant.name, precision: variant.precision, texts, difference: worst(Math.max, "difference"),
      mean: worst(Math.min, "mean"), cosine: worst(Math.min, "cosine"), eager: worst(Math.min, "eager") });
  }
  return results;
}
