"""The parity matrix: every variant on every runtime here, and what a wrong, failing or absent runtime looks like."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from export_samples import save_checkpoint

from bert_onnx.artifact import Artifact, Quantization
from bert_onnx.cli import main as cli
from bert_onnx.errors import ArtifactError, CheckpointError, InferenceError, UsageError, VerificationError
from bert_onnx.tasks import Port
from export.verification.parity import real_tokens
from export.verification.runtime_cells import Cell, Matrix
from export.verification.runtime_comparison import LEAST_COSINE, least_cosine
from export.verification.runtime_matrix import runtime_matrix
from runtimes.engines.openvino import OpenVino
from runtimes.engines.table import RUNTIMES, RuntimeRow
from runtimes.machine.processor import Processor

pytestmark = pytest.mark.slow

HERE = {"onnxruntime-cpu", "openvino", "reference", "tract"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint and its artifact with graphs of two targets."""
    folder = tmp_path_factory.mktemp("matrix")
    save_checkpoint(folder / "checkpoint", "sentence-similarity")
    command = ["export", str(folder / "checkpoint"), "--output", str(folder / "artifact")]
    for target in ("portable", "openvino-unpadded"):
        command += ["--target", target]
    assert cli.main(command) == 0
    return folder


def cells(matrix: Matrix) -> dict[tuple[str, str, str], Cell]:
    return {(cell.variant, cell.runtime, cell.precision): cell for cell in matrix.cells}


def test_every_variant_passes_on_every_runtime_here(folder: Path) -> None:
    matrix = runtime_matrix(str(folder / "artifact"), ",".join(sorted(HERE)), str(folder / "checkpoint"))
    assert matrix.reference == "eager PyTorch, float32"
    found = cells(matrix)
    for runtime in HERE:
        assert found["model", runtime, "fp32"].verdict == "pass"
    assert found["model_openvino_unpadded", "openvino", "fp32"].verdict == "pass"
    assert {cell.verdict for cell in matrix.cells} <= {"pass", "not here"}
    for cell in matrix.cells:
        if cell.verdict == "pass" and cell.precision == "fp32":
            assert cell.max_abs_diff is not None
            assert cell.tolerance is not None
            assert cell.max_abs_diff <= cell.tolerance <= 1e-3
            assert cell.cosine is not None
            assert cell.cosine > 0.99999
    matrix.raise_if_failed()


def test_without_its_checkpoint_the_portable_graph_is_the_reference(folder: Path) -> None:
    matrix = runtime_matrix(str(folder / "artifact"), "onnxruntime-cpu")
    assert matrix.reference.startswith("model on onnxruntime-cpu, unoptimised")
    assert all(cell.verdict == "pass" for cell in matrix.cells)
    with pytest.raises(CheckpointError):
        runtime_matrix(str(folder / "artifact"), "onnxruntime-cpu", str(folder / "missing"))


def test_all_names_every_row_and_says_what_is_not_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RuntimeRow, "missing_modules", lambda self: ("x",) if self.name != "onnxruntime-cpu" else ())
    matrix = runtime_matrix(str(folder / "artifact"))
    assert {cell.runtime for cell in matrix.cells} == set(RUNTIMES)
    for cell in matrix.cells:
        if cell.runtime != "onnxruntime-cpu":
            assert (cell.verdict, cell.reason) == ("not here", "x is not installed")
    matrix.raise_if_failed()


def test_a_runtime_with_wrong_outputs_fails(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = OpenVino.run

    def wrong(self: OpenVino, *arguments: Any) -> dict[str, np.ndarray]:
        return {name: array + np.float32(0.01) for name, array in run(self, *arguments).items()}

    monkeypatch.setattr(OpenVino, "run", wrong)
    matrix = runtime_matrix(str(folder / "artifact"), "onnxruntime-cpu,openvino")
    assert {cell.verdict for cell in matrix.cells if cell.runtime == "onnxruntime-cpu"} == {"pass"}
    assert cells(matrix)["model", "openvino", "fp32"].verdict == "fail"
    assert not matrix.to_dict()["passed"]
    with pytest.raises(VerificationError, match=r"model on openvino in fp32 failed: .* differs by 0\.01"):
        matrix.raise_if_failed()


@pytest.fixture
def as_int8(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second variant goes by the name of int8, on a processor that may run it."""
    opened = Artifact.open(folder / "artifact")
    first, second = opened.manifest.variants
    second = replace(second, precision="int8", quantization=Quantization("static", "avx512_vnni", {}))
    manifest = replace(opened.manifest, variants=(first, second))
    monkeypatch.setattr(Artifact, "open", lambda *arguments: replace(opened, manifest=manifest))
    vnni = Processor("x", "x86_64", frozenset({"avx512_vnni"}))
    monkeypatch.setattr("export.verification.runtime_matrix.this_processor", lambda: vnni)


@pytest.mark.usefixtures("as_int8")
def test_a_lower_precision_is_compared_with_its_own_outputs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = cells(runtime_matrix(str(folder / "artifact"), "onnxruntime-cpu,openvino"))
    cell = found["model_openvino_unpadded", "openvino", "int8"]
    assert (cell.verdict, cell.tolerance) == ("pass", None)
    assert found["model_openvino_unpadded", "onnxruntime-cpu", "int8"].tolerance is not None
    assert cell.cosine is not None
    assert cell.cosine > 0.99999
    run = OpenVino.run

    def drift(self: OpenVino, *arguments: Any) -> dict[str, np.ndarray]:
        found = run(self, *arguments)
        return {name: array * np.sign(np.arange(array.shape[-1]) - 1.5) for name, array in found.items()}

    monkeypatch.setattr(OpenVino, "run", drift)
    cell = cells(runtime_matrix(str(folder / "artifact"), "openvino"))["model_openvino_unpadded", "openvino", "int8"]
    assert cell.verdict == "fail"
    assert cell.cosine is not None
    assert cell.cosine < LEAST_COSINE


@pytest.mark.usefixtures("as_int8")
def test_what_would_saturate_is_not_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = Processor("x", "x86_64", frozenset({"avx2"}))
    monkeypatch.setattr("export.verification.runtime_matrix.this_processor", lambda: old)
    found = cells(runtime_matrix(str(folder / "artifact"), "onnxruntime-cpu"))
    cell = found["model_openvino_unpadded", "onnxruntime-cpu", "int8"]
    assert cell.verdict == "not here"
    assert "would saturate" in cell.reason


def test_a_runtime_that_fails_is_told_and_the_others_go_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: OpenVino, *arguments: Any) -> None:
        raise InferenceError("OpenVINO failed in model.onnx: it is tired.")

    monkeypatch.setattr(OpenVino, "run", fail)
    found = cells(runtime_matrix(str(folder / "artifact"), "openvino,reference"))
    assert found["model", "openvino", "fp32"].verdict == "fail"
    assert "it is tired" in found["model", "openvino", "fp32"].reason
    assert found["model", "reference", "fp32"].verdict == "pass"


def test_a_runtime_that_is_not_for_such_models_has_not_failed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise UsageError("this runtime is for models of another shape.")

    monkeypatch.setattr(OpenVino, "open", refuse)
    matrix = runtime_matrix(str(folder / "artifact"), "openvino")
    assert {(cell.verdict, cell.reason) for cell in matrix.cells} == {
        ("not here", "this runtime is for models of another shape")
    }
    matrix.raise_if_failed()


def test_what_does_not_exist_is_refused(folder: Path, tmp_path: Path) -> None:
    for runtimes, words in (
        ("abacus", "the runtime 'abacus' is unknown"),
        ("", "--runtimes is empty"),
        (" , ", "empty"),
    ):
        with pytest.raises(UsageError, match=words):
            runtime_matrix(str(folder / "artifact"), runtimes)
    copy = tmp_path / "artifact"
    shutil.copytree(folder / "artifact", copy)
    (copy / "vocab.txt").write_text("changed")
    with pytest.raises(ArtifactError, match=r"vocab\.txt"):
        runtime_matrix(str(copy), "onnxruntime-cpu")


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["verify", str(folder / "artifact"), "--runtimes", "onnxruntime-cpu"]
    assert cli.main(command) == 0
    text = capsys.readouterr().out
    for word in ("reference", "model_openvino_unpadded", "pass", "difference"):
        assert word in text
    assert cli.main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passed"] is True


def test_only_real_tokens_count() -> None:
    mask = np.array([[1, 1, 0], [0, 1, 1]])
    port = Port("last_hidden_state", "float32", ("batch_size", "sequence_length", 4))
    np.testing.assert_array_equal(real_tokens(port, (2, 3, 4), mask)[..., 0], mask)
    port = Port("logits", "float32", ("batch_size", 5))
    assert real_tokens(port, (2, 5), mask).shape == (1, 1)
    port = Port("attentions.0", "float32", ("batch_size", 2, "sequence_length", "sequence_length"))
    assert real_tokens(port, (2, 2, 3, 3), mask).shape == (2, 1, 3, 1)


def test_cosines() -> None:
    a = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    assert least_cosine(a, a) == pytest.approx(1.0)
    assert least_cosine(a, np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])) == pytest.approx(0.0)
    assert least_cosine(np.zeros((0, 3)), np.zeros((0, 3))) == 1.0
