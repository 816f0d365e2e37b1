"""OpenSearch's graphs beside that of dense vectors, whose tensors it takes by their positions.

SPARSE_ENCODING   input_ids, attention_mask -> output [B, V]: weights; token types are all 0
TEXT_SIMILARITY   input_ids, attention_mask, token_type_ids -> similarity [B, 1]: activation(logits)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
from tokenizers import Tokenizer

from bert_onnx.sentence_modules import SPARSE
from export.hosts.compare import Comparison
from export.hosts.graph import write_graph
from export.hosts.host import Subject
from export.hosts.spread import keep
from export.score_activations import SCORES, FloatWriter
from runtimes.engines.inputs import TOKEN_TYPES
from runtimes.pipelines.activations import find_activation

_LOGITS = "logits"


def write_sparse(title: str, subject: Subject, folder: Path) -> float:
    """Write `folder`/model.onnx for SPARSE_ENCODING; returns and raises as `write_graph`."""
    comparison = Comparison(SPARSE, lambda weights: weights, lambda weights, _: weights)
    return write_graph(title, subject, folder, _sparse, comparison)


def write_ranking(title: str, subject: Subject, folder: Path) -> float:
    """Write `folder`/model.onnx for TEXT_SIMILARITY; returns and raises as `write_graph`."""
    name = subject.manifest.options.activation_fn or "Identity"
    comparison = Comparison(_LOGITS, find_activation(name), lambda scores, _: scores)
    return write_graph(title, subject, folder, lambda model: _ranking(model, name), comparison)


def sparse_notes(title: str, tokenizer: Path) -> tuple[str, ...]:
    """What becomes of weights: it names them by their tokens, decoded one at a time, and leaves out special ones."""
    notes = [f"{title} leaves weights of special tokens out where it names weights by words, as it does by default."]
    reader = Tokenizer.from_file(str(tokenizer))
    words = [word for index in range(reader.get_vocab_size()) if (word := reader.decode([index]))]
    alike = len(words) - len(set(words))
    if alike:
        way = 'ask for sparse_embedding_format "TOKEN_ID"'
        notes.append(f"{alike} tokens of this vocabulary are written like others, and lose their weights there: {way}.")
    return tuple(notes)


def _sparse(model: ir.Model) -> ir.Model:
    inputs = {value.name: value for value in model.graph.inputs}
    if TOKEN_TYPES in inputs:
        op = FloatWriter(model.graph, "host")
        zero = ir.tensor(np.zeros(1, np.int64))
        zeros = op.ConstantOfShape(op.Shape(inputs["input_ids"]), value=zero, _dtype=ir.DataType.INT64)
        inputs[TOKEN_TYPES].replace_all_uses_with(zeros)
    model.graph.inputs[:] = [inputs["input_ids"], inputs["attention_mask"]]
    weights = next(value for value in model.graph.outputs if value.name == SPARSE)
    assert weights.shape is not None
    width = weights.shape[-1]
    assert isinstance(width, int)
    return keep(model, weights, "output", ("batch_size", width))


def _ranking(model: ir.Model, activation: str) -> ir.Model:
    inputs = {value.name: value for value in model.graph.inputs}
    ids = inputs["input_ids"]
    # Versions up to 3.6 feed token types to every graph: one that does not read them takes them all the same.
    types = inputs.get(TOKEN_TYPES) or ir.Value(name=TOKEN_TYPES, shape=ids.shape, type=ids.type)
    model.graph.inputs[:] = [ids, inputs["attention_mask"], types]
    logits = next(value for value in model.graph.outputs if value.name == _LOGITS)
    return keep(model, SCORES[activation](FloatWriter(model.graph, "host"), logits), "similarity", ("batch_size", 1))
