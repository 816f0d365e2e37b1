"""A graph of 16 bits as a float32 graph that rounds wherever the other would, for machines without such kernels.

    node -> x (16 bits)   ->   node -> float32 -> Cast(16 bits) -> Cast(float32)

That is what hardware does: products and sums inside an operator in float32, one rounding at its end. ONNX Runtime's CPU
provider has no kernels for bf16 at all; for fp16 it puts casts around operators, which comes to the same.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx_ir as ir

from bert_onnx.tasks import Port
from export.passes.graph.values import constant_array
from runtimes.engines.base import RuntimeDescription, RuntimeOptions
from runtimes.engines.inputs import Limits
from runtimes.engines.ort.cpu import OnnxRuntimeCpu

_HALVES = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


class EmulatedRuntime:
    """ONNX Runtime on the float32 graph that rounds as the one of 16 bits would."""

    name = "emulated"

    def __init__(self, runtime: OnnxRuntimeCpu, model: str) -> None:
        self.inputs = runtime.inputs
        self.outputs = runtime.outputs
        self._runtime = runtime
        self._model = model

    def run(self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Outputs by name."""
        return self._runtime.run(inputs, outputs)

    def describe(self) -> RuntimeDescription:
        """What runs."""
        inner = self._runtime.describe()
        library = f"{inner.library}, rounding emulated in float32"
        return RuntimeDescription(self.name, inner.providers, library, inner.threads, self._model)

    def close(self) -> None:
        """Give back what the session holds."""
        self._runtime.close()


@contextmanager
def open_emulated(
    path: Path, inputs: Sequence[Port], outputs: Sequence[Port], limits: Limits | None = None
) -> Iterator[EmulatedRuntime]:
    """A runtime for the file `path`, a graph of 16 bits; its float32 twin lives in a temporary file meanwhile."""
    model = emulate_half(ir.load(path))
    # Without optimisation: nothing may take the casts for superfluous.
    options = RuntimeOptions(optimization="none")
    with tempfile.TemporaryDirectory(prefix="bert-onnx-") as folder:
        twin = Path(folder) / path.name
        ir.save(model, twin, external_data=f"{path.name}_data", size_threshold_bytes=1024)
        with OnnxRuntimeCpu.open(twin, inputs, outputs, options, limits) as runtime:
            yield EmulatedRuntime(runtime, path.name)


def emulate_half(model: ir.Model) -> ir.Model:
    """A float32 graph with the roundings of `model`, which is left as it is."""
    twin = model.clone()
    graph = twin.graph
    for value in graph.initializers.values():
        array = constant_array(value) if value.dtype in _HALVES else None
        if array is not None:
            value.const_value = ir.tensor(array.astype(np.float32), name=value.name)
            value.type = ir.TensorType(ir.DataType.FLOAT)
    for node in list(graph):
        for output in node.outputs:
            if output.dtype in _HALVES:
                _round(graph, node, output)
    return twin


def _round(graph: ir.Graph, node: ir.Node, output: ir.Value) -> None:
    dtype = output.dtype
    assert dtype is not None
    users = list(output.uses())
    name = f"{node.name}/rounded_{output.index()}"
    halved, last = output, node
    if node.op_type != "Cast":  # a cast to 16 bits is the rounding itself
        output.type = ir.TensorType(ir.DataType.FLOAT)
        last = _cast(graph, node, output, dtype, f"{name}/down")
        halved = last.outputs[0]
    rounded = _cast(graph, last, halved, ir.DataType.FLOAT, f"{name}/up").outputs[0]
    for user, position in users:
        user.replace_input_with(position, rounded)


def _cast(graph: ir.Graph, after: ir.Node, value: ir.Value, dtype: ir.DataType, name: str) -> ir.Node:
    node = ir.node("Cast", [value], {"to": int(dtype)}, name=name)
    (output,) = node.outputs
    output.name, output.type, output.shape = f"{name}_output", ir.TensorType(dtype), value.shape
    graph.insert_after(after, node)
    return node
