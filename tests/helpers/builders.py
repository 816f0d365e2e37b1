"""Small graphs by hand, in the canonical form or not, and ways to run them, for the tests of passes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort

from export.passes.graph import canonical

FLOAT, INT64 = ir.DataType.FLOAT, ir.DataType.INT64


class GraphBuilder:
    """Builds an `ir.Model` node by node.

    build = GraphBuilder(opset=18)
    x = build.input("x", ["batch_size", "sequence_length", 32])
    w = build.weight("layer.weight", array)
    y = build.op("MatMul", [x, w], name="layer/MatMul")
    model = build.model({"y": y})
    """

    def __init__(self, opset: int = 18) -> None:
        domains = {"": opset, canonical.DOMAIN: 1, "com.microsoft": 1}
        self.graph = ir.Graph([], [], nodes=[], opset_imports=domains, name="bert")

    def input(self, name: str, shape: Sequence[int | str], dtype: ir.DataType = FLOAT) -> ir.Value:
        """A graph input."""
        value = ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(dtype))
        self.graph.inputs.append(value)
        return value

    def weight(self, name: str, array: np.ndarray) -> ir.Value:
        """An initializer; float64 arrays become float32."""
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        tensor = ir.tensor(array, name=name)
        value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
        self.graph.register_initializer(value)
        return value

    def node(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, object] | None = None,
        *,
        domain: str = "",
        outputs: int = 1,
        name: str | None = None,
        shape: Sequence[int | str | None] | None = None,
        dtype: ir.DataType = FLOAT,
    ) -> ir.Node:
        """A node of any number of outputs; `shape` and `dtype` annotate the first."""
        node = ir.node(
            op_type, inputs, attributes=attributes or {}, domain=domain, num_outputs=outputs, name=name or op_type
        )
        for value in node.outputs:
            value.type = ir.TensorType(dtype)
        if shape is not None:
            node.outputs[0].shape = ir.Shape(shape)
        self.graph.append(node)
        return node

    def op(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, object] | None = None,
        *,
        domain: str = "",
        name: str | None = None,
        shape: Sequence[int | str | None] | None = None,
        dtype: ir.DataType = FLOAT,
    ) -> ir.Value:
        """The output of a node that has one."""
        return self.node(op_type, inputs, attributes, domain=domain, name=name, shape=shape, dtype=dtype).outputs[0]

    def linear(
        self, x: ir.Value, name: str, weight: np.ndarray, bias: np.ndarray | None, axes: Sequence = ()
    ) -> ir.Value:
        """MatMul and Add, named as our exporter names them: weight `a.b.weight`, node `a/b/MatMul`.

        `axes` are the names of the axes before the last one.
        """
        scope, shape = name.replace(".", "/"), [*axes, weight.shape[1]] if axes else None
        y = self.op("MatMul", [x, self.weight(f"{name}.weight", weight)], name=f"{scope}/MatMul", shape=shape)
        if bias is None:
            return y
        return self.op("Add", [y, self.weight(f"{name}.bias", bias)], name=f"{scope}/Add", shape=shape)

    def gelu(self, x: ir.Value, approximate: str = "none", name: str = "intermediate/Gelu") -> ir.Value:
        """A canonical Gelu."""
        return self.op(canonical.GELU, [x], {"approximate": approximate}, domain=canonical.DOMAIN, name=name)

    def key_mask(self, mask: ir.Value, fill: float = float(np.finfo(np.float32).min)) -> ir.Value:
        """A canonical KeyMask."""
        return self.op(canonical.KEY_MASK, [mask], {"fill": fill}, domain=canonical.DOMAIN, name="KeyMask")

    def attention(
        self,
        inputs: Sequence[ir.Value | None],
        heads: int,
        scale: float,
        *,
        outputs: int = 1,
        name: str = "encoder/layer.0/attention/self/Attention",
    ) -> ir.Node:
        """A canonical Attention."""
        attributes = {"num_heads": heads, "scale": scale}
        return self.node(canonical.ATTENTION, inputs, attributes, domain=canonical.DOMAIN, outputs=outputs, name=name)

    def model(self, outputs: Mapping[str, ir.Value]) -> ir.Model:
        """The model, with `outputs` under their names."""
        for name, value in outputs.items():
            value.name = name
            self.graph.outputs.append(value)
        return ir.Model(self.graph, ir_version=10)


def run(model: ir.Model, feeds: Mapping[str, np.ndarray], optimise: bool = False) -> dict[str, np.ndarray]:
    """All outputs of `model` by name, from ONNX Runtime, checked where shapes are known; the model stays as it is.

    Its own optimisations are off unless `optimise` is set, so that it computes what is written.
    """
    proto = ir.serde.serialize_model(model)
    proto.ir_version = min(proto.ir_version, 11)
    for number, node in enumerate(proto.graph.node):
        node.name = f"{node.name}_{number}"  # passes leave it to `finish` to tell nodes of one name apart
    used = {node.domain for node in model.graph} | {""}
    for entry in [entry for entry in proto.opset_import if entry.domain not in used]:
        proto.opset_import.remove(entry)
    if all(output.shape is not None for output in model.graph.outputs):
        onnx.checker.check_model(proto)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def operators(model: ir.Model) -> Counter[str]:
    """How many nodes there are of each operator, `domain.Name` outside ai.onnx."""
    return Counter(f"{node.domain}.{node.op_type}" if node.domain else node.op_type for node in model.graph)


def softmax(scores: np.ndarray) -> np.ndarray:
    """Along the last axis."""
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def attention_reference(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    heads: int,
    scale: float,
    bias: np.ndarray | float = 0.0,
    past: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What canonical Attention means, in numpy at double precision: its four outputs."""

    def split(x: np.ndarray) -> np.ndarray:
        return x.astype(np.float64).reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)

    queries, keys, values = split(query), split(key), split(value)
    if past is not None:
        keys, values = np.concatenate([past[0], keys], 2), np.concatenate([past[1], values], 2)
    probabilities = softmax(scale * queries @ keys.transpose(0, 1, 3, 2) + bias)
    context = (probabilities @ values).transpose(0, 2, 1, 3).reshape(*query.shape[:2], -1)
    return context, keys, values, probabilities


def assert_close(actual: np.ndarray, expected: np.ndarray, relative: float = 2e-5) -> None:
    """Largest difference as a share of the largest magnitude."""
    assert actual.shape == expected.shape
    assert np.isfinite(actual).all()
    assert np.abs(actual - expected).max(initial=0) <= relative * max(np.abs(expected).max(initial=0), 1e-3)


#: Sizes of the layer that `attention_layer` builds: width, heads, head size.
WIDTH, HEADS, HEAD_SIZE = 24, 3, 8
AXES = ("batch_size", "sequence_length")
SCALE = 0.3


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """float32 numbers large enough to show an error."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


class AttentionLayer:
    """Projections, canonical Attention and output projection, with what a test wants to be different.

        x [B, S, D] -> query, key, value [B, S, H*K] -> context -> y [B, S, D]

    Args:
        biased: the projections that have a bias, of "qkvo".
        heads: heads that are left of HEADS.
        masked: with a KeyMask of the input `mask`.
        memory: keys and values come from a second input, `memory` [B, R, D].
        cached: with inputs past_key and past_value.
        outputs: outputs of the Attention.
    """

    def __init__(
        self,
        biased: str = "qkvo",
        heads: int = HEADS,
        masked: bool = True,
        memory: bool = False,
        cached: bool = False,
        outputs: int = 1,
        opset: int = 18,
    ) -> None:
        self.build = build = GraphBuilder(opset)
        width = heads * HEAD_SIZE
        self.x = build.input("x", [*AXES, WIDTH])
        self.source = build.input("memory", [AXES[0], "encoder", WIDTH]) if memory else self.x
        self.projections: dict[str, ir.Value] = {}
        for letter, name, source in (("q", "query", self.x), ("k", "key", self.source), ("v", "value", self.source)):
            bias = normal(width, seed=ord(letter)) if letter in biased else None
            weight = normal(WIDTH, width, seed=ord(letter))
            axes = (AXES[0], "encoder") if source is not self.x else AXES
            self.projections[letter] = build.linear(
                source, f"encoder.layer.0.attention.self.{name}", weight, bias, axes
            )
        inputs: list[ir.Value | None] = [*self.projections.values(), None]
        if masked:
            inputs[3] = build.key_mask(build.input("mask", [AXES[0], "keys"], INT64))
        if cached:
            inputs += [build.input(f"past_{part}", [AXES[0], heads, "past", HEAD_SIZE]) for part in ("key", "value")]
        self.attention = build.attention(inputs, heads, SCALE, outputs=outputs)
        self.context = self.attention.outputs[0]
        self.y = build.linear(
            self.context,
            "encoder.layer.0.attention.output.dense",
            normal(width, WIDTH, seed=5),
            normal(WIDTH, seed=6) if "o" in biased else None,
            AXES,
        )

    def model(self, **outputs: ir.Value) -> ir.Model:
        """The model with the output `y` and others."""
        return self.build.model({"y": self.y, **outputs})


def layer_feeds(model: ir.Model, batch: int = 3, length: int = 5, past: int = 4) -> dict[str, np.ndarray]:
    """Numbers for the inputs of `AttentionLayer`, with padding on the right, on the left and none."""
    lengths = {AXES[0]: batch, AXES[1]: length, "encoder": length + 2, "past": past}
    cached = any(value.name == "past_key" for value in model.graph.inputs)
    memory = any(value.name == "memory" for value in model.graph.inputs)
    lengths["keys"] = length + 2 if memory else length + past * cached
    feeds = {}
    for number, value in enumerate(model.graph.inputs):
        assert value.shape is not None
        shape = [axis if isinstance(axis, int) else lengths[str(axis.value)] for axis in value.shape]
        feeds[value.name or ""] = np.ones(shape, np.int64) if value.dtype == INT64 else normal(*shape, seed=number)
    if "mask" in feeds:
        feeds["mask"][0, -2:] = 0
        feeds["mask"][1, :1] = 0
    return feeds
