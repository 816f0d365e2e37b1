"""Instruction sets: what saturates where, against exact arithmetic with the most extreme values."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
from tiny_encoder import Writer

from bert_onnx.errors import UsageError
from export.quantization.isa import ISAS, Isa, find_isa
from runtimes.base import RuntimeOptions
from runtimes.onnxruntime_session import session_options
from runtimes.processor import this_processor

#: Columns of extreme weights: all largest, all smallest, by turns, in pairs.
PATTERNS = ((1, 1, 1, 1), (-1, -1, -1, -1), (1, -1, 1, -1), (1, 1, -1, -1), (1, 0, 0, -1))


def extreme_weights(limit: int, rows: int) -> np.ndarray:
    """int8 [rows, 20]."""
    columns = [np.resize(pattern, rows) * limit for pattern in PATTERNS for _ in range(4)]
    return np.stack(columns, axis=1).astype(np.int8)


def vpmaddubsw(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """x uint8 [N, I] times w int8 [I, O] as AVX2 does it: pairs of products saturate at 16 bits."""
    products = x[:, :, None].astype(np.int64) * w[None].astype(np.int64)
    pairs = products[:, 0::2] + products[:, 1::2]
    return np.clip(pairs, -(2**15), 2**15 - 1).sum(axis=1)


def integer_product(isa: Isa, weights: np.ndarray, zero_point: int) -> ir.Model:
    """DQ(Q(x)) times DQ(W), scales of 1, so that the answer is a whole number."""
    w = Writer()
    one = w.weight("one", np.array(1.0))
    point = w.weight("zero", np.array(zero_point - isa.activation_offset, isa.activation_dtype))
    x = w.op("DequantizeLinear", [w.op("QuantizeLinear", ["x", one, point], "q"), one, point], "d")
    scales, zeros = w.weight("s", np.ones(weights.shape[1])), w.weight("z", np.zeros(weights.shape[1], np.int8))
    y = w.op("DequantizeLinear", [w.weight("w", weights), scales, zeros], "dw", axis=1)
    w.op("MatMul", [x, y], "product")
    w.nodes[-1].output[0] = "y"
    return w.model({"x": ["n", len(weights)]}, {"y": ["n", weights.shape[1]]}, integers=False)


def test_pairs_of_the_largest_products_saturate_with_8_bits_and_not_with_7() -> None:
    x = np.full((3, 64), 255, np.uint8)
    for isa in (ISAS["avx512_vnni"], ISAS["avx2"]):
        weights = extreme_weights(isa.weight_limit, 64)
        exact = x.astype(np.int64) @ weights.astype(np.int64)
        assert (vpmaddubsw(x, weights) == exact).all() == (isa.weight_limit == 63)


def test_no_weight_beyond_the_limit_of_avx2_would_be_exact() -> None:
    x = np.full((1, 2), 255, np.uint8)
    for weight in range(64, 128):
        w = np.full((2, 1), weight, np.int8)
        assert (vpmaddubsw(x, w)[0, 0] == 2 * 255 * weight) == (weight == 64)


@pytest.mark.parametrize("isa", ISAS.values(), ids=lambda isa: isa.name)
@pytest.mark.parametrize("zero_point", [0, 128, 255])
@pytest.mark.parametrize("rows", [64, 1536])
@pytest.mark.parametrize("exact_integers", [True, False], ids=["exact", "as for users"])
def test_onnx_runtime_is_exact_at_the_extremes(isa: Isa, zero_point: int, rows: int, exact_integers: bool) -> None:
    if not exact_integers and this_processor().saturates(isa.name):
        pytest.skip("this processor has no VNNI: 8-bit weights saturate, which is why the avx2 row exists")
    weights = extreme_weights(isa.weight_limit, rows)
    levels = np.stack(
        [np.zeros(rows), np.full(rows, 255), np.resize([0, 255], rows), np.resize([255, 255, 0, 0], rows)]
    )
    x = (levels - zero_point).astype(np.float32)
    exact = x.astype(np.int64) @ weights.astype(np.int64)
    assert np.abs(exact).max() < 2**31
    options = session_options(ort, RuntimeOptions(exact_integers=exact_integers), threads=1)
    graph = ir.to_proto(integer_product(isa, weights, zero_point)).SerializeToString()
    found = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"]).run(["y"], {"x": x})[0]
    np.testing.assert_allclose(found, exact, rtol=1e-6, atol=0)


def test_names_of_files_are_those_of_the_ecosystem() -> None:
    assert [isa.file_name for isa in ISAS.values()] == [
        "model_qint8_avx512_vnni.onnx",
        "model_quint8_avx2.onnx",
        "model_qint8_arm64.onnx",
    ]


def test_only_arm_has_signed_activations() -> None:
    assert {isa.name: (isa.activation_dtype.name, isa.activation_offset) for isa in ISAS.values()} == {
        "avx512_vnni": ("uint8", 0),
        "avx2": ("uint8", 0),
        "arm64": ("int8", 128),
    }


def test_an_unknown_set_is_refused() -> None:
    with pytest.raises(UsageError, match="'sse2' is unknown; choose one of avx512_vnni, avx2, arm64"):
        find_isa("sse2")
