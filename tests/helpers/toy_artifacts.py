"""Graphs of a few nodes, and artifacts around them, so that runtimes are tested without an exporter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bert_onnx.artifact import SCHEMA_VERSION, Manifest, ModelLimits, OutputParity, Parity, Variant
from bert_onnx.artifact.publish import publish, seal, staging_folder
from bert_onnx.config import BertConfig
from bert_onnx.source import Source
from bert_onnx.tasks import Port, TaskOptions, find_task, input_ports, output_ports

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world", "good", "##bye", "night", "my", "."]
CONFIG = BertConfig(
    vocab_size=len(VOCABULARY),
    hidden_size=4,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=8,
    max_position_embeddings=16,
    pad_token_id=0,
)
TASK = find_task("sentence-similarity")
INPUTS = input_ports(TASK, CONFIG)
OUTPUTS = output_ports(TASK, CONFIG, TaskOptions())


def table(bad_token: str | None = None, bad_value: float = float("nan")) -> np.ndarray:
    """One vector for each token, [V, D]; that of `bad_token` holds `bad_value`."""
    vectors = np.random.default_rng(0).standard_normal((CONFIG.vocab_size, CONFIG.hidden_size)).astype(np.float32)
    if bad_token is not None:
        vectors[VOCABULARY.index(bad_token), 1] = bad_value
    return vectors


def embedding_graph(vectors: np.ndarray, opset: int = 17) -> onnx.ModelProto:
    """last_hidden_state is a look-up in `vectors` plus the token type, sentence_embedding its mean over real tokens."""
    nodes = [
        helper.make_node("Gather", ["vectors", "input_ids"], ["looked_up"]),
        helper.make_node("Cast", ["token_type_ids"], ["types"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["types", "last"], ["types_3d"]),
        helper.make_node("Add", ["looked_up", "types_3d"], ["last_hidden_state"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["mask_3d"]),
        helper.make_node("Mul", ["last_hidden_state", "mask_3d"], ["real"]),
        helper.make_node("ReduceSum", ["real", "second"], ["total"], keepdims=0),
        helper.make_node("ReduceSum", ["mask_3d", "second"], ["count"], keepdims=0),
        helper.make_node("Div", ["total", "count"], ["sentence_embedding"]),
    ]
    constants = {"vectors": vectors, "last": np.array([2], np.int64), "second": np.array([1], np.int64)}
    graph = helper.make_graph(
        nodes,
        "toy",
        [_value(port) for port in INPUTS],
        [_value(port) for port in OUTPUTS],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def _value(port: Port) -> onnx.ValueInfoProto:
    kind = {"int64": TensorProto.INT64, "float32": TensorProto.FLOAT}[port.dtype]
    return helper.make_tensor_value_info(port.name, kind, port.axes)


def save_graph(path: Path, vectors: np.ndarray | None = None) -> Path:
    """The toy graph as a file."""
    onnx.save(embedding_graph(table() if vectors is None else vectors), path)
    return path


def publish_toy(
    destination: Path,
    vectors: np.ndarray | None = None,
    force: bool = False,
    names: tuple[str, str] = ("model", "model_double"),
) -> Path:
    """An artifact with two variants of the toy graph; the second one's vectors are twice as long."""
    vectors = table() if vectors is None else vectors
    with staging_folder(destination) as stage:
        (stage / "onnx").mkdir()
        onnx.save(embedding_graph(vectors), stage / "onnx" / f"{names[0]}.onnx")
        onnx.save(embedding_graph(vectors * 2), stage / "onnx" / f"{names[1]}.onnx")
        (stage / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
        CONFIG.save_pretrained(stage)
        seal(stage, _manifest(names))
        return publish(stage, destination, force=force)


def _manifest(names: tuple[str, str]) -> Manifest:
    limits = ModelLimits(CONFIG.vocab_size, CONFIG.max_position_embeddings, CONFIG.type_vocab_size, 0, False)
    return Manifest(
        schema_version=SCHEMA_VERSION,
        bert_onnx="0.1.0",
        tools={"onnx": onnx.__version__},
        source=Source("toy", "random", None, "", 0),
        task=TASK.name,
        options=TaskOptions(),
        config=limits,
        model_max_length=12,
        inputs=INPUTS,
        outputs=OUTPUTS,
        variants=tuple(map(_variant, names)),
    )


def _variant(name: str) -> Variant:
    outputs = tuple(OutputParity(port.name, 0.0, 1e-5, "1x1", (0, 0)) for port in OUTPUTS)
    return Variant(
        name=name,
        file=f"onnx/{name}.onnx",
        data_file=None,
        target="portable",
        precision="fp32",
        opset=17,
        ir_version=8,
        nodes=10,
        size_bytes=0,
        operators={},
        fused={},
        passes=(),
        excluded_nodes=(),
        parity=Parity("pass", "none", "none", outputs, ("1x1",)),
    )
