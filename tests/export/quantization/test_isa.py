"""Instruction sets: what saturates where, against exact arithmetic with the most extreme values."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
from tiny_encoder import Writer

from bert_onnx.errors import UsageError
from export.plan import check_precision
from export.quantization.integer_weights import round_by_output, round_nearest
from export.quantization.isa import ISAS, Isa, find_isa
from export.request import PrecisionRequest
from export.targets import TARGETS
from runtimes.engines.base import RuntimeOptions
from runtimes.engines.ort.session import session_options
from runtimes.machine.processor import this_processor

#: Columns of extreme weights: all largest, all smallest, by turns, in pairs.
PATTERNS = ((1, 1, 1, 1), (-1, -1, -1, -1), (1, -1, 1, -1), (1, 1, -1, -1), (1, 0, 0, -1))


def extreme_weights(isa: Isa, rows: int) -> np.ndarray:
    """int8 [rows, 20]: as large as the row of the table lets them be, each with the pair that it then may have."""
    largest = isa.weight_limit
    columns = [np.resize(pattern, rows) * largest for pattern in PATTERNS for _ in range(4)]
    weights = np.stack(columns, axis=1)
    if isa.pair_limit is not None:
        even, odd = weights[0::2], weights[1::2]
        same = even * odd > 0
        odd[same] = np.sign(odd[same]) * (isa.pair_limit - largest)
        for column in range(0, weights.shape[1], 4):  # and the sum of a pair spread evenly over both
            halves = np.where(same[:, column], isa.pair_limit // 2, np.abs(even[:, column]))
            even[:, column] = np.sign(even[:, column]) * halves
            odd[:, column] = np.where(same[:, column], even[:, column], odd[:, column])
    return weights.astype(np.int8)


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


def test_what_the_table_allows_saturates_only_where_the_instruction_set_adds_in_32_bits() -> None:
    x = np.full((3, 64), 255, np.uint8)
    for isa in (ISAS["avx512_vnni"], ISAS["avx2"]):
        weights = extreme_weights(isa, 64)
        exact = x.astype(np.int64) @ weights.astype(np.int64)
        assert (vpmaddubsw(x, weights) == exact).all() == (isa.name == "avx2")


def test_no_pair_beyond_the_limit_of_avx2_would_be_exact() -> None:
    x = np.full((1, 2), 255, np.uint8)
    for first in range(2, 127):
        for second in (128 - first, 129 - first):
            for sign in (1, -1):
                w = sign * np.array([[first], [second]], np.int8)
                assert (vpmaddubsw(x, w)[0, 0] == sign * 255 * (first + second)) == (first + second <= 128)


@pytest.mark.parametrize("round_weights", ["nearest", "by output"])
@pytest.mark.parametrize("rows", [64, 65, 384])
def test_rounded_weights_never_saturate_on_avx2(round_weights: str, rows: int) -> None:
    rng = np.random.default_rng(rows)
    weight = rng.standard_t(3, size=(rows, 24)).astype(np.float32)
    weight[rng.integers(0, rows, 6), rng.integers(0, 24, 6)] *= 20  # outliers
    weight[:, 3] = np.abs(weight[:, 3])
    seen = rng.normal(size=(500, rows)) @ rng.normal(size=(rows, rows))
    limit, pair = ISAS["avx2"].weight_limit, ISAS["avx2"].pair_limit
    rounded = (
        round_nearest(weight, limit, pair=pair)
        if round_weights == "nearest"
        else round_by_output(weight, seen.T @ seen, limit, pair=pair)
    )
    even, odd = rounded.values[: rows // 2 * 2 : 2].astype(int), rounded.values[1::2].astype(int)
    assert np.abs(even + odd)[even * odd > 0].max() in (127, 128)  # the limit is used, and kept
    for x in (np.full((1, rows), 255, np.uint8), rng.integers(0, 256, (50, rows), np.uint8)):
        padded = np.pad(x, ((0, 0), (0, rows % 2))), np.pad(rounded.values, ((0, rows % 2), (0, 0)))
        assert (vpmaddubsw(*padded) == x.astype(np.int64) @ rounded.values.astype(np.int64)).all()


def test_pairs_cost_less_than_seven_bits() -> None:
    weight = np.random.default_rng(2).normal(size=(384, 384)).astype(np.float32)
    paired, seven, eight = (
        float(np.mean((round_nearest(weight, limit, pair=pair).dequantize() - weight) ** 2))
        for limit, pair in ((127, 128), (63, None), (127, None))
    )
    assert eight < paired < 0.6 * seven


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_only_rows_2k_and_2k_plus_1_are_added_in_16_bits(runtime: str) -> None:
    """What the pair limit rests on, asked of the kernels that are here."""
    if not this_processor().saturates("avx512_vnni"):
        pytest.skip("this processor adds in 32 bits")
    pairs = [(first, second) for first in range(8) for second in range(first + 1, 8)]
    weights = np.zeros((32, len(pairs)), np.int8)
    for column, pair in enumerate(pairs):
        weights[[8 + row for row in pair], column] = 127
    model, x = integer_product(ISAS["avx512_vnni"], weights, 0), np.full((5, 32), 255, np.float32)
    found = _on_onnxruntime(model, x, exact=False) if runtime == "onnxruntime" else _on_openvino(model, x)
    wrong = [pair for pair, value in zip(pairs, found[0], strict=True) if value != 2 * 255 * 127]
    assert wrong == [(0, 1), (2, 3), (4, 5), (6, 7)]


@pytest.mark.parametrize("isa", ISAS.values(), ids=lambda isa: isa.name)
@pytest.mark.parametrize("zero_point", [0, 128, 255])
@pytest.mark.parametrize("rows", [64, 1536])
@pytest.mark.parametrize("exact_integers", [True, False], ids=["exact", "as for users"])
def test_onnx_runtime_is_exact_at_the_extremes(isa: Isa, zero_point: int, rows: int, exact_integers: bool) -> None:
    if not exact_integers and this_processor().saturates(isa.name):
        pytest.skip("this processor has no VNNI: 8-bit weights saturate, which is why the avx2 row exists")
    weights = extreme_weights(isa, rows)
    levels = np.stack(
        [np.zeros(rows), np.full(rows, 255), np.resize([0, 255], rows), np.resize([255, 255, 0, 0], rows)]
    )
    x = (levels - zero_point).astype(np.float32)
    exact = x.astype(np.int64) @ weights.astype(np.int64)
    assert np.abs(exact).max() < 2**31
    found = _on_onnxruntime(integer_product(isa, weights, zero_point), x, exact_integers)
    np.testing.assert_allclose(found, exact, rtol=1e-6, atol=0)


def test_names_of_files_are_those_of_the_ecosystem() -> None:
    assert [isa.file_name for isa in ISAS.values() if isa.name != "tensorrt"] == [
        "model_qint8_avx512_vnni.onnx",
        "model_quint8_avx2.onnx",
        "model_qint8_arm64.onnx",
    ]


def test_processors_but_arm_have_unsigned_activations() -> None:
    assert {isa.name: (isa.activation_dtype.name, isa.activation_offset) for isa in ISAS.values()} == {
        "avx512_vnni": ("uint8", 0),
        "avx2": ("uint8", 0),
        "arm64": ("int8", 128),
        "tensorrt": ("int8", 128),
    }


def test_what_is_for_no_processor_is_no_choice_of_a_user() -> None:
    with pytest.raises(UsageError, match="tensorrt is none; use --target ort-tensorrt"):
        PrecisionRequest(("int8",), isas=("avx2", "tensorrt"))
    target = TARGETS["ort-tensorrt"]
    (plan,) = PrecisionRequest(("int8",), isas=("avx2", "arm64")).lower_plans(target)
    assert (plan.name, plan.isa) == ("model_ort_tensorrt_qint8", ISAS["tensorrt"])
    for method in ("dynamic", "weights"):
        with pytest.raises(UsageError, match=f"--method {method} has none; use --method static"):
            list(PrecisionRequest(("int8",), method=method).lower_plans(target))
    with pytest.raises(UsageError, match="TensorRT computes the fp32 file in it"):
        check_precision("fp16", target)


def test_an_unknown_set_is_refused() -> None:
    with pytest.raises(UsageError, match="'sse2' is unknown; choose one of avx512_vnni, avx2, arm64"):
        find_isa("sse2")


def _on_onnxruntime(model: ir.Model, x: np.ndarray, exact: bool) -> np.ndarray:
    options = session_options(ort, RuntimeOptions(exact_integers=exact), threads=1)
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(["y"], {"x": x})[0]


def _on_openvino(model: ir.Model, x: np.ndarray) -> np.ndarray:
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    graph = core.read_model(ir.to_proto(model).SerializeToString())
    compiled = core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled([x])[0]
