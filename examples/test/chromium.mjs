// Starts a Chromium that asks nobody for anything.
import { chromium } from "playwright-core";

/** @param {string} executablePath of the browser */
export function open(executablePath) {
  return chromium.launch({
    executablePath,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync"],
  });
}
