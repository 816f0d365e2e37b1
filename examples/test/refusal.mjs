// Prints what the page says is wrong:  node refusal.mjs CHROMIUM PAGE_URL
import { open } from "./chromium.mjs";

const [executablePath, url] = process.argv.slice(2);
const browser = await open(executablePath);
try {
  const page = await browser.newPage();
  await page.goto(url);
  await page.waitForSelector("#status.error");
  console.log(await page.locator("#status").textContent());
} finally {
  await browser.close();
}
