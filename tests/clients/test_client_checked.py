"""examples/web/checked.mjs on graphs that are played: what it tries, in which order, what it says, what it closes."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from client_tools import EXAMPLES

pytestmark = pytest.mark.clients

#: One output of two values for each of two cases; int8 has values of its own.
VECTORS = {
    "cases": [
        {
            "inputs": {"input_ids": {"shape": [1, 2], "values": [1, 2]}},
            "outputs": {"logits": {"shape": [1, 2], "values": [sign * 1.0, 2.0]}},
            "variants": {"q8": {"logits": {"shape": [1, 2], "values": [sign * 1.0, 2.5]}}},
        }
        for sign in (1, -1)
    ]
}


def _open(node: str, device: str, dtype: str, gpu: list[str] | None, **plays: str) -> dict[str, Any]:
    """What comes of it; a key of `plays` such as `q4_webgpu` names a candidate."""
    played = {key.replace("_", " "): value for key, value in plays.items()}
    job = {"vectors": VECTORS, "gpu": gpu, "plays": played, "device": device, "dtype": dtype}
    command = [node, "played.mjs", json.dumps(job)]
    done = subprocess.run(command, cwd=EXAMPLES / "test", capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_what_is_right_is_taken_without_a_word(node: str) -> None:
    found = _open(node, "webgpu", "q8", [])
    assert (found["on"], found["as"], found["said"], found["refused"], found["closed"]) == ("webgpu", "q8", [], [], [])
    assert found["tried"] == ["q8 webgpu"]
    assert found["fed"] == ["[1,2]"]
    assert found["figures"] | {"outputs": 2, "difference": 0} == found["figures"]
    assert found["figures"]["cosine"] == pytest.approx(1)
    assert found["figures"]["eager"] == pytest.approx(6 / (5 * 7.25) ** 0.5)


@pytest.mark.parametrize(
    ("dtype", "tried"),
    [
        ("q4", ["q4 webgpu", "q4 wasm", "q8 webgpu", "q8 wasm", "fp32 webgpu", "fp32 wasm"]),
        ("q8", ["q8 webgpu", "q8 wasm", "fp32 webgpu", "fp32 wasm"]),
        ("fp16", ["fp16 webgpu", "fp16 wasm", "fp32 webgpu", "fp32 wasm"]),
        ("fp32", ["fp32 webgpu", "fp32 wasm"]),
    ],
)
def test_everything_is_tried_in_this_order(node: str, dtype: str, tried: list[str]) -> None:
    found = _open(node, "webgpu", dtype, ["shader-f16"], **{key.replace(" ", "_"): "negative" for key in tried})
    assert found["tried"] == found["closed"] == tried
    assert found["error"].startswith("No graph of this artifact is right here: ")
    assert found["error"].count("gives wrong outputs") == len(tried)
    assert found["said"][-1].endswith("; nothing is left to try.")


@pytest.mark.parametrize(
    ("play", "reason"),
    [
        ("nan", "gives wrong outputs (NaN from vectors.json, where 0.0001 is allowed)"),
        ("far", "gives wrong outputs (1.0e-3 from vectors.json, where 0.0001 is allowed)"),
        ("other", "gives none of the outputs that vectors.json has"),
        ("missing", "does not run (no such file)"),
        ("crash", "does not run (device lost)"),
    ],
)
def test_a_reason_is_said(node: str, play: str, reason: str) -> None:
    found = _open(node, "webgpu", "fp32", [], fp32_webgpu=play)
    assert (found["on"], found["as"]) == ("wasm", "fp32")
    assert found["said"] == [f"fp32 on webgpu {reason}; trying fp32 on wasm."]
    assert found["refused"] == [{"device": "webgpu", "dtype": "fp32", "reason": reason}]
    assert found["closed"] == ([] if play == "missing" else ["fp32 webgpu"])


def test_low_precision_is_judged_by_cosine(node: str) -> None:
    assert _open(node, "wasm", "q4", None, q4_wasm="far")["as"] == "q4"
    found = _open(node, "wasm", "q4", None, q4_wasm="nan", q8_wasm="negative")
    assert found["as"] == "fp32"
    assert found["said"] == [
        "q4 on wasm gives wrong outputs (cosine NaN with vectors.json, in the mean NaN; 0.998 and 0.9995 are asked); "
        "trying q8 on wasm.",
        "q8 on wasm gives wrong outputs (cosine -1.0000 with vectors.json, in the mean -1.0000; 0.998 and 0.9995 are "
        "asked); trying fp32 on wasm.",
    ]


def test_a_browser_without_webgpu_is_asked_once(node: str) -> None:
    found = _open(node, "webgpu", "q4", None, q4_wasm="nan", q8_wasm="nan", fp32_wasm="nan")
    assert found["tried"] == ["q4 wasm", "q8 wasm", "fp32 wasm"]
    assert sum("no WebGPU" in line for line in found["said"]) == 1


@pytest.mark.parametrize(
    ("gpu", "dtype", "lack"),
    [(None, "q8", "this browser offers no WebGPU"), ([], "fp16", "this WebGPU has no shader-f16")],
)
def test_what_the_browser_lacks_is_not_downloaded(node: str, gpu: list[str] | None, dtype: str, lack: str) -> None:
    found = _open(node, "webgpu", dtype, gpu)
    assert found["tried"] == [f"{dtype} wasm"]
    assert found["said"] == [f"{dtype} on webgpu does not run ({lack}); trying {dtype} on wasm."]


@pytest.mark.parametrize(
    ("device", "dtype", "said"),
    [
        ("webgpu", "int8", 'The dtype "int8" is unknown; choose one of q4, q8, fp16, fp32.'),
        ("gpu", "q8", 'The device "gpu" is unknown; choose one of webgpu, wasm.'),
        ("wasm", "toString", 'The dtype "toString" is unknown'),
    ],
)
def test_a_word_that_is_unknown_is_refused(node: str, device: str, dtype: str, said: str) -> None:
    found = _open(node, device, dtype, [])
    assert found["error"].startswith(said)
    assert found["tried"] == []
