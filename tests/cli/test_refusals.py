"""A wrong input is refused before anything heavy is imported, by every command that takes input."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from export_samples import save_checkpoint

from bert_onnx.cli.main import main

pytestmark = pytest.mark.slow

#: Seconds to import, each; none of them may be in memory when a command refuses.
HEAVY = ("torch", "onnx", "onnx_ir", "onnxruntime", "openvino", "transformers")

_PROGRAM = f"""
import sys
from bert_onnx.cli.main import main
status = main(sys.argv[1:])
print(status, [name for name in {HEAVY} if name in sys.modules])
"""

CASES: dict[str, tuple[int, str]] = {
    # What is wrong -> exit status, command.
    "an unknown folder": (5, "export no/such/folder"),
    "a name that no hub can have": (5, "export no--such"),
    "a hub model that is not in the cache": (9, "export nobody/nothing --offline --output {new}"),
    "a folder without config.json": (4, "export {empty} --output {new}"),
    "a config.json of another model": (4, "export {deberta} --output {new}"),
    "a config.json that is not JSON": (4, "export {damaged} --output {new}"),
    "no weights": (5, "export {weightless} --output {new}"),
    "damaged weights": (5, "export {broken} --output {new}"),
    "an unknown task": (2, "export {checkpoint} --task translation"),
    "an unknown target": (2, "export {checkpoint} --target toaster"),
    "an unknown precision": (2, "export {checkpoint} --precision fp8"),
    "an opset out of range": (2, "export {checkpoint} --opset 99"),
    "a precision that a target lacks": (2, "export {checkpoint} --target ort-cuda --precision int8"),
    "an unknown method": (2, "export {checkpoint} --precision int8 --method magic"),
    "an unknown instruction set": (2, "export {checkpoint} --precision int8 --isa sse2"),
    "no file to judge by": (7, "export {checkpoint} --precision int8 --eval {empty}/no.txt"),
    "no file to calibrate with": (7, "export {checkpoint} --precision int8 --calibration {empty}/no.txt"),
    "an output that exists": (8, "export {checkpoint} --output {artifact}"),
    "an output that is no artifact": (8, "export {checkpoint} --output {checkpoint} --force"),
    "text input for a task without": (2, "export {checkpoint} --task text-generation --text-input --output {new}"),
    "quantize: no artifact": (8, "quantize {empty}"),
    "quantize: an unknown target": (2, "quantize {artifact} --target toaster"),
    "quantize: fp32": (2, "quantize {artifact} --precision fp32"),
    "quantize: no such precision there": (2, "quantize {artifact} --target ort-cuda"),
    "quantize: no file to judge by": (7, "quantize {artifact} --eval {empty}/no.txt"),
    "quantize: the checkpoint has moved": (5, "quantize {artifact}"),
    "quantize: not a checkpoint": (4, "quantize {artifact} --checkpoint {empty}"),
    "verify: no artifact": (8, "verify {empty}"),
    "verify: no file to judge by": (7, "verify {artifact} --eval {empty}/no.txt"),
    "verify: the checkpoint has moved": (5, "verify {artifact}"),
    "verify: an unknown runtime": (2, "verify {artifact} --runtimes abacus"),
    "verify: no artifact for the matrix": (8, "verify {empty} --runtimes all"),
    "inspect: no artifact": (8, "inspect {empty}"),
    "inspect: no file": (8, "inspect {empty}/no.onnx"),
    "optimize: no file": (8, "optimize {empty}/no.onnx {new}.onnx --target ort-cpu"),
    "optimize: an unknown target": (2, "optimize {graph} {new}.onnx --target toaster"),
    "optimize: an opset out of range": (2, "optimize {graph} {new}.onnx --target ort-cpu --opset 5"),
    "optimize: the output is the input": (2, "optimize {graph} {graph} --target ort-cpu"),
    "optimize: no folder for the output": (2, "optimize {graph} {new}/out.onnx --target ort-cpu"),
    "optimize: heads alone": (2, "optimize {graph} {new}.onnx --target ort-cpu --heads 4"),
    "run: no artifact": (8, "run {empty} text"),
    "run: an unknown variant": (8, "run {artifact} text --variant other"),
    "run: an unknown runtime": (2, "run {artifact} text --runtime abacus"),
    "run: an unknown precision": (2, "run {artifact} text --precision fp8"),
    "run: a precision that is not there": (2, "run {artifact} text --precision int4"),
    "run: an option of another task": (2, "run {artifact} text --max-new-tokens 4"),
    "run: a second text for a task without": (2, "run {artifact} text --pair text"),
    "embed: no artifact": (8, "embed {empty} {text} {new}.npy"),
    "embed: an artifact of another task": (2, "embed {artifact} {text} {new}.npy"),
    "embed: no input": (7, "embed {artifact} {empty}/no.txt {new}.npy"),
    "embed: an unknown kind of output": (2, "embed {artifact} {text} {new}.xls"),
    "embed: an output that exists": (2, "embed {artifact} {text} {vectors}"),
    "tune: no artifact": (8, "tune {empty}"),
    "tune: no time": (2, "tune {artifact} --seconds 0"),
    "bench: no artifact": (8, "bench {empty}"),
    "bench: no time": (2, "bench {artifact} --seconds 0"),
    "bench: a task that ranks nothing": (2, "bench {artifact} --quality"),
    "report: no artifact": (8, "report {empty} --output {new}"),
    "report: no time": (2, "report {artifact} --output {new} --seconds 0"),
    "report: into the artifact": (2, "report {artifact} --output {artifact}/report.html"),
    "convert-weights: no folder": (5, "convert-weights {new}"),
    "convert-weights: no pickle": (5, "convert-weights {empty}"),
    "convert-weights: nothing to convert": (5, "convert-weights {checkpoint}"),
}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders with one thing wrong in each, by the names that `CASES` has for them."""
    folder = tmp_path_factory.mktemp("refusals")
    checkpoint = save_checkpoint(folder / "checkpoint", "fill-mask")
    places = {name: folder / name for name in ("empty", "deberta", "damaged", "weightless", "broken")}
    for place in places.values():
        place.mkdir()
    (places["deberta"] / "config.json").write_text(json.dumps({"model_type": "deberta-v2"}))
    (places["damaged"] / "config.json").write_text("{")
    for name in ("weightless", "broken"):
        shutil.copy(checkpoint / "config.json", places[name])
    (places["broken"] / "model.safetensors").write_bytes(b"\xff" * 64)
    assert main(["export", str(checkpoint), "--output", str(folder / "artifact")]) == 0
    graph = folder / "artifact" / "onnx" / "model.onnx"
    (folder / "text.txt").write_text("the cat\n")
    (folder / "vectors.npy").write_bytes(b"")
    places |= {"text": folder / "text.txt", "vectors": folder / "vectors.npy"}
    return places | {"checkpoint": checkpoint, "artifact": folder / "artifact", "graph": graph, "new": folder / "new"}


@pytest.mark.parametrize("what", CASES)
def test_nothing_heavy_is_imported(
    what: str, places: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, command = CASES[what]
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    arguments = [word.format(**places) for word in command.split()]
    result = subprocess.run([sys.executable, "-c", _PROGRAM, *arguments], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == f"{status} []", result.stderr
    assert result.stderr.startswith("bert-onnx: error: ")
    assert result.stderr.count("\n") == 1
    assert not places["new"].exists()
