"""What TensorRT asks of a graph with explicit quantization.

From NVIDIA's documentation ("Working with Quantized Types", "Explicit Quantization"), and from where its parser of ONNX
refuses graphs: NVIDIA/TensorRT issue 2081, microsoft/onnxruntime issue 14229.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import onnx
from onnx import numpy_helper

_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


def breaks_rules(model: onnx.ModelProto) -> list[str]:
    """Each rule that `model` breaks, with the node."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    readers = defaultdict(list)
    for node in model.graph.node:
        for name in node.input:
            readers[name].append(node)
    broken = [f"{node.name}: operator of {node.domain}" for node in model.graph.node if node.domain]
    for node in model.graph.node:
        if node.op_type in (_QUANTIZE, _DEQUANTIZE):
            broken += [f"{node.name}: {rule}" for rule in _scales(node, constants)]
        if node.op_type == _QUANTIZE:
            broken += [f"{node.name}: read by {one.op_type}" for one in _others(readers, node, _DEQUANTIZE)]
        if node.op_type == _DEQUANTIZE:
            broken += [f"{node.name}: read by {one.op_type}" for one in _others(readers, node, "MatMul")]
        if node.op_type == "MatMul":
            kinds = {getattr(makers.get(name), "op_type", "") == _DEQUANTIZE for name in node.input}
            broken += [f"{node.name}: one operand is quantized and the other is not"] if len(kinds) > 1 else []
    for name, array in constants.items():
        wrong = [node.op_type for node in readers[name] if node.op_type not in (_QUANTIZE, _DEQUANTIZE)]
        if array.dtype in (np.int8, np.uint8) and wrong:
            broken.append(f"{name}: {array.dtype} read by {', '.join(wrong)}")
    return broken


def _others(readers: dict[str, list[onnx.NodeProto]], node: onnx.NodeProto, operator: str) -> list[onnx.NodeProto]:
    return [reader for reader in readers[node.output[0]] if reader.op_type != operator]


def _scales(node: onnx.NodeProto, constants: dict[str, np.ndarray]) -> list[str]:
    scale, zero = (constants.get(name) for name in node.input[1:3])
    if scale is None or zero is None:
        return ["a scale or a zero point that is computed"]
    axis = {attribute.name: attribute.i for attribute in node.attribute}.get("axis", 1)
    source = constants.get(node.input[0])
    rules = ["the type of the integers is not int8"] if zero.dtype != np.int8 else []
    rules += ["a zero point that is not 0"] if zero.any() else []
    rules += ["a scale that is not above 0"] if not (scale > 0).all() else []
    if source is None:
        rules += ["several scales for an activation"] if scale.ndim else []
    elif scale.ndim != 1 or axis != source.ndim - 1 or len(scale) != source.shape[axis]:
        rules += ["a weight without a scale for each output channel"]
    elif np.abs(source.astype(np.int16)).max(initial=0) > 127:
        rules += ["a weight of -128"]
    return rules
