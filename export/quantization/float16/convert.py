"""float32 -> fp16 or bf16, float32 at the boundary.

    MatMul(x, W)            ->  MatMul(Cast(x), W in 16 bits)     projections, attention, look-ups, LayerNormalization
    Softmax(scores + mask)  ->  Softmax(Cast(scores) + mask)      softmax, sums and norms stay in float32
    output                  ->  Cast(output)                      inputs and outputs keep name, type and shape

A cast that several nodes need is made once. The fill values of masks stay what they are as long as they stay in
float32; where an operator takes its mask in 16 bits, they are clipped at -16384, to which a score can be added. Refuses
constants that overflow, graphs that are quantized already, and graphs with subgraphs.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from bert_onnx.errors import ExportError
from export.passes.base import PassContext
from export.passes.cleanup.finish import finish
from export.passes.graph.values import add_constant, constant_array
from export.passes.graph.writer import Writer
from export.quantization.float16.formats import (
    FILL,
    HalfFormat,
    Underflow,
    find_half_format,
    round_constant,
    without_fills,
)
from export.quantization.float16.report import HalfReport
from export.quantization.float16.rules import (
    CONSTANT,
    NARROW,
    OTHER,
    QUANTIZED,
    STOPS_FILLS,
    WIDE,
    computes_in,
    is_float,
    output_kind,
)


def convert_to_half(model: ir.Model, precision: str) -> HalfReport:
    """Change `model`, a finished float32 graph, in place.

    Args:
        model: any target's graph, after all its passes.
        precision: `fp16` or `bf16`.

    Raises:
        ExportError: a constant that overflows, a graph that is quantized already or has subgraphs.
        UsageError: another precision.
    """
    half = find_half_format(precision)
    _check(model, precision)
    report = _Conversion(model.graph, half).run()
    finish(model, PassContext(model.graph.opset_imports[""]))
    return report


def _check(model: ir.Model, precision: str) -> None:
    for node in model.graph.all_nodes():
        if node.op_type in QUANTIZED:
            raise ExportError(
                f"{node.op_type} ({node.name}): this graph is quantized already; make {precision} from the fp32 graph."
            )
        if any(
            attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
            for attribute in node.attributes.values()
        ):
            raise ExportError(f"{node.name} ({node.op_type}) holds a subgraph, which is not converted to {precision}.")


class _Conversion:
    """One conversion: what each value is, and the casts and constants that were made."""

    def __init__(self, graph: ir.Graph, half: HalfFormat) -> None:
        self._graph = graph
        self._half = half
        self._kinds: dict[ir.Value, str] = {
            value: WIDE if value.dtype == ir.DataType.FLOAT else OTHER for value in graph.inputs
        }
        self._casts: dict[tuple[ir.Value, str], ir.Value] = {}
        self._constants: dict[ir.Value, ir.Value] = {}
        self._underflows: list[Underflow] = []
        self._filled: set[ir.Value] = set()  # what may hold the fill values of masks
        self._clipped = 0
        self._widened: dict[ir.Value, ir.Value] = {}
        self._modes = {NARROW: 0, WIDE: 0, OTHER: 0}

    def run(self) -> HalfReport:
        for node in list(self._graph):
            if node.op_type != "Constant":
                self._convert(node)
        for position, value in enumerate(self._graph.outputs):
            if self._kinds[value] == NARROW:
                self._widen_output(position, value)
        return HalfReport(
            precision=self._half.name,
            narrow=self._modes[NARROW],
            wide=self._modes[WIDE],
            casts=len(self._casts),
            clipped=self._clipped,
            underflows=tuple(self._underflows),
        )

    def _convert(self, node: ir.Node) -> None:
        kinds = [OTHER if value is None else self._kind(value) for value in node.inputs]
        mode = computes_in(node, kinds, self._half.name)
        # A cast reads any type and makes the one that it names.
        if node.op_type != "Cast":
            self._modes[mode] += 1
            for position, kind in enumerate(kinds):
                self._feed(node, position, kind, mode)
        for position, output in enumerate(node.outputs):
            kind = output_kind(node, position, mode)
            self._kinds[output] = kind
            if kind == NARROW:
                output.type = ir.TensorType(self._half.dtype)
            if kind == WIDE and node.op_type not in STOPS_FILLS and not self._filled.isdisjoint(node.inputs):
                self._filled.add(output)

    def _kind(self, value: ir.Value) -> str:
        if value not in self._kinds:  # a constant: every other value has been computed by an earlier node
            array = constant_array(value)
            if array is None or array.dtype != np.float32:
                self._kinds[value] = WIDE if is_float(value, OTHER) else OTHER
            elif without_fills(array, self._half.largest)[1]:
                self._kinds[value] = WIDE
                self._filled.add(value)
            else:
                self._kinds[value] = CONSTANT
        return self._kinds[value]

    def _feed(self, node: ir.Node, position: int, kind: str, mode: str) -> None:
        """Give input number `position` of `node` the type that `mode` wants."""
        value = node.inputs[position]
        if value is None:
            return
        if mode == NARROW and kind != NARROW and constant_array(value) is not None and kind != OTHER:
            node.replace_input_with(position, self._narrow_constant(value))
        elif kind in (NARROW, WIDE) and kind != mode:
            node.replace_input_with(position, self._cast(value, mode, node))

    def _cast(self, value: ir.Value, to: str, before: ir.Node) -> ir.Value:
        """`value` in the type of `to`. The first user comes first in the graph, so that later ones can share it."""
        key = (value, to)
        if key not in self._casts:
            dtype = self._half.dtype if to == NARROW else ir.DataType.FLOAT
            source = self._clip(value, before) if to == NARROW and value in self._filled else value
            cast = self._casts[key] = self._writer(value, before).Cast(source, to=dtype)
            cast.shape = value.shape
            self._kinds[cast] = to
        return self._casts[key]

    def _clip(self, value: ir.Value, before: ir.Node) -> ir.Value:
        """`value` without what would overflow on its way into 16 bits."""
        lowest = add_constant(self._graph, "lowest", np.array(FILL, np.float32))
        clipped = self._writer(value, before).Clip(value, lowest)
        clipped.shape = value.shape
        self._clipped += 1
        return clipped

    def _writer(self, value: ir.Value, before: ir.Node | None) -> Writer:
        """Writes into the scope of what computes `value`."""
        producer = value.producer()
        name = (producer.name if producer is not None else value.name) or ""
        return Writer(self._graph, name.rpartition("/")[0], before)

    def _narrow_constant(self, value: ir.Value) -> ir.Value:
        if value not in self._constants:
            array, name = constant_array(value), value.name or "constant"
            assert array is not None
            rounded = round_constant(array, name, self._half)
            if rounded.underflow is not None:
                self._underflows.append(rounded.underflow)
            self._constants[value] = add_constant(self._graph, f"{name}_{self._half.name}", rounded.array)
        return self._constants[value]

    def _widen_output(self, position: int, value: ir.Value) -> None:
        """An output of the graph in float32 again, under its own name; a cast that others use is taken for it."""
        name = value.name
        if value in self._widened:  # the same value under two names
            self._graph.outputs[position] = self._widened[value]
            return
        value.name = f"{name}_{self._half.name}"
        wide = self._casts.get((value, WIDE))
        if wide is None:
            wide = self._casts[value, WIDE] = self._writer(value, None).Cast(value, to=ir.DataType.FLOAT)
        wide.shape = value.shape
        self._graph.outputs[position] = wide
        wide.name = name
        self._widened[value] = wide
