"""A file that ONNX Runtime cannot read is never published, whatever an emulation of it computes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from export_samples import save_checkpoint, tiny_eager, write_texts
from float16_samples import by_hand, finished, one_matmul
from onnx import helper
from onnxruntime.capi import onnxruntime_pybind11_state

from bert_onnx.errors import ArtifactError, ExportError
from export.onnx_file.save import save
from export.passes.base import PassContext
from export.passes.table import run_passes
from export.pipeline import export
from export.quantization.float16 import rules
from export.quantization.float16.convert import convert_to_half
from export.request import ExportRequest, PrecisionRequest
from export.targets import MAX_OPSET, MIN_OPSET, TARGETS
from export.trace.tracer import trace
from export.verification.opening import require_valid

pytestmark = pytest.mark.slow

_HALVES = {"fp16": "tensor(float16)", "bf16": "tensor(bfloat16)"}


def types_of(domain: str, name: str) -> list[set[str]]:
    """What each version of an operator's schema takes, from opset 17 on."""
    if domain == "":
        found = {}
        for opset in range(MIN_OPSET, MAX_OPSET + 1):
            if onnx.defs.has(name, opset, domain):
                schema = onnx.defs.get_schema(name, opset, domain)
                found[schema.since_version] = {
                    kind for one in schema.type_constraints for kind in one.allowed_type_strs
                }
        return list(found.values())
    return [
        {kind for one in schema.type_constraints for kind in one.allowed_type_strs}
        for schema in onnxruntime_pybind11_state.get_all_operator_schema()
        if (schema.domain, schema.name) == (domain, name)
    ]


@pytest.mark.parametrize("precision", _HALVES)
@pytest.mark.parametrize(
    ("domain", "name"),
    sorted(rules._NARROW | {("", name) for name in rules._FOLLOWING}),
    ids=lambda part: part or "onnx",
)
def test_the_table_of_narrow_operators_keeps_to_their_schemas(domain: str, name: str, precision: str) -> None:
    schemas = types_of(domain, name)
    assert schemas
    missing = precision == "bf16" and (domain, name) in rules._NO_BF16
    assert all((_HALVES[precision] in types) is not missing for types in schemas)


@pytest.mark.parametrize("position", ["absolute", "relative_key", "relative_key_query"])
def test_bf16_for_cuda_is_valid(tmp_path: Path, position: str) -> None:
    eager, row = tiny_eager("feature-extraction", position_embedding_type=position), TARGETS["ort-cuda"]
    model = trace(eager.module, row.opset)
    run_passes(model, row.for_precision("bf16").passes, PassContext(row.opset, eager.config))
    convert_to_half(model, "bf16")
    save(model, tmp_path / "model.onnx")
    require_valid(tmp_path / "model.onnx")


def test_fused_embeddings_stay_wide_in_bf16(tmp_path: Path) -> None:
    """As in a graph that somebody else fused: valid, with its tables in float32."""
    model, _ = finished("feature-extraction", "ort-cuda")
    convert_to_half(model, "bf16")
    (embeddings,) = (node for node in model.graph if node.op_type == "EmbedLayerNormalization")
    assert str(embeddings.inputs[2].dtype) == "FLOAT"  # type: ignore[union-attr]
    save(model, tmp_path / "model.onnx")
    require_valid(tmp_path / "model.onnx")


@pytest.mark.parametrize("precision", _HALVES)
def test_a_graph_without_kernels_is_valid(tmp_path: Path, precision: str) -> None:
    model = one_matmul(np.eye(2, dtype=np.float32))
    convert_to_half(model, precision)
    save(model, tmp_path / "model.onnx")
    require_valid(tmp_path / "model.onnx")


@pytest.mark.parametrize("node", [
    helper.make_node("Sqrtt", ["x"], ["y"], name="unknown"),
    helper.make_node("And", ["x", "x"], ["y"], name="types"),
    helper.make_node("MatMul", ["x"], ["y"], name="inputs"),
])  # fmt: skip
def test_what_breaks_a_schema_is_told(tmp_path: Path, node: onnx.NodeProto) -> None:
    onnx_model = by_hand([node], {}, {"x": ("float32", [2, 2])}, {"y": [2, 2]})
    save(onnx_model, tmp_path / "model.onnx")
    with pytest.raises(ArtifactError, match=f"not a graph that onnxruntime can open.*({node.op_type}|{node.name})"):
        require_valid(tmp_path / "model.onnx")


def test_an_invalid_file_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its emulation is valid, and would pass."""
    monkeypatch.setattr(rules, "_NO_BF16", frozenset())
    monkeypatch.setitem(TARGETS, "ort-cuda", replace(TARGETS["ort-cuda"], before_bf16=None))
    checkpoint = save_checkpoint(tmp_path / "checkpoint", "feature-extraction", num_hidden_layers=1)
    texts = write_texts(tmp_path / "texts.txt", 40, 1)
    halves = PrecisionRequest(("fp32", "bf16"), allow_degraded=True, evaluation=texts)
    request = ExportRequest(
        str(checkpoint), "feature-extraction", str(tmp_path / "artifact"), ("ort-cuda",), precision=halves
    )
    with pytest.raises(ExportError, match=r"the bf16 graph for ort-cuda does not open.*bfloat16.*EmbedLayerNorm"):
        export(request)
    assert not (tmp_path / "artifact").exists()
