"""torch.onnx.export and nothing else: an eager module in, an ONNX IR model with named, dynamic axes out."""

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from collections.abc import Iterator, Sequence

import onnx_ir as ir
import torch

from bert_onnx.errors import ExportError
from bert_onnx.tasks import BATCH, CHOICES, ENCODER_SEQUENCE, PAST, PAST_PLUS_SEQUENCE, SEQUENCE, Port
from export.reference.module import GraphModule, example_inputs
from export.trace.repeat_layers import first_layer_only, layers_are_alike, repeat_layer

#: The lowest opset that torch's exporter has operators for; lower ones are reached by a pass.
_LOWEST_TRACED_OPSET = 18

#: Lengths to trace with: all different, so that no two axes are taken for one, and none 0 or 1, which torch.export
#: would take for constants.
_TRACE_LENGTHS = {BATCH: 2, SEQUENCE: 7, CHOICES: 3, PAST: 5, ENCODER_SEQUENCE: 11}

#: A name in an axis that is an expression.
_SYMBOL = re.compile(r"[A-Za-z_]\w*")


def trace(module: GraphModule, opset: int) -> ir.Model:
    """Trace `module` with every named axis of its ports left free.

    Args:
        module: what to trace, in evaluation mode.
        opset: wanted opset; the model comes back at 18 if that is higher.

    Returns:
        An IR model whose inputs and outputs are those of `module`, by name, in order, with their axes named.

    Raises:
        ExportError: torch could not trace the module, or fixed an axis that must be free.
    """
    model = None
    if layers_are_alike(module):
        with first_layer_only(module):
            model = _traced(module, opset)
        if not repeat_layer(model.graph, module):
            model = None
    if model is None:
        model = _traced(module, opset)
    _check_axes(model.graph.inputs, module.inputs)
    _check_axes(model.graph.outputs, module.outputs)
    _separate_outputs(model.graph)
    _name_axes(model.graph, module)
    return model


def _traced(module: GraphModule, opset: int) -> ir.Model:
    """What torch makes of `module`, with symbols of its own for the axes.

    Raises:
        ExportError: torch could not trace the module.
    """
    examples = example_inputs(module.inputs, _trace_lengths(module))
    axes = tuple(
        {i: torch.export.Dim.AUTO for i, axis in enumerate(port.axes) if isinstance(axis, str)}
        for port in module.inputs
    )
    try:
        with _quiet(), torch.no_grad(), _without_fake_tensor_cache():
            program = torch.export.export(module, examples, dynamic_shapes=(axes,), strict=False)
            traced = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=max(opset, _LOWEST_TRACED_OPSET),
                input_names=[port.name for port in module.inputs],
                output_names=[port.name for port in module.outputs],
                optimize=False,
                verbose=False,
            )
    except Exception as error:  # torch raises many kinds, none of them documented
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ExportError(f"torch could not trace {type(module.model).__name__}: {first_line}.") from error
    assert traced is not None
    model: ir.Model = traced.model
    return model


def _trace_lengths(module: GraphModule) -> dict[str, int]:
    """Trace lengths that fit the model's longest sequence."""
    longest = int(module.model.config.longest_sequence)  # type: ignore[union-attr, arg-type]
    lengths = dict(_TRACE_LENGTHS)
    if lengths[SEQUENCE] + lengths[PAST] > longest:
        lengths[SEQUENCE] = max(2, min(lengths[SEQUENCE], longest // 2))
        lengths[PAST] = max(2, min(lengths[PAST], longest - lengths[SEQUENCE]))
    return lengths


def _check_axes(values: Sequence[ir.Value], ports: Sequence[Port]) -> None:
    """Raises ExportError where the trace fixed an axis that its port leaves free, or the ranks differ."""
    for value, port in zip(values, ports, strict=True):
        shape = value.shape
        if shape is None or len(shape) != len(port.axes):
            raise ExportError(f"{port.name} was traced with shape {shape}, but the task table says {port.axes}.")
        for traced, axis in zip(shape, port.axes, strict=True):
            if isinstance(axis, str) and isinstance(traced, int):
                raise ExportError(f"the trace fixed axis {axis} of {port.name} to {traced}; it must stay free.")


def _separate_outputs(graph: ir.Graph) -> None:
    """A value that is several outputs, as the last hidden states are, gets an Identity for each but the first: a value
    has one name."""
    first: dict[ir.Value, int] = {}
    for place, value in enumerate(graph.outputs):
        if value in first:
            node = ir.node("Identity", [value], name=f"{value.name}/Identity_{place}")
            node.outputs[0].type, node.outputs[0].shape = value.type, value.shape
            graph.append(node)
            graph.outputs[place] = node.outputs[0]
            graph.outputs[first[value]] = value  # the IR took it for no output any more
        first.setdefault(value, place)


def _name_axes(graph: ir.Graph, module: GraphModule) -> None:
    """Replace the tracer's symbols (`s26`) by the names of the task table (`batch_size`) in every shape."""
    symbols = {
        str(traced.value): axis
        for value, port in zip(graph.inputs, module.inputs, strict=True)
        for traced, axis in zip(value.shape or (), port.axes, strict=True)
        if isinstance(axis, str) and axis in _TRACE_LENGTHS and isinstance(traced, ir.SymbolicDim)
    }
    for node in graph:
        for value in node.outputs:
            if value.shape is not None:
                value.shape = ir.Shape([_rename(axis, symbols) for axis in value.shape])
    for values, ports in ((graph.inputs, module.inputs), (graph.outputs, module.outputs)):
        for value, port in zip(values, ports, strict=True):
            value.name = port.name
            value.shape = ir.Shape(port.axes)


def _rename(axis: int | ir.SymbolicDim, symbols: dict[str, str]) -> int | str | None:
    """`axis` with the names of `symbols`, in the task table's order of a sum."""
    if isinstance(axis, int) or axis.value is None:
        return axis if isinstance(axis, int) else None
    named = _SYMBOL.sub(lambda match: symbols.get(match.group(), match.group()), axis.value)
    return PAST_PLUS_SEQUENCE if sorted(named.split(" + ")) == sorted((PAST, SEQUENCE)) else named


def _without_fake_tensor_cache() -> contextlib.AbstractContextManager[None]:
    """Shapes are worked out anew for every operator. To remember them for operators that come again takes torch longer,
    since each is traced in one layer only (measured with torch 2.13: 5.4 s of processor time with, 3.8 s without)."""
    from torch._dynamo import config  # where torch keeps this switch, whatever traces

    patched: contextlib.AbstractContextManager[None] = config.patch(fake_tensor_cache_enabled=False)
    return patched


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what torch's exporter says about itself: nothing in it is for the user of a BERT."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
