"""Makes the vector of a text what every one of its tokens has, so that whatever a host pools gives the vector.

    sentence_embedding [B, E]  ->  last_hidden_state [B, S, W] = Expand(Unsqueeze(sentence_embedding[:, :W], 1))

The mean over real tokens, the first token, any one of them: all are sentence_embedding, with the pooling, layers and
scaling that the model has. The graph's other outputs go, and what only they needed.
"""

from __future__ import annotations

import onnx_ir as ir

from bert_onnx.sentence_modules import SENTENCE
from export.passes.base import PassContext
from export.passes.cleanup.finish import finish
from export.passes.graph.writer import Writer

STATES = "last_hidden_state"


def spread(model: ir.Model, width: int) -> ir.Model:
    """Let last_hidden_state be the only output of `model`, and the first `width` values of its vector at every token.

    Args:
        model: a graph with input_ids [B, S] and sentence_embedding [B, E]; it is changed.
        width: W, at most E.
    """
    op, kept = first_values(model.graph, width)
    ids = next(value for value in model.graph.inputs if value.name == "input_ids")
    length = op.Gather(op.Shape(ids), op.integers([1]), axis=0)
    shape = op.Concat(op.integers([1]), length, op.integers([1]), axis=0)
    states = op.Expand(op.Unsqueeze(kept, op.integers([1])), shape)
    return keep(model, states, STATES, ("batch_size", "sequence_length", width))


def keep_vector(model: ir.Model, width: int) -> ir.Model:
    """Let the first `width` values of sentence_embedding be the only output of `model`, by that name."""
    _, kept = first_values(model.graph, width)
    return keep(model, kept, SENTENCE, ("batch_size", width))


def first_values(graph: ir.Graph, width: int) -> tuple[Writer, ir.Value]:
    """A writer, and the first `width` values of the graph's sentence_embedding."""
    vector = next(value for value in graph.outputs if value.name == SENTENCE)
    op = Writer(graph, "host")
    return op, op.Slice(vector, op.integers([0]), op.integers([width]), op.integers([1]))


def keep(model: ir.Model, output: ir.Value, name: str, axes: tuple[int | str, ...]) -> ir.Model:
    """Let `output`, by `name` and with `axes`, be the only one of `model`, and drop what only the others needed."""
    for value in model.graph.outputs:
        value.name = f"variant_{value.name}"  # one may have the name that the only output gets
    output.name, output.shape = name, ir.Shape(axes)
    model.graph.outputs[:] = [output]
    finish(model, PassContext(model.graph.opset_imports[""]))
    return model
