// Drives the page of `bert-onnx serve` in a real browser:  node server.mjs CHROMIUM URL [SCREENSHOT_PREFIX]
// Prints JSON: what the page shows for each model, for wrong inputs, to a keyboard, on a phone, and whom it called.
import { open } from "./chromium.mjs";

const [executablePath, url, screenshots] = process.argv.slice(2);
const browser = await open(executablePath);
try {
  console.log(JSON.stringify(await drive()));
} finally {
  await browser.close();
}

async function drive() {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  const complaints = [], called = new Set();
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("request", (request) => called.add(new URL(request.url()).origin));
  await page.goto(url);
  await answered(page);
  const models = {};
  for (const name of await page.locator("#model option").evaluateAll((all) => all.map(({ value }) => value))) {
    await page.getByLabel("Model", { exact: true }).selectOption(name);
    await answered(page);
    models[name] = { ...await shown(page), unlabelled: await unlabelled(page), overflow: await phone(page),
      html: await page.locator("#result").innerHTML() };
    if (screenshots) await photograph(page, name);
  }
  const kind = [...complaints];
  return { models, ...await mistakes(page), emoji: await emoji(page), keyboard: await keyboard(page), complaints: kind, called: [...called] };
}

async function answered(page) {
  await page.waitForFunction(() => document.getElementById("result").ariaBusy === "false", null, { timeout: 60_000 });
}

async function shown(page) {
  return { title: await page.locator("#title").textContent(), result: await page.locator("#result").innerText(),
    figures: await page.locator("#figures").textContent(), cut: await page.locator("#figures.cut").count() };
}

/** Fields that no label names. */
function unlabelled(page) {
  return page.locator("textarea, select, input").evaluateAll((all) => all.filter((one) => !one.labels?.length).length);
}

/** How far the page is wider than a phone. */
async function phone(page) {
  await page.setViewportSize({ width: 390, height: 800 });
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  await page.setViewportSize({ width: 1280, height: 800 });
  return wider;
}

async function mistakes(page) {
  await page.getByLabel("Model", { exact: true }).selectOption("text-classification");
  await answered(page);
  const said = {};
  for (const [name, text] of [["empty", "  "], ["long", "hello world ".repeat(200)], ["markup", "<img src=x onerror=alert(1)> & <b>"]]) {
    await page.getByLabel("Text", { exact: true }).fill(text);
    await page.getByRole("button").first().click();
    await answered(page);
    said[name] = await shown(page);
  }
  await page.route("**/zero-shot", (route) => route.abort());
  await page.getByRole("button").first().click();
  await page.waitForSelector("#result .error");
  said.away = await shown(page);
  await page.unroute("**/zero-shot");
  return { said };
}

/** Which parts of a text with characters beyond the first 65,536 are marked. */
async function emoji(page) {
  const text = "👍🏽 𝔘𝔫 Angela 🙂 lives in 北京 and Berlin 🎉.";
  await page.getByLabel("Model", { exact: true }).selectOption("token-classification");
  await answered(page);
  await page.getByLabel("Text", { exact: true }).fill(text);
  await page.getByRole("button").first().click();
  await answered(page);
  return { text, marks: await page.locator("mark").evaluateAll((all) => all.map((mark) => mark.firstChild.data)) };
}

/** From the top of the page to an answer without a mouse; where the focus went. */
async function keyboard(page) {
  await page.reload();
  await answered(page);
  const visited = [];
  for (let presses = 0; presses < 3; presses += 1) {
    await page.keyboard.press("Tab");
    visited.push(await page.evaluate(() => document.activeElement.id || document.activeElement.tagName));
  }
  await page.locator("textarea").first().focus();
  await page.keyboard.press("Control+A");
  await page.keyboard.type("hello world");
  await page.keyboard.press("Control+Enter");
  await page.waitForFunction(() => document.querySelectorAll("#result tbody tr").length === 1);
  const outline = await page.locator("textarea").first().evaluate((one) => getComputedStyle(one).outlineStyle);
  return { visited, outline, ...await shown(page) };
}

async function photograph(page, name) {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    for (const width of [1280, 390]) {
      await page.setViewportSize({ width, height: 800 });
      await page.screenshot({ path: `${screenshots}-${name}-${width}-${colorScheme}.png`, fullPage: true });
    }
  }
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize({ width: 1280, height: 800 });
}
