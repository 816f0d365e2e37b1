"""A tiny BERT of any encoder task in the canonical form, with the weights of an eager model, without a trace."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import torch
from builders import INT64, GraphBuilder
from torch import nn

import bert_onnx
from bert_onnx.config import BertConfig
from bert_onnx.tasks import BATCH, CHOICES, SEQUENCE, TaskOptions, find_task, input_ports, output_ports
from export.reference.module import GraphModule

B, S = BATCH, SEQUENCE


def tiny_module(task: str, options: TaskOptions | None = None, **changes: Any) -> GraphModule:
    """The eager reference: two layers, weights large enough to show an error, biases that are not zero."""
    row = find_task(task)
    values: dict[str, Any] = {
        "vocab_size": 50, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3,
        "intermediate_size": 40, "max_position_embeddings": 40, "initializer_range": 0.3,
        "num_labels": 2 if task == "question-answering" else 3, "is_decoder": row.decoder,
    }  # fmt: skip
    config, options = BertConfig().replace(**values | changes), options or TaskOptions(pooler=True)
    torch.manual_seed(0)
    build = getattr(bert_onnx, row.model_class)
    model = build(config, add_pooling_layer=options.pooler) if row.model_class == "BertModel" else build(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0.0, 0.2)
    inputs, outputs = input_ports(row, config), output_ports(row, config, options)
    return GraphModule(model.eval(), row, options, inputs, outputs).eval()


class CanonicalBert(GraphBuilder):
    """Writes the canonical graph of `module`. `model()` of the base class is called by `canonical_model`."""

    def __init__(self, module: GraphModule) -> None:
        super().__init__(18)
        self.module, self.options, self.task = module, module.options, module.task
        self.eager: nn.Module = module.model
        self.bert: Any = getattr(self.eager, "bert", self.eager)
        self.config: BertConfig = self.bert.config
        self.hidden_states: list[ir.Value] = []
        self.probabilities: list[ir.Value] = []
        inputs = {port.name: self.input(port.name, port.axes, INT64) for port in module.inputs}
        self.mask_input = inputs["attention_mask"]
        self.ids, self.mask, self.types = (
            self._rows(inputs[name]) for name in ("input_ids", "attention_mask", "token_type_ids")
        )
        self.batch = self.ids.shape[0] if self.ids.shape is not None else B
        self.bias = self.key_mask(self.mask)
        self.bias.shape = ir.Shape([self.batch, 1, 1, S])
        self.hidden = self._encoder()

    def array(self, module: Any, name: str = "weight") -> np.ndarray:
        return getattr(module, name).detach().numpy()

    def dense(self, x: ir.Value, layer: nn.Linear, name: str) -> ir.Value:
        axes = list(x.shape)[:-1] if x.shape is not None else ()
        return self.linear(x, name, self.array(layer).T.copy(), self.array(layer, "bias"), axes)

    def norm(self, x: ir.Value, layer: nn.LayerNorm, name: str) -> ir.Value:
        weights = [self.weight(f"{name}.{part}", self.array(layer, part)) for part in ("weight", "bias")]
        attributes = {"axis": -1, "epsilon": layer.eps}
        return self.op("LayerNormalization", [x, *weights], attributes, name=f"{name}/LayerNorm", shape=x.shape)

    def table(self, ids: ir.Value, module: Any, name: str) -> ir.Value:
        weight = self.weight(f"{name}.weight", self.array(module))
        return self.op("Gather", [weight, ids], {"axis": 0}, name=f"{name}/Gather", shape=[*ids.shape, weight.shape[1]])

    def integers(self, name: str, *numbers: int) -> ir.Value:
        return self.weight(name, np.array(numbers, np.int64))

    def gemm(self, x: ir.Value, layer: nn.Linear, name: str) -> ir.Value:
        weights = [self.weight(f"{name}.{part}", self.array(layer, part)) for part in ("weight", "bias")]
        return self.op(
            "Gemm", [x, *weights], {"transB": 1}, name=f"{name}/Gemm", shape=[x.shape[0], layer.out_features]
        )

    def first_token(self, hidden: ir.Value) -> ir.Value:
        index = self.weight(f"first_{len(self.graph)}", np.array(0, np.int64))
        shape = [hidden.shape[0], hidden.shape[2]]
        return self.op("Gather", [hidden, index], {"axis": 1}, name="pooler/Gather", shape=shape)

    def _rows(self, value: ir.Value) -> ir.Value:
        """[B, C, S] -> [B * C, S]."""
        if not self.task.choices:
            return value
        length = self.op("Shape", [value], {"start": 2, "end": 3}, dtype=INT64)
        shape = self.op("Concat", [self.integers(f"rows_{value.name}", -1), length], {"axis": 0}, dtype=INT64)
        return self.op("Reshape", [value, shape], shape=[f"{BATCH} * {CHOICES}", S], dtype=INT64)

    def _encoder(self) -> ir.Value:
        embeddings, width = self.bert.embeddings, self.config.hidden_size
        shape = [self.batch, S, width]
        x = self.table(self.ids, embeddings.word_embeddings, "embeddings.word_embeddings")
        types = self.table(self.types, embeddings.token_type_embeddings, "embeddings.token_type_embeddings")
        x = self.op("Add", [x, types], name="embeddings/Add", shape=shape)
        self.length = self.op("Shape", [self.ids], {"start": 1, "end": 2}, dtype=INT64)
        if self.config.position_embedding_type == "absolute":
            table = self.weight("embeddings.position_embeddings.weight", self.array(embeddings.position_embeddings))
            zero = self.integers("zero", 0)
            rows = self.op("Slice", [table, zero, self.length, zero], name="embeddings/Slice", shape=[S, width])
            x = self.op("Add", [x, rows], name="embeddings/Add", shape=shape)
        x = self.norm(x, embeddings.LayerNorm, "embeddings.LayerNorm")
        self.hidden_states.append(x)
        for index, layer in enumerate(self.bert.encoder.layer):
            x = self._layer(x, layer, f"encoder.layer.{index}")
            self.hidden_states.append(x)
        return x

    def _layer(self, x: ir.Value, layer: Any, name: str) -> ir.Value:
        own, shape = layer.attention.self, x.shape
        query, key, value = (
            self.dense(x, getattr(own, part), f"{name}.attention.self.{part}") for part in ("query", "key", "value")
        )
        bias = self.bias
        if self.config.position_embedding_type != "absolute":
            bias = self.op("Add", [self._relative(query, key, own, name), self.bias], name=f"{name}/Add")
        node = self.attention(
            [query, key, value, bias],
            own.num_heads,
            1 / math.sqrt(own.head_size),
            outputs=4 if self.options.output_attentions else 1,
            name=f"{name.replace('.', '/')}/attention/self/Attention",
        )
        node.outputs[0].shape = ir.Shape([self.batch, S, own.num_heads * own.head_size])
        if self.options.output_attentions:
            node.outputs[1].name = node.outputs[2].name = ""
            node.outputs[3].shape = ir.Shape([self.batch, own.num_heads, S, S])
            self.probabilities.append(node.outputs[3])
        y = self.dense(node.outputs[0], layer.attention.output.dense, f"{name}.attention.output.dense")
        y = self.op("Add", [y, x], name=f"{name}/Add", shape=shape)
        y = self.norm(y, layer.attention.output.LayerNorm, f"{name}.attention.output.LayerNorm")
        z = self.gelu(self.dense(y, layer.intermediate.dense, f"{name}.intermediate.dense"))
        z.shape = ir.Shape([self.batch, S, self.config.intermediate_size])
        z = self.dense(z, layer.output.dense, f"{name}.output.dense")
        z = self.op("Add", [z, y], name=f"{name}/Add", shape=shape)
        return self.norm(z, layer.output.LayerNorm, f"{name}.output.LayerNorm")

    def _relative(self, query: ir.Value, key: ir.Value, own: Any, name: str) -> ir.Value:
        """(q_i . d(i - j) [+ k_j . d(i - j)]) / sqrt(K): [B, H, S, S]."""
        length = self.op("Squeeze", [self.length], dtype=INT64)
        zero, one = (self.weight(f"{name}_{n}", np.array(n, np.int64)) for n in (0, 1))
        places = self.op("Range", [zero, length, one], dtype=INT64)
        column = self.op("Unsqueeze", [places, self.integers(f"{name}_axis", 1)], dtype=INT64)
        middle = self.weight(f"{name}_middle", np.array(self.config.max_position_embeddings - 1, np.int64))
        distances = self.op("Add", [self.op("Sub", [column, places], dtype=INT64), middle], dtype=INT64)
        weight = self.weight(f"{name}.distance_embedding.weight", self.array(own.distance_embedding))
        vectors = self.op("Gather", [weight, distances], {"axis": 0}, name=f"{name}/distance/Gather", shape=[S, S, 8])
        total: ir.Value | None = None
        states = [query, key] if own.position_embedding_type == "relative_key_query" else [query]
        for state, equation in zip(states, ("bhsk,srk->bhsr", "bhrk,srk->bhsr"), strict=False):
            heads = self.integers(f"{name}_heads_{equation}", 0, 0, own.num_heads, own.head_size)
            split = self.op("Transpose", [self.op("Reshape", [state, heads])], {"perm": (0, 2, 1, 3)})
            scores = self.op("Einsum", [split, vectors], {"equation": equation})
            total = scores if total is None else self.op("Add", [total, scores])
        return self.op("Mul", [total, self.weight(f"{name}_scale", np.array(1 / math.sqrt(own.head_size)))])


def canonical_model(module: GraphModule) -> ir.Model:
    """The canonical graph of an encoder task."""
    build = CanonicalBert(module)
    computed = _heads(build)
    computed |= {f"hidden_states.{i}": value for i, value in enumerate(build.hidden_states)}
    computed |= {f"attentions.{i}": value for i, value in enumerate(build.probabilities)}
    model = build.model({port.name: computed[port.name] for port in module.outputs})
    for port, output in zip(module.outputs, model.graph.outputs, strict=True):
        output.shape = ir.Shape(port.axes)
    return model


def _heads(build: CanonicalBert) -> dict[str, ir.Value]:
    """What the head computes, by the name of the output."""
    eager: Any = build.eager
    hidden, pooler = build.hidden, getattr(build.bert, "pooler", None)
    pooled = None
    if pooler is not None:
        dense = build.gemm(build.first_token(hidden), pooler.dense, "pooler.dense")
        pooled = build.op("Tanh", [dense], name="pooler/Tanh", shape=dense.shape)
    name = build.task.name
    if name in ("feature-extraction", "sentence-similarity"):
        outputs = {"last_hidden_state": hidden}
        if pooled is not None:
            outputs["pooler_output"] = pooled
        if name == "sentence-similarity":
            outputs["sentence_embedding"] = _sentence(build, hidden)
        return outputs
    if name in ("fill-mask", "pretraining"):
        scores = _token_scores(build, hidden, eager.cls.predictions)
        if name == "fill-mask":
            return {"logits": scores}
        relationship = build.gemm(pooled, eager.cls.seq_relationship, "cls.seq_relationship")
        return {"prediction_logits": scores, "seq_relationship_logits": relationship}
    if name == "next-sentence-prediction":
        return {"logits": build.gemm(pooled, eager.cls.seq_relationship, "cls.seq_relationship")}
    if name == "text-classification":
        return {"logits": build.gemm(pooled, eager.classifier, "classifier")}
    if name == "token-classification":
        return {"logits": build.dense(hidden, eager.classifier, "classifier")}
    if name == "multiple-choice":
        scores = build.gemm(pooled, eager.classifier, "classifier")
        shape = build.op("Shape", [build.mask_input], {"start": 0, "end": 2}, dtype=INT64)
        return {"logits": build.op("Reshape", [scores, shape], shape=[BATCH, CHOICES])}
    assert name == "question-answering"
    return _spans(build, build.dense(hidden, eager.qa_outputs, "qa_outputs"))


def _token_scores(build: CanonicalBert, hidden: ir.Value, predictions: Any) -> ir.Value:
    transform = predictions.transform
    x = build.gelu(build.dense(hidden, transform.dense, "cls.transform.dense"), name="cls/Gelu")
    x.shape = hidden.shape
    x = build.norm(x, transform.LayerNorm, "cls.transform.LayerNorm")
    words = build.graph.initializers["embeddings.word_embeddings.weight"]  # the decoder's weight is this, transposed
    matrix = build.op("Transpose", [words], {"perm": (1, 0)}, name="cls/Transpose")
    shape = [B, S, build.config.vocab_size]
    scores = build.op("MatMul", [x, matrix], name="cls/MatMul", shape=shape)
    bias = build.weight("cls.bias", build.array(predictions, "bias"))
    return build.op("Add", [scores, bias], name="cls/Add", shape=shape)


def _spans(build: CanonicalBert, scores: ir.Value) -> dict[str, ir.Value]:
    axis = build.integers("last", 2)
    outputs = {}
    for place, name in enumerate(("start_logits", "end_logits")):
        ends = [build.integers(f"{name}_{n}", n) for n in (place, place + 1)]
        part = build.op("Slice", [scores, *ends, axis], name=f"{name}/Slice")
        outputs[name] = build.op("Squeeze", [part, axis], name=f"{name}/Squeeze", shape=[B, S])
    return outputs


def _sentence(build: CanonicalBert, hidden: ir.Value) -> ir.Value:
    """One pooling and perhaps scaling to length 1, spelled out as the tracer does."""
    pooling, *normalize = build.options.modules
    (mode,) = pooling.modes
    one, last = build.integers("axis_1", 1), build.integers("axis_-1", -1)
    shape = [B, build.config.hidden_size]
    real = build.op("Cast", [build.op("Unsqueeze", [build.mask, last], dtype=INT64)], {"to": int(ir.DataType.FLOAT)})
    if mode == "cls":
        ranks = build.op("CumSum", [build.mask, build.weight("along", np.array(1, np.int64))], dtype=INT64)
        ranks = build.op("Mul", [ranks, build.mask], dtype=INT64)
        first = build.op("Equal", [ranks, build.weight("first_rank", np.array(1, np.int64))], dtype=ir.DataType.BOOL)
        first = build.op("Cast", [build.op("Unsqueeze", [first, last], dtype=ir.DataType.BOOL)], {"to": 1})
        pooled = build.op("ReduceSum", [build.op("Mul", [hidden, first]), one], {"keepdims": 0}, shape=shape)
    elif mode == "max":
        seen = build.op("Greater", [real, build.weight("nothing", np.array(0.0))], dtype=ir.DataType.BOOL)
        low = build.weight("low", np.array(-1e9))
        pooled = build.op("ReduceMax", [build.op("Where", [seen, hidden, low]), one], {"keepdims": 0}, shape=shape)
    else:
        total = build.op("ReduceSum", [build.op("Mul", [hidden, real]), one], {"keepdims": 0})
        count = build.op("ReduceSum", [real, one], {"keepdims": 0})
        count = build.op("Clip", [count, build.weight("tiny", np.array(1e-9))])
        pooled = build.op("Div", [total, count], shape=shape)
    if not normalize:
        return pooled
    norm = build.op("Clip", [build.op("ReduceL2", [pooled, last]), build.weight("small", np.array(1e-12))])
    return build.op("Div", [pooled, norm], shape=shape)


#: Inputs by name -> outputs by name.
Runner = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]


def open_session(model: ir.Model) -> Runner:
    """A session of ONNX Runtime, with its own optimisations, that is opened once."""
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    proto = ir.serde.serialize_model(model)
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(names, dict(feeds)), strict=True))


def eager_outputs(module: GraphModule, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the eager model answers."""
    with torch.no_grad():
        results = module(*(torch.from_numpy(feeds[port.name]) for port in module.inputs))
    return {port.name: result.numpy() for port, result in zip(module.outputs, results, strict=True)}
