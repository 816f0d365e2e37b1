"""Compares an artifact on this machine with its own test vectors:

    python check_vectors.py ARTIFACT [--longest TOKENS] [VARIANT ...]

Needs what running needs: `pip install "bert-onnx[cpu]"`. --longest leaves out longer cases. Prints one line of JSON
for each variant; the status is 1 where one differs by more than 1e-4 (fp32), or where its cosines with Python's
answers have a mean below 0.9995 or one is below 0.998 (other precisions; examples/README.md says why).
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from bert_onnx.artifact import Artifact
from bert_onnx.errors import RuntimeUnavailableError
from runtimes import load

LARGEST_DIFFERENCE = 1e-4
MEAN_COSINE, LEAST_COSINE = 0.9995, 0.998
#: What ONNX Runtime runs on every processor.
TARGETS = ("portable", "ort-cpu", "ort-cpu-unpadded", "web")


def main(folder: Path, wanted: list[str], longest: int | None) -> int:
    """Compare every variant, or those that are `wanted`, on the cases of at most `longest` tokens."""
    vectors = json.loads((folder / "vectors.json").read_text(encoding="utf-8"))
    cases = [
        case for case in vectors["cases"] if longest is None or case["inputs"]["input_ids"]["shape"][-1] <= longest
    ]
    variants = [entry for entry in Artifact.open(folder).manifest.variants if entry.target in TARGETS]
    failed = checked = 0
    for variant in variants:
        if wanted and variant.name not in wanted:
            continue
        begun = time.monotonic()
        try:
            result = check(folder, variant.name, variant.precision, cases)
        except RuntimeUnavailableError as error:  # an int8 file that would give wrong sums on this processor
            print(f"left out: {error}", file=sys.stderr)
            continue
        if variant.precision == "fp32":
            passed = result["difference"] <= LARGEST_DIFFERENCE
        else:
            passed = result["mean"] >= MEAN_COSINE and result["cosine"] >= LEAST_COSINE
        failed += not passed
        checked += 1
        result |= {"passed": bool(passed), "machine": platform.machine(), "seconds": round(time.monotonic() - begun, 1)}
        print(json.dumps(result), flush=True)
    return 0 if checked and not failed else 1


def check(folder: Path, name: str, precision: str, cases: list[dict[str, Any]]) -> dict[str, Any]:
    """The largest difference and the cosines of a variant over all cases, from ids and from text.

    `mean` and `cosine` are the mean and the least cosine with Python's answers to the same file, `eager` is the least
    with the model in float32. A few values of an output say little of its direction: they count where there are no
    whole ones.
    """
    difference, own, eager, texts = 0.0, [], [], 0
    whole = any("offsets" not in tensor for tensor in cases[0]["outputs"].values())
    # Its hashes were compared a moment ago.
    with load(folder, variant=name, runtime="onnxruntime-cpu", check_hashes=False) as model:
        ports = {port.name: port for port in model.runtime.inputs}
        for case in cases:
            expected = case["variants"].get(name, case["outputs"])
            inputs = {
                key: np.array(tensor["values"], ports[key].dtype).reshape(tensor["shape"])
                for key, tensor in case["inputs"].items()
            }
            answers = [(key, values_of(array, expected[key])) for key, array in model.runtime.run(inputs).items()]
            if case["texts"] and not case["pairs"] and "sentence_embedding" in expected:
                answers.append(("sentence_embedding", model.embed(case["texts"]).ravel()))
                texts += len(case["texts"])
            for key, actual in answers:
                wanted = np.array(expected[key]["values"])
                difference = max(difference, float(np.abs(actual - wanted).max()))
                if whole and "offsets" in expected[key]:
                    continue
                own += cosines(actual, wanted, expected[key])
                eager += cosines(actual, np.array(case["outputs"][key]["values"]), expected[key])
    figures = {"texts": texts, "difference": difference, "mean": float(np.mean(own)), "cosine": min(own)}
    figures["eager"] = min(eager)
    return {"variant": name, "precision": precision, **figures}


def values_of(array: np.ndarray, tensor: dict[str, Any]) -> np.ndarray:
    """Those values of an output that `tensor` holds."""
    flat = array.ravel()
    return flat[tensor["offsets"]] if "offsets" in tensor else flat


def cosines(actual: np.ndarray, wanted: np.ndarray, tensor: dict[str, Any]) -> list[float]:
    """Cosines of the rows of an output; one that was sampled is one row."""
    whole = "offsets" not in tensor and len(tensor["shape"]) > 1
    rows = wanted.reshape(-1, tensor["shape"][-1] if whole else wanted.size)
    others = actual.reshape(rows.shape).astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(others, axis=1)
    nothing = ~(rows.any(axis=1) | others.any(axis=1))  # ids may all be 0
    return list(map(float, np.where(nothing, 1.0, (rows * others).sum(axis=1) / np.where(nothing, 1.0, lengths))))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("variants", nargs="*", metavar="VARIANT")
    parser.add_argument("--longest", type=int, metavar="TOKENS")
    arguments = parser.parse_intermixed_args()
    sys.exit(main(arguments.artifact, arguments.variants, arguments.longest))
