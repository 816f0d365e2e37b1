// Opens a page wide and narrow, light and dark: node pages.mjs CHROMIUM URL [SCREENSHOTS]
// Prints what each looked like: how far it is wider than its window, what it asked for, and what it complained of.
import { open } from "./chromium.mjs";

const [executable, url, screenshots] = process.argv.slice(2);
const browser = await open(executable);
const seen = [];
for (const [name, width] of [["wide", 1280], ["narrow", 390]]) {
  for (const colorScheme of ["light", "dark"]) {
    const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme });
    const requests = [];
    const complaints = [];
    page.on("request", (request) => requests.push(request.url()));
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
    await page.goto(url, { waitUntil: "load" });
    await page.waitForTimeout(300);
    seen.push({
      name, colorScheme, complaints,
      requests: requests.filter((one) => !one.startsWith("data:")),
      overflow: await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth),
      background: await page.evaluate(() => getComputedStyle(document.body).backgroundColor),
      text: await page.evaluate(() => document.body.innerText),
      headings: await page.locator("h1, h2").allInnerTexts(),
      drawings: await page.locator("svg").count(),
    });
    if (screenshots) {
      await page.screenshot({ path: `${screenshots}-${name}-${colorScheme}.png`, fullPage: true });
    }
    await page.close();
  }
}
await browser.close();
console.log(JSON.stringify(seen));
