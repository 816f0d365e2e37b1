"""A file that is written weight by weight holds the message that protobuf would have written."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest

from bert_onnx.onnx_wire import field_header
from export.onnx_file import stream
from export.onnx_file.save import save
from export.onnx_file.stream import write_model

ARRAYS = {
    "large": np.arange(6000, dtype=np.float32).reshape(60, 100),
    "transposed": np.arange(6000, dtype=np.float32).reshape(60, 100).T,
    "small": np.array([1.5, 2.5], np.float32),
    "scalar": np.array(7, np.int64),
    "empty": np.zeros((0, 5), np.float32),
    "half": np.linspace(0, 1, 3000).astype(np.float16),
    "bfloat16": np.linspace(0, 1, 3000).astype(ml_dtypes.bfloat16),
    "four_bits": (np.arange(4001) % 15 - 7).astype(ml_dtypes.int4),
    "bytes": np.arange(5000).astype(np.uint8),
}


def make_model() -> ir.Model:
    """A graph that reads every array, one of them computed when it is asked for."""
    values = []
    for name, array in ARRAYS.items():
        tensor: ir.TensorProtocol = ir.Tensor(array, name=name)
        if name == "transposed":
            tensor = ir.LazyTensor(lambda made=tensor: made, dtype=tensor.dtype, shape=tensor.shape, name=name)
        shape, kind = ir.Shape(array.shape), ir.TensorType(tensor.dtype)
        values.append(ir.Value(name=name, shape=shape, type=kind, const_value=tensor))
    nodes = [ir.node("Identity", [value]) for value in values]
    for node, value in zip(nodes, values, strict=True):
        node.outputs[0].name, node.outputs[0].type, node.outputs[0].shape = f"{value.name}_out", value.type, value.shape
    outputs = [node.outputs[0] for node in nodes]
    graph = ir.Graph([], outputs, nodes=nodes, initializers=values, opset_imports={"": 21}, name="many")
    return ir.Model(graph, ir_version=10, producer_name="test", metadata_props={"kept": "yes"})


def test_the_message_is_protobufs(tmp_path: Path) -> None:
    write_model(make_model(), tmp_path / "streamed.onnx")
    ir.save(make_model(), tmp_path / "whole.onnx")
    streamed, whole = onnx.load(tmp_path / "streamed.onnx"), onnx.load(tmp_path / "whole.onnx")
    assert streamed == whole
    assert streamed.SerializeToString(deterministic=True) == whole.SerializeToString(deterministic=True)
    assert (tmp_path / "streamed.onnx").stat().st_size == (tmp_path / "whole.onnx").stat().st_size
    for tensor in streamed.graph.initializer:
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(tensor), ARRAYS[tensor.name])


def test_the_model_is_left_as_it_is(tmp_path: Path) -> None:
    model = make_model()
    before = {name: value.const_value for name, value in model.graph.initializers.items()}
    save(model, tmp_path / "model.onnx")
    assert all(model.graph.initializers[name].const_value is tensor for name, tensor in before.items())


def test_a_model_that_cannot_be_written_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model()
    before = {name: value.const_value for name, value in model.graph.initializers.items()}

    def fail(model: ir.Model) -> None:
        raise OSError("no")

    monkeypatch.setattr(stream.ir, "to_proto", fail)
    with pytest.raises(OSError, match="no"):
        write_model(model, tmp_path / "model.onnx")
    assert all(model.graph.initializers[name].const_value is tensor for name, tensor in before.items())


@pytest.mark.parametrize("length", [0, 1, 127, 128, 16383, 16384, 2**21])
def test_headers_are_read_by_protobuf(length: int) -> None:
    message = onnx.ModelProto()
    message.ParseFromString(field_header(2, length) + b"x" * length)  # field 2, producer_name
    assert message.producer_name == "x" * length
