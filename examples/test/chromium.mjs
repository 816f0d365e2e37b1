// Starts a Chromium that asks nobody for anything.
import { chromium } from "playwright-core";

/** WebGPU computed by SwiftShader on the processor: right, slow, and without 16-bit floats. */
const SOFTWARE_WEBGPU = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"];

/**
 * @param {string} executablePath of the browser
 * @param {{webgpu?: boolean}} options
 */
export function open(executablePath, { webgpu = false } = {}) {
  return chromium.launch({
    executablePath,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", ...(webgpu ? SOFTWARE_WEBGPU : [])],
  });
}
