// A server for trying the page:  node serve.mjs ARTIFACT [PORT]. Any static host will do, if it sends the two headers
// COOP and COEP: without them the page works with one thread. The artifact's files appear below /model/.
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import http from "node:http";
import path from "node:path";
import { fileURLToPath } from "node:url";

const TYPES = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".json": "application/json",
  ".mjs": "text/javascript; charset=utf-8",
  ".wasm": "application/wasm",
};
const page = path.dirname(fileURLToPath(import.meta.url));
const [artifact, port = "8080"] = process.argv.slice(2);
if (!artifact || !/^\d{1,5}$/.test(port) || port > 65535) {
  console.error("usage: node serve.mjs ARTIFACT [PORT]");
  process.exit(2);
}

if (!await stat(path.join(artifact, "manifest.json")).catch(() => null)) {
  console.error(`${artifact} is not an artifact: it has no manifest.json. Make one with bert-onnx export.`);
  process.exit(2);
}

/** The file that a URL means; null where it would leave its folder. */
function locate(url) {
  const name = path.posix.normalize(decodeURIComponent(new URL(url, "http://localhost").pathname));
  const [root, rest] = name.startsWith("/model/") ? [path.resolve(artifact), name.slice(7)] : [page, name.slice(1)];
  const file = path.resolve(root, rest || "index.html");
  return file.startsWith(root + path.sep) ? file : null;
}

async function answer(request, response) {
  const file = locate(request.url);
  const found = file ? await stat(file).catch(() => null) : null;
  if (!found?.isFile()) {
    response.writeHead(404).end("not found");
    return;
  }
  response.writeHead(200, {
    "Content-Type": TYPES[path.extname(file)] ?? "application/octet-stream",
    "Content-Length": found.size,
    "Cache-Control": "no-cache",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
  });
  createReadStream(file).on("error", () => response.destroy()).pipe(response);
}

const server = http.createServer((request, response) => {
  answer(request, response).catch(() => response.writeHead(400).end("bad request"));
});
server.on("error", (error) => {
  console.error(`port ${port} cannot be used (${error.message}); name another.`);
  process.exit(2);
});
server.listen(Number(port), "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${server.address().port}/`);
});
