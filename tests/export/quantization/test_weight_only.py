"""Weights alone, and a per-token scale: layout of files, arithmetic, rounding, refusals."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator
from tiny_encoder import MATMULS, PORTS, Writer, operators, run, sentences, set_weight, tiny_encoder, tiny_tokenizer
from tiny_encoder import weight as weight_in

from bert_onnx.errors import CheckpointError, UsageError
from bert_onnx.tokenization import BertTokenizerFast
from export.onnx_file.save import save
from export.quantization.feeds import calibration_feeds
from export.quantization.int8.dynamic import quantize_dynamic
from export.quantization.integer_weights import round_by_output, round_nearest
from export.quantization.isa import ISAS
from export.quantization.result import QuantizationResult
from export.quantization.weight_only.insert import BLOCK, pack
from export.quantization.weight_only.quantize import quantize_weights

FEEDS = {
    "input_ids": np.array([[2, 9, 14, 22, 3], [2, 30, 3, 0, 0]]),
    "attention_mask": np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
}
INT8 = partial(quantize_weights, precision="int8")
INT4 = partial(quantize_weights, precision="int4")
INT8_BITS = partial(INT8, nbits=True)
INT4_BITS = partial(INT4, nbits=True)
DYNAMIC = partial(quantize_dynamic, isa=ISAS["avx512_vnni"])

Method = Callable[[ir.Model], QuantizationResult]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> BertTokenizerFast:
    return tiny_tokenizer(tmp_path_factory.mktemp("vocabulary"))


def encoder(opset: int = 18) -> ir.Model:
    model = tiny_encoder()
    model.graph.opset_imports[""] = opset
    model.ir_version = 10 if opset > 20 else 8
    return model


def test_blocks_have_scales_of_their_own() -> None:
    w = np.random.default_rng(0).normal(size=(80, 24)).astype(np.float32)
    w[32:64] *= 100
    rounded = round_nearest(w, 7, BLOCK)
    assert rounded.scales.shape == (3, 24)
    assert np.abs(rounded.values).max() == 7
    steps = np.repeat(rounded.scales, BLOCK, axis=0)[:80]
    assert (np.abs(rounded.dequantize() - w) <= steps / 2 * 1.001).all()
    assert np.linalg.norm(rounded.dequantize() - w) < 0.2 * np.linalg.norm(round_nearest(w, 7).dequantize() - w) * 5


def test_rounding_blocks_by_output_keeps_it_better() -> None:
    rng = np.random.default_rng(1)
    mix = rng.normal(size=(96, 96)) * np.exp(rng.normal(size=96))
    seen, unseen = ((rng.normal(size=(800, 96)) @ mix).astype(np.float32) for _ in range(2))
    w = rng.normal(size=(96, 40)).astype(np.float32)
    errors = [
        float(np.linalg.norm(unseen @ (rounded.dequantize() - w)))
        for rounded in (round_nearest(w, 7, BLOCK), round_by_output(w, seen.T.astype(np.float64) @ seen, 7, BLOCK))
    ]
    assert errors[1] < 0.7 * errors[0]


def test_two_small_weights_share_a_byte_and_the_first_is_below() -> None:
    w = np.zeros((40, 1), np.float32)
    w[0], w[1], w[2], w[39] = 7, -7, 3, 5
    packed = pack(round_nearest(w, 7, BLOCK), 4)
    assert packed.shape == (1, 2, 16)
    assert packed[0, 0, 0] == (7 + 8) | ((-7 + 8) << 4)
    assert packed[0, 0, 1] == (3 + 8) | (8 << 4)
    assert packed[0, 1, 3] == 8 | ((7 + 8) << 4)  # 5 is the largest of its block
    assert (packed[0, 1, 4:] == 0x88).all()


@pytest.mark.parametrize(("method", "limit"), [(INT8_BITS, 127), (INT4_BITS, 7)])
@pytest.mark.parametrize("rows", [64, 96, 40])
def test_onnx_runtime_multiplies_with_the_weights_that_were_rounded(method: Method, limit: int, rows: int) -> None:
    rng = np.random.default_rng(2)
    w = Writer()
    matrix = rng.normal(size=(rows, 24)).astype(np.float32)
    w.op("MatMul", ["x", w.weight("w", matrix)], "a/MatMul")
    w.nodes[-1].output[0] = "y"
    model = w.model({"x": ["n", rows]}, {"y": ["n", 24]}, integers=False)
    found = method(model)
    for node in found.model.graph:
        node.attributes["accuracy_level"] = ir.AttrInt64("accuracy_level", 1)  # activations in float
    x = rng.normal(size=(5, rows)).astype(np.float32)
    expected = x @ round_nearest(matrix, limit, BLOCK).dequantize()
    np.testing.assert_allclose(run(found.model, x=x)["y"], expected, atol=1e-4 * np.abs(expected).max())


def test_int4_in_standard_operators_is_what_the_standard_says() -> None:
    found = INT4(encoder(21))
    nodes = [node for node in found.model.graph if node.op_type == "DequantizeLinear"]
    assert len(nodes) == len(MATMULS)
    for node in nodes:
        assert node.inputs[0].const_value.dtype == ir.DataType.INT4
        assert (node.attributes["block_size"].as_int(), node.attributes["axis"].as_int()) == (32, 0)
    reference = ReferenceEvaluator(ir.to_proto(found.model)).run(["last_hidden_state"], FEEDS)[0]
    actual = run(found.model, **FEEDS)["last_hidden_state"]  # ONNX Runtime rounds activations, block by block
    assert np.linalg.norm(actual - reference) < 0.02 * np.linalg.norm(reference)


def test_files_are_small(tmp_path: Path) -> None:
    def size(model: ir.Model, name: str) -> int:
        save(model, tmp_path / name)
        return sum(v.const_value.nbytes for v in model.graph.initializers.values())

    whole = size(encoder(), "float.onnx")
    for name, method, opset, share in (
        ("int8", INT8, 18, 0.32), ("int4", INT4, 21, 0.27), ("dynamic", DYNAMIC, 18, 0.32)
    ):  # fmt: skip
        found = method(encoder(opset))
        assert size(found.model, f"{name}.onnx") < share * whole
        assert ir.load(tmp_path / f"{name}.onnx").graph.num_nodes() == found.model.graph.num_nodes()


def test_texts_make_int4_better(tokenizer: BertTokenizerFast) -> None:
    expected = run(encoder(), **FEEDS)["last_hidden_state"]
    errors = [
        float(np.linalg.norm(run(INT4_BITS(encoder(), feeds=feeds).model, **FEEDS)["last_hidden_state"] - expected))
        for feeds in ((), calibration_feeds(sentences(96), PORTS, tokenizer, 256).fit)
    ]
    assert errors[1] < errors[0]


def test_a_per_token_scale_is_computed_from_that_token_alone() -> None:
    found = DYNAMIC(encoder())
    counts = operators(found.model)
    assert counts["QuantizeLinear"] == counts["ReduceMax"] == counts["Abs"] == 4
    assert counts["DequantizeLinear"] == 4 + len(MATMULS)
    assert "DynamicQuantizeLinear" not in counts
    together = run(found.model, **FEEDS)["last_hidden_state"]
    alone = run(found.model, **{name: array[1:, :3] for name, array in FEEDS.items()})["last_hidden_state"]
    np.testing.assert_allclose(alone[0], together[1, :3], atol=1e-5)


@pytest.mark.parametrize("isa", ["avx512_vnni", "avx2", "arm64"])
def test_one_token_does_not_spoil_another(isa: str) -> None:
    """A token a thousand times as large leaves the error of the others where it was, and zeros stay zeros."""
    rng = np.random.default_rng(5)
    w = Writer()
    matrix = rng.normal(size=(64, 24)).astype(np.float32)
    w.op("MatMul", ["x", w.weight("w", matrix)], "a/MatMul")
    w.nodes[-1].output[0] = "y"
    model = w.model({"x": ["n", 64]}, {"y": ["n", 24]}, integers=False)
    found = quantize_dynamic(model, ISAS[isa])
    x = rng.normal(size=(6, 64)).astype(np.float32)
    x[0] *= 1000
    x[1] = 0
    y, exact = run(found.model, x=x)["y"], x @ matrix
    assert not y[1].any()
    for row in (0, 2, 3, 4, 5):
        assert np.linalg.norm(y[row] - exact[row]) < 0.03 * np.linalg.norm(exact[row])


def test_int4_needs_an_opset_that_has_it() -> None:
    with pytest.raises(UsageError, match="needs opset 21, and this graph has 18; export it with --opset 21"):
        INT4(encoder())


@pytest.mark.parametrize("method", [DYNAMIC, INT8_BITS, INT8])
def test_every_method_refuses_what_it_cannot_use(method: Method) -> None:
    damaged = encoder()
    array = weight_in(damaged, "ffn1.weight")
    array[3, 4] = np.inf
    set_weight(damaged, "ffn1.weight", array)
    with pytest.raises(CheckpointError, match=r"ffn1.weight\[3, 4\] is inf; such weights cannot be quantized"):
        method(damaged)
    with pytest.raises(UsageError, match="already quantized"):
        method(INT8_BITS(encoder()).model)
    w = Writer()
    w.op("Relu", ["x"], "relu")
    w.nodes[-1].output[0] = "y"
    with pytest.raises(UsageError, match="no MatMul with constant weights"):
        method(w.model({"x": ["n", 8]}, {"y": ["n", 8]}, integers=False))
