"""A tiny encoder as a float graph, written by hand: one layer, one outlier channel where real models have them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from bert_onnx.tasks import BATCH, SEQUENCE, Port
from bert_onnx.tokenization import BertTokenizerFast
from runtimes.engines.ort.session import EXACT_INTEGERS

_TEXT = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] the a cat dog bird fish sat ran flew swam on under over mat tree lake sky "
    "red blue green old young big small and then ."
)
WORDS = _TEXT.split()
PORTS = tuple(Port(name, "int64", (BATCH, SEQUENCE)) for name in ("input_ids", "attention_mask"))
V, D, F, H = 160, 32, 64, 2

#: MatMuls with constant weights of `tiny_encoder`.
MATMULS = ("query", "key", "value", "output", "ffn1", "ffn2")


class Writer:
    """Collects nodes and initializers."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []

    def weight(self, name: str, array: np.ndarray) -> str:
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        self.tensors.append(numpy_helper.from_array(array, name))
        return name

    def op(self, op_type: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op_type, inputs, [f"{name}_y"], name=name, **attributes))
        return f"{name}_y"

    def dense(self, x: str, name: str, weight: np.ndarray, bias: np.ndarray) -> str:
        y = self.op("MatMul", [x, self.weight(f"{name}.weight", weight)], f"{name}/MatMul")
        return self.op("Add", [y, self.weight(f"{name}.bias", bias)], f"{name}/Add")

    def model(
        self, inputs: dict[str, list[str]], outputs: dict[str, list[str | int]], integers: bool = True
    ) -> ir.Model:
        kind = TensorProto.INT64 if integers else TensorProto.FLOAT
        graph = helper.make_graph(
            self.nodes,
            "tiny",
            [helper.make_tensor_value_info(name, kind, axes) for name, axes in inputs.items()],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, axes) for name, axes in outputs.items()],
            self.tensors,
        )
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        return ir.from_proto(onnx.shape_inference.infer_shapes(proto))


def tiny_encoder(seed: int = 0, outlier: float = 12.0) -> ir.Model:
    """Ids and mask [B, S] to last_hidden_state [B, S, D] and sentence_embedding [B, D]."""
    rng = np.random.default_rng(seed)
    w = Writer()
    axes: list[str | int] = [BATCH, SEQUENCE]
    table = w.weight("embeddings.weight", rng.normal(size=(V, D)))
    gamma, beta = np.ones(D), rng.normal(size=D) * 0.1
    gamma[3] = outlier
    x = w.op("Gather", [table, "input_ids"], "embeddings/Gather")
    x = _norm(w, x, "embeddings/norm", gamma, beta)
    context = _attention(w, x, rng)
    y = w.dense(context, "output", rng.normal(size=(D, D)) * 0.2, rng.normal(size=D) * 0.1)
    x = _norm(w, w.op("Add", [y, x], "attention/Add"), "attention/norm", gamma, beta)
    bias = rng.normal(size=F) * 0.1
    bias[5] = outlier
    y = w.dense(x, "ffn1", rng.normal(size=(D, F)) * 0.15, bias)
    y = _gelu(w, y)
    y = w.dense(y, "ffn2", rng.normal(size=(F, D)) * 0.15, rng.normal(size=D) * 0.1)
    total = w.op("Add", [y, x], "ffn/Add")
    _norm(w, total, "last", np.ones(D), beta)
    w.nodes[-1].output[0] = "last_hidden_state"
    _mean(w)
    inputs = {port.name: list(port.axes) for port in PORTS}
    return w.model(inputs, {"last_hidden_state": [*axes, D], "sentence_embedding": [BATCH, D]})  # type: ignore[arg-type]


def _norm(w: Writer, x: str, name: str, gamma: np.ndarray, beta: np.ndarray) -> str:
    weights = [w.weight(f"{name}.weight", gamma), w.weight(f"{name}.bias", beta)]
    return w.op("LayerNormalization", [x, *weights], f"{name}/LayerNormalization", axis=-1)


def _attention(w: Writer, x: str, rng: np.random.Generator) -> str:
    heads = {}
    split = w.weight("split", np.array([0, 0, H, D // H], np.int64))
    for part in ("query", "key", "value"):
        y = w.dense(x, part, rng.normal(size=(D, D)) * 0.2, rng.normal(size=D) * 0.1)
        y = w.op("Reshape", [y, split], f"{part}/Reshape")
        heads[part] = w.op("Transpose", [y], f"{part}/Transpose", perm=[0, 2, 3, 1] if part == "key" else [0, 2, 1, 3])
    scores = w.op("MatMul", [heads["query"], heads["key"]], "scores/MatMul")
    mask = w.op("Cast", ["attention_mask"], "mask/Cast", to=TensorProto.FLOAT)
    mask = w.op("Unsqueeze", [mask, w.weight("axes", np.array([1, 2], np.int64))], "mask/Unsqueeze")
    mask = w.op("Sub", [mask, w.weight("one", np.array(1.0))], "mask/Sub")
    mask = w.op("Mul", [mask, w.weight("large", np.array(1e9))], "mask/Mul")
    weights = w.op("Softmax", [w.op("Add", [scores, mask], "scores/Add")], "scores/Softmax", axis=-1)
    y = w.op("Transpose", [w.op("MatMul", [weights, heads["value"]], "context/MatMul")], "context/T", perm=[0, 2, 1, 3])
    return w.op("Reshape", [y, w.weight("join", np.array([0, 0, D], np.int64))], "context/Reshape")


def _gelu(w: Writer, x: str) -> str:
    y = w.op("Div", [x, w.weight("root2", np.array(2**0.5))], "gelu/Div")
    y = w.op("Add", [w.op("Erf", [y], "gelu/Erf"), w.weight("gelu_one", np.array(1.0))], "gelu/Add")
    return w.op("Mul", [w.op("Mul", [y, w.weight("half", np.array(0.5))], "gelu/Mul"), x], "gelu/Mul_1")


def _mean(w: Writer) -> None:
    last = w.weight("last_axis", np.array([-1], np.int64))
    one = w.weight("axis_1", np.array([1], np.int64))
    mask = w.op("Cast", ["attention_mask"], "pool/Cast", to=TensorProto.FLOAT)
    mask = w.op("Unsqueeze", [mask, last], "pool/Unsqueeze")
    total = w.op("Mul", ["last_hidden_state", mask], "pool/Mul")
    total = w.op("ReduceSum", [total, one], "pool/ReduceSum", keepdims=0)
    count = w.op("ReduceSum", [mask, one], "pool/ReduceSum_1", keepdims=0)
    w.op("Div", [total, count], "pool/Div")
    w.nodes[-1].output[0] = "sentence_embedding"


def tiny_tokenizer(folder: Path) -> BertTokenizerFast:
    """A tokenizer of WORDS."""
    words = WORDS + [f"[unused{number}]" for number in range(V - len(WORDS))]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    return BertTokenizerFast(vocab_file=folder / "vocab.txt")


def sentences(count: int, seed: int = 0) -> list[str]:
    """Different texts of 6 to 30 words."""
    rng = np.random.default_rng(seed)
    words = WORDS[5:]
    return [" ".join(rng.choice(words, size=int(rng.integers(6, 31)))) for _ in range(count)]


def run(model: ir.Model, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Every output by name, from ONNX Runtime; integers of files for other processors are added exactly, too."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry(EXACT_INTEGERS, "1")
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def operators(model: ir.Model) -> Counter[str]:
    """How many nodes of each operator."""
    return Counter(node.op_type for node in model.graph)


def set_weight(model: ir.Model, name: str, array: np.ndarray) -> None:
    """Put other data into an initializer."""
    model.graph.initializers[name].const_value = ir.tensor(array.astype(np.float32), name=name)


def weight(model: ir.Model, name: str) -> np.ndarray:
    """A copy of the data of an initializer."""
    return model.graph.initializers[name].const_value.numpy().copy()
