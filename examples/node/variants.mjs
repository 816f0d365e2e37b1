// Which graph of an artifact to open on this processor, by its manifest.json.
import { readFileSync } from "node:fs";

/** Targets whose graphs onnxruntime-node runs, the fastest for texts one by one first. */
export const TARGETS = ["ort-cpu", "web", "openvino", "portable", "ort-cpu-unpadded"];
/** Instruction sets that int8 files are made for, the fastest first. */
const ORDER = { x64: ["avx512_vnni", "avx2", "arm64"], arm64: ["arm64", "avx512_vnni", "avx2"] };

/** The processor: its architecture, and whether it adds products of int8 in 32 bits (VNNI). */
export function thisProcessor(cpuinfo = "/proc/cpuinfo") {
  let text = "";
  try {
    text = readFileSync(cpuinfo, "utf8");
  } catch {
    // Other systems do not tell: it is taken to have no VNNI, and the file that is right everywhere is opened.
  }
  return { architecture: process.arch, vnni: /^flags\s*:.*\b(avx_vnni|avx512_vnni|amx_int8)\b/m.test(text) };
}

/**
 * Whether a variant's sums are right here. x86 without VNNI adds pairs of int8 products in 16 bits, where those of
 * files for `avx2` alone have room: all of the target `web` are such. Null has integers in the weights alone.
 */
export function isRight(variant, { architecture, vnni } = thisProcessor()) {
  if (variant.precision !== "int8" || architecture !== "x64" || vnni) return true;
  return [undefined, null, "avx2"].includes(variant.quantization?.isa);
}

/**
 * The variant with that name, or the best in that precision for this processor.
 * @param {object} manifest of the artifact
 * @param {{variant?: string, precision?: string}} wanted precision: "fp32" (default), "int8" ...
 */
export function chooseVariant(manifest, { variant, precision = "fp32" } = {}, processor = thisProcessor()) {
  const has = manifest.variants.map((entry) => `${entry.name} (${entry.precision})`).join(", ");
  const named = manifest.variants.filter((entry) => variant === undefined || entry.name === variant);
  if (named.length === 0) throw new Error(`there is no variant "${variant}"; the artifact has ${has}.`);
  const asked = named.filter((entry) => variant !== undefined || entry.precision === precision);
  const fit = asked.filter((entry) => TARGETS.includes(entry.target));
  if (fit.length === 0) {
    throw new Error(`no ${variant ?? precision} variant is for onnxruntime-node; the artifact has ${has}.`);
  }
  const right = fit.filter((entry) => isRight(entry, processor));
  if (right.length === 0) {
    throw new Error(`the sums of ${fit[0].name} would saturate on this processor, which has no VNNI; ` +
      "export int8 with --isa avx2, or for the target web.");
  }
  if (variant === undefined && precision === "fp32") return right.find(({ target }) => target === "portable") ?? right[0];
  const rank = (entry) => {
    const order = ORDER[processor.architecture] ?? ORDER.arm64;
    const isa = order.indexOf(entry.quantization?.isa);
    return (isa < 0 ? order.length : isa) * TARGETS.length + TARGETS.indexOf(entry.target);
  };
  return right.sort((a, b) => rank(a) - rank(b))[0];
}
