"""Writes the nodes in front of a graph: operators of ai.onnx, of ai.onnx.ml and of onnxruntime-extensions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from export.passes.graph.writer import Writer

#: Domain of onnxruntime-extensions, and the version that its operators have.
EXTENSIONS = "ai.onnx.contrib"
EXTENSIONS_VERSION = 1
#: Domain of the one standard operator that looks strings up.
LOOK_UP = "ai.onnx.ml"
LOOK_UP_VERSION = 3

_SCOPE = "text_input"


class TextWriter(Writer):
    """Writes nodes before the first node of `graph`, each with a name of its own; a constant is written once."""

    def __init__(self, graph: ir.Graph) -> None:
        super().__init__(graph, _SCOPE, graph[0])
        self._counts: Counter[str] = Counter()
        self._constants: dict[str, ir.Value] = {}

    def look_up(self, text: ir.Value, table: dict[str, int], default: int) -> ir.Value:
        """The number that `table` has for each string, int64; `default` for those that it lacks."""
        attributes = {
            "keys_strings": list(table),
            "values_int64s": list(table.values()),
            "default_int64": default,
        }
        return self.node("LabelEncoder", [text], attributes, (ir.DataType.INT64,), LOOK_UP)[0]

    def extension(
        self,
        operator: str,
        inputs: Sequence[ir.Value],
        dtypes: Sequence[ir.DataType] = (ir.DataType.STRING,),
        attributes: Mapping[str, Any] | None = None,
    ) -> Sequence[ir.Value]:
        """The outputs of a new node of onnxruntime-extensions, of the element types `dtypes`."""
        return self.node(operator, inputs, attributes or {}, dtypes, EXTENSIONS)

    def integer(self, value: int) -> ir.Value:
        """An int64 scalar."""
        return self._constant(f"{value}", ir.tensor(np.array(value, np.int64)))

    def vector(self, *values: int) -> ir.Value:
        """An int64 vector."""
        name = "_".join(["vector", *(str(value) for value in values)])
        return self._constant(name, ir.tensor(np.array(values, np.int64)))

    def text(self, name: str, value: str) -> ir.Value:
        """A vector of one string."""
        return self._constant(name, ir.StringTensor([value.encode()], shape=ir.Shape([1])))

    def _name(self, node: ir.Node) -> None:
        """`text_input/Add`, `text_input/Add_1` ...; outputs are `text_input/Add/0` ..."""
        assert node.name is not None
        self._counts[node.name] += 1
        if self._counts[node.name] > 1:
            node.name = f"{node.name}_{self._counts[node.name] - 1}"
        for position, output in enumerate(node.outputs):
            output.name = f"{node.name}/{position}"

    def _constant(self, name: str, tensor: ir.TensorProtocol) -> ir.Value:
        """An initializer of the graph; the same name gives the same one."""
        if name not in self._constants:
            value = ir.Value(
                name=f"{_SCOPE}/{name}", shape=ir.Shape(tensor.shape.numpy()), type=ir.TensorType(tensor.dtype)
            )
            value.const_value = tensor
            tensor.name = value.name
            self.graph.register_initializer(value)
            self._constants[name] = value
        return self._constants[name]
