"""Finished graphs of tiny models, and small graphs written by hand, for conversion to 16 bits."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from export_samples import tiny_eager
from onnx import TensorProto, helper, numpy_helper

from bert_onnx.tasks import TaskOptions
from export.passes.base import PassContext
from export.passes.table import run_passes
from export.reference.load import Eager
from export.targets import TARGETS
from export.trace.tracer import trace


def finished(task: str, target: str = "portable", options: TaskOptions | None = None) -> tuple[ir.Model, Eager]:
    """The fp32 graph of `target` for a tiny model; made once, and a copy each time."""
    model, eager = _finished(task, target, options)
    return model.clone(), eager


@cache
def _finished(task: str, target: str, options: TaskOptions | None) -> tuple[ir.Model, Eager]:
    row = TARGETS[target]
    traced, eager = _traced(task, row.opset, options)
    model = traced.clone()
    run_passes(model, row.passes, PassContext(row.opset, eager.config))
    return model, eager


@cache
def _traced(task: str, opset: int, options: TaskOptions | None) -> tuple[ir.Model, Eager]:
    eager = tiny_eager(task, options)
    return trace(eager.module, opset), eager


def by_hand(
    nodes: list[onnx.NodeProto],
    constants: dict[str, np.ndarray],
    inputs: dict[str, tuple[str, list[Any]]],
    outputs: dict[str, list[Any]],
) -> ir.Model:
    """A graph of opset 18 and of com.microsoft; inputs by name with numpy type and shape, outputs float32."""
    kinds = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}
    graph = helper.make_graph(
        nodes,
        "by hand",
        [helper.make_tensor_value_info(name, kinds[kind], shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    return ir.from_proto(helper.make_model(graph, opset_imports=opsets, ir_version=8))


def one_matmul(weight: np.ndarray) -> ir.Model:
    """y = x weight."""
    node = helper.make_node("MatMul", ["x", "layer.weight"], ["y"], name="layer/MatMul")
    rows, columns = weight.shape
    return by_hand([node], {"layer.weight": weight}, {"x": ("float32", ["n", rows])}, {"y": ["n", columns]})


def element_types(model: ir.Model) -> dict[str, int]:
    """Element type of every value, by onnx's own inference, which refuses nodes whose inputs do not fit."""
    proto = ir.to_proto(model)
    del proto.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True)
    every = [*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output]
    types = {value.name: value.type.tensor_type.elem_type for value in every}
    return types | {tensor.name: tensor.data_type for tensor in inferred.graph.initializer}
