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


def spread(model: ir.Model, width: int) -> None:
    """Let last_hidden_state be the only output of `model`, and the first `width` values of its vector at every token.

    Args:
        model: a graph with input_ids [B, S] and sentence_embedding [B, E]; it is changed.
        width: W, at most E.
    """
    graph = model.graph
    vector = next(value for value in graph.outputs if value.name == SENTENCE)
    ids = next(value for value in graph.inputs if value.name == "input_ids")
    for value in graph.outputs:
        if value.name == STATES:
            value.name = "token_states"
    op = Writer(graph, "host")
    kept = op.Slice(vector, op.integers([0]), op.integers([width]), op.integers([1]))
    length = op.Gather(op.Shape(ids), op.integers([1]), axis=0)
    shape = op.Concat(op.integers([1]), length, op.integers([1]), axis=0)
    states = op.Expand(op.Unsqueeze(kept, op.integers([1])), shape)
    states.name, states.shape = STATES, ir.Shape(("batch_size", "sequence_length", width))
    graph.outputs[:] = [states]
    finish(model, PassContext(graph.opset_imports[""]))
