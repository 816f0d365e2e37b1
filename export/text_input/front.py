"""A tokenizer in front of a graph: strings in, everything that the graph returns out, and the tokens beside it."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from bert_onnx.tasks import Port, Task
from bert_onnx.text_input import CUTS_SECOND, MAYBE_PAIRED, PAIR, TEXT, text_inputs, token_outputs
from export.text_input.operators import EXTENSIONS, EXTENSIONS_VERSION, LOOK_UP, LOOK_UP_VERSION, TextWriter
from export.text_input.rows import Arrays, RowFormat, Span, pair_rows, single_rows
from export.text_input.settings import TokenizerTables
from export.text_input.words import TokenRows, tokenize

_INT64 = ir.DataType.INT64


@dataclass(frozen=True)
class TextPlan:
    """What stands in front of every graph of an artifact.

    Args:
        task: of the graphs.
        paired: they take second texts.
        tables: of the tokenizer.
        longest: length to which texts are cut, in tokens; at least 4.
    """

    task: Task
    paired: bool
    tables: TokenizerTables
    longest: int


def put_in_front(model: ir.Model, plan: TextPlan) -> None:
    """Give `model`, which takes input_ids, attention_mask and token_type_ids, inputs of text in their place."""
    task, tables = plan.task, plan.tables
    graph = model.graph
    old = {value.name: value for value in graph.inputs}
    graph.inputs.clear()
    op = TextWriter(graph)
    texts = {port.name: _input(graph, port) for port in text_inputs(task, plan.paired)}
    form = RowFormat(plan.longest, tables.first_id, tables.end_id, tables.pad_id, tables.types)
    arrays = _rows(op, texts, task, tables, form)
    made = (arrays.input_ids, arrays.attention_mask, arrays.token_type_ids, arrays.truncated)
    for port, value in zip(token_outputs(task), made, strict=True):
        if port.name in old:
            old[port.name].replace_all_uses_with(value)
            old[port.name].name = None
        value.name, value.shape, value.type = port.name, ir.Shape(port.axes), ir.TensorType(_INT64)
        graph.outputs.append(value)
    graph.opset_imports[EXTENSIONS] = EXTENSIONS_VERSION
    graph.opset_imports[LOOK_UP] = LOOK_UP_VERSION
    if plan.paired and task.name in MAYBE_PAIRED:
        _give_default(graph, texts[PAIR])


def tokenizer_graph(plan: TextPlan, opset: int, ir_version: int) -> ir.Model:
    """The tokenizer alone: the nodes that `put_in_front` adds, with nothing behind them."""
    none = ir.Value(name="unused", type=ir.TensorType(_INT64), shape=ir.Shape([1]))
    placeholder = ir.node("Identity", [none])
    graph = ir.Graph([none], [], nodes=[placeholder], opset_imports={"": opset}, name="tokenizer")
    model = ir.Model(graph, ir_version=ir_version)
    put_in_front(model, plan)
    graph.remove(placeholder)
    return model


def operators_of_tokenizer(model: ir.Model) -> tuple[str, ...]:
    """Operators of onnxruntime-extensions in `model`, sorted."""
    return tuple(sorted({node.op_type for node in model.graph if node.domain == EXTENSIONS}))


def _input(graph: ir.Graph, port: Port) -> ir.Value:
    value = ir.Value(name=port.name, type=ir.TensorType(ir.DataType.STRING), shape=ir.Shape(port.axes))
    graph.inputs.append(value)
    return value


def _give_default(graph: ir.Graph, value: ir.Value) -> None:
    """Let `value` be left out: it is one empty string then, which serves every row."""
    value.const_value = ir.StringTensor([b""], shape=ir.Shape([1]), name=value.name)
    value.shape = ir.Shape(["pairs"])
    graph.register_initializer(value)


def _rows(op: TextWriter, texts: dict[str, ir.Value], task: Task, tables: TokenizerTables, form: RowFormat) -> Arrays:
    text = texts[TEXT]
    if PAIR not in texts:
        return single_rows(op, tokenize(op, text, tables), form)
    pair, minus_one = texts[PAIR], op.vector(-1)
    flat = op.Reshape(pair, minus_one) if task.choices else pair
    both = op.Concat(text, flat, axis=0)
    tokens = tokenize(op, both, tables)
    count = op.Shape(text)
    first = _part(op, tokens, op.vector(0), count)
    second = _part(op, tokens, count, op.vector(2**62))
    if task.choices:
        shape = op.Shape(pair)
        first = Span(*(op.Unsqueeze(value, minus_one) for value in (first.starts, first.kept)))
        second = Span(*(op.Reshape(value, shape) for value in (second.starts, second.kept)))
    has_second = op.look_up(pair, {"": 0}, 1) if task.name in MAYBE_PAIRED else None
    return pair_rows(op, tokens, first, second, has_second, task.name in CUTS_SECOND, form)


def _part(op: TextWriter, tokens: TokenRows, begin: ir.Value, end: ir.Value) -> Span:
    return Span(*(op.Slice(value, begin, end) for value in (tokens.starts, tokens.lengths)))
