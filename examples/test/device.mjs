// What the page shows of a device that was asked for:  node device.mjs CHROMIUM URL [SCREENSHOT_PREFIX]
// Prints JSON: what was given up, which graph runs where, and how far the page is wider than a phone.
import { open } from "./chromium.mjs";

const [executablePath, url, screenshots] = process.argv.slice(2);
const browser = await open(executablePath, { webgpu: process.env.WEBGPU === "1" });
try {
  const page = await browser.newPage({ viewport: { width: 1000, height: 760 } });
  await page.goto(url);
  await page.waitForFunction(() => document.getElementById("similarity").textContent !== "–" ||
    document.getElementById("status").classList.contains("error"), null, { timeout: 90_000 });
  const seen = {
    notes: await page.locator("#notes li").allTextContents(),
    model: await page.locator("#model").textContent(),
    status: await page.locator("#status").textContent(),
  };
  if (screenshots) await page.screenshot({ path: `${screenshots}-wide.png` });
  await page.setViewportSize({ width: 380, height: 900 });
  if (screenshots) await page.screenshot({ path: `${screenshots}-narrow.png`, fullPage: true });
  seen.overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  console.log(JSON.stringify(seen));
} finally {
  await browser.close();
}
