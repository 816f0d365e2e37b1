"""What an .onnx file says of itself: compared with the onnx package, and with files that are damaged."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from toy_artifacts import embedding_graph, save_graph, table

from bert_onnx.errors import ArtifactError
from runtimes.engines.graph_summary import summarize_graph


def two_domains() -> onnx.ModelProto:
    """A graph with an operator of another domain, an initializer among its inputs, and metadata; in either order."""
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])
    weight = helper.make_tensor("w", TensorProto.FLOAT, [1], [2.0])
    inputs = [helper.make_tensor_value_info("w", TensorProto.FLOAT, [1]), value]
    nodes = [
        helper.make_node("Mul", ["x", "w"], ["y"]),
        helper.make_node("Gelu", ["y"], ["z"], domain="com.microsoft"),
        helper.make_node("Identity", ["z"], ["out"], domain="ai.onnx"),
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in ("out", "y")]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [weight])
    opsets = [helper.make_opsetid("com.microsoft", 1), helper.make_opsetid("", 19)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    helper.set_model_props(model, {"bert_onnx.requires": "right_padding", "key": "wört"})
    return model


@pytest.mark.parametrize("model", [embedding_graph(table()), two_domains()], ids=["toy", "two domains"])
def test_it_says_what_onnx_says(model: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save(model, tmp_path / "model.onnx")
    summary = summarize_graph(tmp_path / "model.onnx")
    weights = {weight.name for weight in model.graph.initializer}
    assert summary.inputs == tuple(value.name for value in model.graph.input if value.name not in weights)
    assert summary.outputs == tuple(value.name for value in model.graph.output)
    domains = ("", "ai.onnx")
    names = {node.op_type if node.domain in domains else f"{node.domain}.{node.op_type}" for node in model.graph.node}
    assert summary.operators == names
    assert summary.opset == next(entry.version for entry in model.opset_import if entry.domain == "")
    assert summary.metadata == {entry.key: entry.value for entry in model.metadata_props}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (bytes(64), "a field has no number"),
        (b"not a graph at all", "is not an ONNX graph"),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "ends in the middle"),  # a graph of 2^63 bytes
        (b"\x08" + b"\xff" * 12, "ends in the middle of a number"),
        (b"\x08\x08", "it holds no graph"),
    ],
)
def test_what_is_no_graph_is_an_artifact_error(data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=words):
        summarize_graph(path)


def test_what_is_not_there_is_an_artifact_error(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="is missing"):
        summarize_graph(tmp_path / "model.onnx")
    with pytest.raises(ArtifactError, match="cannot be read"):
        summarize_graph(tmp_path)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 2000), byte=st.integers(0, 255), cut=st.integers(0, 1000))
def test_damage_is_an_error_or_a_summary_and_nothing_else(tmp_path: Path, at: int, byte: int, cut: int) -> None:
    data = bytearray(save_graph(tmp_path / "model.onnx").read_bytes())
    data[at % len(data)] = byte
    path = tmp_path / "damaged.onnx"
    path.write_bytes(bytes(data[: len(data) - cut % len(data)]))
    try:
        summary = summarize_graph(path)
    except ArtifactError:
        return
    assert all(isinstance(name, str) for name in (*summary.inputs, *summary.outputs, *summary.operators))
