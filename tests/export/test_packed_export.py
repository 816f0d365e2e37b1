"""Exports for ort-cuda-unpadded: verified on a CPU by a twin, verified again, refused where nothing is skipped."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
import pytest
from export_samples import save_checkpoint, write_texts

from bert_onnx.artifact import Artifact
from bert_onnx.errors import RuntimeUnavailableError, UsageError, VerificationError
from export.passes import table
from export.passes.base import PassContext, PassOutcome
from export.pipeline import export
from export.plan import check_precision
from export.request import ExportRequest, PrecisionRequest
from export.targets import TARGETS
from export.verify import verify_artifact
from runtimes.engines.ort.cpu import OnnxRuntimeCpu

TARGET = "ort-cuda-unpadded"
TASK = "token-classification"
EMULATED = "RemovePadding, PackedMultiHeadAttention, RestorePadding emulated by operators for CPUs"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed") / "checkpoint"
    return save_checkpoint(folder, TASK, num_hidden_layers=1, initializer_range=0.1)


@pytest.fixture(scope="module")
def artifact(checkpoint: Path) -> Artifact:
    texts = write_texts(checkpoint.parent / "evaluation.txt", 60, 1)
    precision = PrecisionRequest(("fp32", "fp16"), evaluation=texts, allow_degraded=True)
    folder = checkpoint.parent / "artifact"
    export(ExportRequest(str(checkpoint), TASK, str(folder), (TARGET,), precision=precision, postprocess=True))
    return Artifact.open(folder)


def test_the_manifest_says_what_verified_it(artifact: Artifact) -> None:
    for name, rounding in (("model_ort_cuda_unpadded", False), ("model_ort_cuda_unpadded_fp16", True)):
        variant = artifact.manifest.variant(name)
        assert variant.parity.verdict == "pass"
        assert variant.parity.runtime.startswith("emulated (onnxruntime ")
        assert EMULATED in variant.parity.runtime
        assert ("rounding emulated" in variant.parity.runtime) is rounding
        assert variant.fused["packed_attention"] == variant.fused["unpadded_attention"] == 1
        assert variant.operators["com.microsoft.PackedMultiHeadAttention"] == 1
        assert "left-padded 4x17" not in variant.parity.cases
        assert {"label_ids", "probabilities", "logits"} == {output.name for output in variant.parity.outputs}


def test_it_is_verified_again(artifact: Artifact, checkpoint: Path) -> None:
    report = verify_artifact(
        str(artifact.folder), str(checkpoint), evaluation=str(checkpoint.parent / "evaluation.txt")
    )
    assert report.failures() == ()
    assert EMULATED in report.parities["model_ort_cuda_unpadded"].runtime


def test_the_file_itself_is_for_cuda_alone(artifact: Artifact) -> None:
    manifest = artifact.manifest
    path = artifact.path(manifest.variant("model_ort_cuda_unpadded"))
    with pytest.raises(RuntimeUnavailableError, match=r"RemovePadding"):
        OnnxRuntimeCpu.open(path, manifest.inputs, manifest.outputs)


def test_a_pass_that_breaks_the_graph_is_named(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its emulation is what finds it."""
    lower = table.PASSES["lower_packed_attention"]

    def swapped(model: ir.Model, context: PassContext) -> PassOutcome:
        outcome = lower(model, context)
        for node in model.graph:
            if node.op_type == "PackedMultiHeadAttention":
                key, value = node.inputs[1:3]
                node.replace_input_with(1, value)
                node.replace_input_with(2, key)
        return outcome

    monkeypatch.setitem(table.PASSES, "lower_packed_attention", swapped)
    with pytest.raises(VerificationError, match=r"it breaks in the pass lower_packed_attention"):
        export(ExportRequest(str(checkpoint), TASK, str(tmp_path / "artifact"), (TARGET,)))
    assert not (tmp_path / "artifact").exists()


@pytest.mark.parametrize(
    ("task", "changes", "reason"),
    [
        ("text-generation-with-past", {}, "keeps a cache"),
        ("text-generation", {"add_cross_attention": True}, "reads the states of an encoder"),
    ],
)
def test_decoders_that_would_skip_nothing_are_refused(
    tmp_path: Path, task: str, changes: dict[str, bool], reason: str
) -> None:
    folder = save_checkpoint(tmp_path / "checkpoint", task, num_hidden_layers=1, **changes)
    with pytest.raises(UsageError, match=rf"{TARGET} skips the padding, and {task} {reason}.*--target ort-cuda"):
        export(ExportRequest(str(folder), task, str(tmp_path / "artifact"), (TARGET,)))


@pytest.mark.parametrize(
    ("precision", "reason"),
    [
        ("bf16", "have no bf16; use fp16"),
        ("int8", "on NVIDIA GPUs fp16 or --target ort-tensorrt"),
        ("int4", "portable"),
    ],
)
def test_other_precisions_are_refused(precision: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        check_precision(precision, TARGETS[TARGET])
