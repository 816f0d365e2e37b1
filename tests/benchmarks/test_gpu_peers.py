"""The peers of the benchmark on a GPU compute what the eager model does, with the operators that make them fast."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from packed_reference import run_packed
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.gpu import peers
from benchmarks.gpu.batches import batches
from benchmarks.gpu.machine import judge_of, prepared_module
from benchmarks.gpu.measure import Inputs, Judge
from benchmarks.gpu.models import TINY, load_peer, random_checkpoint
from benchmarks.gpu.peers import peer_graphs
from benchmarks.gpu.varlen import VarlenBert
from export.verification.emulated import twin_of

LAYERS = TINY["num_hidden_layers"]
OPTIMIZER, PACKING, MULTI_HEAD = "onnxruntime optimizer", "onnxruntime packing", "onnxruntime packing, multi-head"
#: Attention of each peer.
ATTENTION = {OPTIMIZER: "Attention", PACKING: "PackedAttention", MULTI_HEAD: "PackedMultiHeadAttention"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_checkpoint(tmp_path_factory.mktemp("peers"), TINY)


@pytest.fixture(scope="module", params=["fp32", "fp16"])
def precision(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def made(checkpoint: Path, precision: str) -> dict[str, Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peers, "_PEERS", {name: peers._PEERS[name] for name in ATTENTION})
        found, refused = peer_graphs(checkpoint, checkpoint.parent, precision)
    assert refused == {}
    return found


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    """Half filled, so that a mask that is overlooked shows."""
    *_, half = batches(5, 11, TINY["vocab_size"])
    return half.inputs


@pytest.fixture(scope="module")
def judge(checkpoint: Path, inputs: Inputs) -> Judge:
    return judge_of(load_peer(checkpoint, "eager", "cpu"), "cpu", inputs)


def states(name: str, path: Path, inputs: Inputs) -> np.ndarray:
    """By ONNX Runtime on the CPU, rounding emulated; without kernels there, by the definitions of the operators."""
    if name != OPTIMIZER:
        return run_packed(ir.load(path), inputs)["last_hidden_state"]
    with twin_of(path) as (twin, _):
        session = onnxruntime.InferenceSession(twin, providers=["CPUExecutionProvider"])
        return np.asarray(session.run(None, inputs)[0])


@pytest.mark.parametrize("name", [OPTIMIZER, PACKING, MULTI_HEAD])
def test_a_peer_computes_what_the_eager_model_does(
    name: str, made: dict[str, Path], precision: str, inputs: Inputs, judge: Judge
) -> None:
    found = states(name, made[name], inputs)
    assert found.dtype == np.float32
    assert judge(torch.from_numpy(found)) < {"fp32": 2e-6, "fp16": 1e-2}[precision]


@pytest.mark.parametrize("name", [OPTIMIZER, PACKING, MULTI_HEAD])
def test_a_peer_has_the_operators_that_make_it_fast(name: str, made: dict[str, Path], precision: str) -> None:
    model = onnx.load(made[name])
    counts = Counter(node.op_type for node in model.graph.node)
    assert counts[ATTENTION[name]] == LAYERS
    assert counts["SkipLayerNormalization"] == 2 * LAYERS
    assert counts["EmbedLayerNormalization"] == 1
    assert counts["Softmax"] == 0
    assert counts["RemovePadding"] == counts["RestorePadding"] == (name != OPTIMIZER)
    weights = {weight.data_type for weight in model.graph.initializer if len(weight.dims) == 2}
    assert weights == {TensorProto.FLOAT16 if precision == "fp16" else TensorProto.FLOAT}


def test_torch_on_real_tokens_alone_computes_what_the_eager_model_does(
    checkpoint: Path, inputs: Inputs, judge: Judge
) -> None:
    """Attention, for which torch has kernels on GPUs alone, is text by text here."""

    def attend(
        query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, starts: torch.Tensor, longest: int
    ) -> torch.Tensor:
        assert longest == 11
        assert starts.dtype == torch.int32
        texts = [
            scaled_dot_product_attention(*(part[begin:end].transpose(0, 1) for part in (query, key, value)))
            for begin, end in pairwise(starts.tolist())
        ]
        return torch.cat(texts, 1).transpose(0, 1)

    module = VarlenBert(load_peer(checkpoint, "sdpa", "cpu"), attend)
    found = prepared_module(module, "cpu", False, inputs).output()
    assert judge(found) < 2e-6
    assert (found.numpy()[inputs["attention_mask"] == 0] == 0).all()


def test_graphs_are_made_once_and_no_broken_one_stays(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def fails(checkpoint: Path, precision: str, path: Path) -> None:
        calls.append("fails")
        path.write_bytes(b"half a graph")
        raise OSError("the disk is full\nand more")

    def works(checkpoint: Path, precision: str, path: Path) -> None:
        calls.append("works")
        path.write_bytes(b"a graph")

    monkeypatch.setattr(peers, "_PEERS", {"bad": fails, "good": works})
    for _ in range(2):
        made, refused = peer_graphs(checkpoint, tmp_path, "fp16")
        assert made == {"good": tmp_path / "good-fp16.onnx"}
        assert refused == {"bad": "OSError: the disk is full"}
    assert calls == ["fails", "works", "fails"]


def test_an_optimizer_that_found_no_attention_is_no_peer(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "none", [port], [result])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "exported.onnx"
    )
    monkeypatch.setattr(peers, "_PEERS", {OPTIMIZER: peers._PEERS[OPTIMIZER]})
    _, refused = peer_graphs(checkpoint, tmp_path, "fp32")
    assert refused == {OPTIMIZER: f"ValueError: the optimizer fused 0 of {LAYERS} attentions"}
