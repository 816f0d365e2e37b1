"""Writes the nodes in front of a graph: operators of ai.onnx, of ai.onnx.ml and of onnxruntime-extensions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

#: Domain of onnxruntime-extensions, and the version that its operators have.
EXTENSIONS = "ai.onnx.contrib"
EXTENSIONS_VERSION = 1
#: Domain of the one standard operator that looks strings up.
LOOK_UP = "ai.onnx.ml"
LOOK_UP_VERSION = 3

_SCOPE = "text_input"


class Front:
    """Nodes before the first node of `graph`, in the order in which they are added."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._anchor = graph[0]
        self._counts: Counter[str] = Counter()
        self._constants: dict[str, ir.Value] = {}

    def add(
        self,
        operator: str,
        inputs: Sequence[ir.Value],
        dtype: ir.DataType | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> ir.Value:
        """The only output of a new node of ai.onnx; its element type is `dtype`, or else that of the first input."""
        return self._node("", operator, inputs, [dtype or inputs[0].dtype], attributes)[0]

    def look_up(self, text: ir.Value, table: dict[str, int], default: int) -> ir.Value:
        """The number that `table` has for each string, int64; `default` for those that it lacks."""
        attributes = {
            "keys_strings": list(table),
            "values_int64s": list(table.values()),
            "default_int64": default,
        }
        return self._node(LOOK_UP, "LabelEncoder", [text], [ir.DataType.INT64], attributes)[0]

    def extension(
        self,
        operator: str,
        inputs: Sequence[ir.Value],
        dtypes: Sequence[ir.DataType] = (ir.DataType.STRING,),
        attributes: Mapping[str, Any] | None = None,
    ) -> Sequence[ir.Value]:
        """The outputs of a new node of onnxruntime-extensions, of the element types `dtypes`."""
        return self._node(EXTENSIONS, operator, inputs, dtypes, attributes)

    def integer(self, value: int) -> ir.Value:
        """An int64 scalar."""
        return self._constant(f"{value}", ir.tensor(np.array(value, np.int64)))

    def integers(self, *values: int) -> ir.Value:
        """An int64 vector."""
        name = "_".join(["vector", *(str(value) for value in values)])
        return self._constant(name, ir.tensor(np.array(values, np.int64)))

    def text(self, name: str, value: str) -> ir.Value:
        """A vector of one string."""
        return self._constant(name, ir.StringTensor([value.encode()], shape=ir.Shape([1])))

    def _node(
        self,
        domain: str,
        operator: str,
        inputs: Sequence[ir.Value],
        dtypes: Sequence[ir.DataType | None],
        attributes: Mapping[str, Any] | None,
    ) -> Sequence[ir.Value]:
        name = f"{_SCOPE}/{operator}"
        self._counts[name] += 1
        if self._counts[name] > 1:
            name = f"{name}_{self._counts[name] - 1}"
        node = ir.node(operator, inputs, attributes or {}, domain=domain, num_outputs=len(dtypes), name=name)
        for position, (output, dtype) in enumerate(zip(node.outputs, dtypes, strict=True)):
            output.name = f"{name}/{position}"
            output.type = None if dtype is None else ir.TensorType(dtype)
        self._graph.insert_before(self._anchor, node)
        return node.outputs

    def _constant(self, name: str, tensor: ir.TensorProtocol) -> ir.Value:
        """An initializer of the graph; the same name gives the same one."""
        if name not in self._constants:
            value = ir.Value(
                name=f"{_SCOPE}/{name}", shape=ir.Shape(tensor.shape.numpy()), type=ir.TensorType(tensor.dtype)
            )
            value.const_value = tensor
            tensor.name = value.name
            self._graph.register_initializer(value)
            self._constants[name] = value
        return self._constants[name]
