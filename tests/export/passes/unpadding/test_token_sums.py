"""Poolings on packed tokens: sums and means as one product, `cls` as a look-up; all else stays padded."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx_ir as ir
import pytest
from builders import AXES, INT64, GraphBuilder, operators
from canonical_bert import eager_outputs
from export_samples import tiny_eager
from packed_reference import run_packed
from token_masks import feeds_for, masks

from bert_onnx.sentence_modules import Pooling, SpladePooling
from bert_onnx.tasks import TaskOptions
from export.passes.base import PassContext
from export.passes.table import run_passes
from export.passes.unpadding.token_sums import TokenSum, find_token_sums, is_first_token, is_masked
from export.quantization.float16.convert import convert_to_half
from export.reference.load import Eager
from export.targets import TARGETS
from export.trace.tracer import trace

#: Those that are sums over tokens, and what each is relative to.
MODES = ("mean", "cls", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
PROMPT = "prompt_length"
WIDTH = 32


@cache
def traced(include_prompt: bool) -> tuple[Eager, ir.Model]:
    """A tiny model that pools in every way, and its graph for CUDA without padding."""
    eager = tiny_eager("sentence-similarity", TaskOptions((Pooling(MODES, include_prompt),)), num_hidden_layers=1)
    model = trace(eager.module, 18)
    run_passes(model, TARGETS["ort-cuda-unpadded"].passes, PassContext(18, eager.config))
    return eager, model


def differences(eager: Eager, model: ir.Model, mask: np.ndarray, **more: np.ndarray) -> dict[str, float]:
    """By how much each pooling differs from the eager one, relative to its largest value."""
    feeds = {**feeds_for(eager.module, mask), **more}
    feeds["input_ids"] %= eager.config.vocab_size
    expected, found = (
        results["sentence_embedding"].reshape(len(mask), len(MODES), -1)
        for results in (eager_outputs(eager.module, feeds), run_packed(model, feeds))
    )
    scales = np.abs(expected).max(axis=(0, 2))
    return dict(zip(MODES, np.abs(found - expected).max(axis=(0, 2)) / scales, strict=True))


@pytest.mark.parametrize("what", ["full", "right", "first only"])
def test_every_pooling_is_the_eager_one(what: str) -> None:
    eager, model = traced(True)
    for rows, length in ((5, 11), (1, 1), (3, 1)):
        found = differences(eager, model, masks(rows, length, np.random.default_rng(1))[what])
        assert max(found.values()) < 1e-5, found


@pytest.mark.parametrize("length", [0, 1, 2])
def test_without_the_tokens_of_a_prompt(length: int) -> None:
    eager, model = traced(False)
    mask = (np.arange(11) < np.array([[11], [3], [7]])).astype(np.int64)
    found = differences(eager, model, mask, **{PROMPT: np.array([length])})
    assert max(found.values()) < 1e-5, found


def test_sparse_embeddings_need_no_mask() -> None:
    options = TaskOptions((SpladePooling("max"),))
    eager = tiny_eager("sparse-embedding", options, num_hidden_layers=1, hidden_size=16, intermediate_size=16)
    model = trace(eager.module, 18)
    run_passes(model, TARGETS["ort-cuda-unpadded"].passes, PassContext(18, eager.config))
    assert operators(model)["Mul"] == 0
    feeds = feeds_for(eager.module, masks(5, 11, np.random.default_rng(1))["right"])
    feeds["input_ids"] %= eager.config.vocab_size
    found, expected = run_packed(model, feeds), eager_outputs(eager.module, feeds)
    np.testing.assert_allclose(found["sparse_embedding"], expected["sparse_embedding"], atol=1e-5)


def test_products_with_the_mask_are_found() -> None:
    build = GraphBuilder()
    x, mask, other = build.input("x", [*AXES, 4]), build.input("m", AXES, INT64), build.input("o", AXES, INT64)
    axis = build.weight("axis", np.array([-1]))
    for of in (mask, other):
        wide = build.op("Unsqueeze", [of, axis], shape=[*AXES, 1], dtype=INT64)
        weights = build.op("Cast", [wide], {"to": 1}, shape=[*AXES, 1])
        assert is_masked(build.node("Mul", [x, weights]), x, mask) is (of is mask)
        assert is_masked(build.node("Mul", [weights, x]), x, mask) is (of is mask)
        assert not is_masked(build.node("Add", [x, weights]), x, mask)
        assert not is_masked(build.node("Mul", [x, build.op("Relu", [weights], shape=[*AXES, 1])]), x, mask)
    assert not is_masked(build.node("Mul", [x, x]), x, mask)


def test_fp16() -> None:
    eager, model = traced(True)
    half = model.clone()
    convert_to_half(half, "fp16")
    found = differences(eager, half, masks(5, 11, np.random.default_rng(1))["right"])
    assert max(found.values()) < 1e-2, found
    assert all(node.outputs[0].dtype == ir.DataType.FLOAT16 for node in half.graph if node.op_type == "MatMul")


def test_padded_tokens_are_read_by_nothing_but_the_maximum() -> None:
    _, model = traced(True)
    found = operators(model)
    assert found["com.microsoft.RestorePadding"] == 1
    (restored,) = (node.outputs[0] for node in model.graph if node.op_type == "RestorePadding")
    assert {user.op_type for user, _ in restored.uses()} == {"Where"}
    products = [node for node in model.graph if node.op_type == "MatMul" and node.inputs[0].producer() is not None]
    pooled = [node for node in products if node.inputs[0].producer().op_type == "Where"]  # type: ignore[union-attr]
    assert len(pooled) == len({"mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"})
    assert {node.inputs[1] for node in pooled} == {restored.producer().inputs[0]}  # type: ignore[union-attr]
    assert found["Equal"] == 2, "texts are told apart once, for all; another finds the last token"
    assert found["Gather"] == 2 + len(pooled), "the first token, whose text each token is of, and the weights"


def test_an_empty_text_gives_zeros_and_harms_nobody() -> None:
    eager, model = traced(True)
    mask = masks(5, 11, np.random.default_rng(1))["an empty row"]
    feeds = feeds_for(eager.module, mask)
    feeds["input_ids"] %= eager.config.vocab_size
    found = run_packed(model, feeds)["sentence_embedding"].reshape(5, len(MODES), -1)
    assert np.isfinite(found).all()
    assert not found[2, MODES.index("mean")].any()


# What is a sum over tokens, and what is not.


def sum_of(
    weights_axes: list[int | str], axes: int = 1, keepdims: int = 0, divisor: list[int | str] | None = None
) -> tuple[ir.Value, ir.Node, ir.Value, GraphBuilder]:
    """x, the product that begins a sum over it, the mask and the builder."""
    build = GraphBuilder()
    x, weights, mask = build.input("x", [*AXES, 4]), build.input("w", weights_axes), build.input("m", AXES, INT64)
    product = build.node("Mul", [x, weights], shape=[*AXES, 4])
    axis = build.weight("axis", np.array([axes]))
    total = build.op("ReduceSum", [product.outputs[0], axis], {"keepdims": keepdims}, shape=[AXES[0], 4])
    if divisor is not None:
        total = build.op("Div", [total, build.input("d", divisor)], shape=[AXES[0], 4])
    build.model({"y": total})
    return x, product, mask, build


def test_a_sum_and_a_mean_are_found() -> None:
    x, product, mask, build = sum_of([*AXES, 1])
    assert find_token_sums(product, x, mask, ()) == (TokenSum(build.graph.outputs[0], build.graph.inputs[1]),)
    x, product, mask, build = sum_of([*AXES, 1], divisor=[AXES[0], 1])
    found = find_token_sums(product, x, mask, ())
    assert found == (TokenSum(build.graph.outputs[0], build.graph.inputs[1], build.graph.inputs[3]),)
    (found,) = find_token_sums(product, x, mask, {build.graph.inputs[3]})
    assert found.divisor is None


def test_several_sums_and_means_of_one_product_are_found() -> None:
    x, product, mask, build = sum_of([*AXES, 1], divisor=[AXES[0], 1])
    total = build.graph[1]
    second = build.node("Div", [total.outputs[0], build.input("e", [AXES[0], 1])])
    third = build.node("ReduceSum", total.inputs, {"keepdims": 0})
    build.graph.outputs.append(third.outputs[0])
    found = find_token_sums(product, x, mask, ())
    assert {one.result for one in found} == {build.graph.outputs[0], second.outputs[0], third.outputs[0]}
    build.graph.outputs.append(total.outputs[0])
    assert {one.result for one in find_token_sums(product, x, mask, ())} == {total.outputs[0], third.outputs[0]}


def test_a_divisor_of_each_value_stays_behind_the_sum() -> None:
    x, product, mask, build = sum_of([*AXES, 1], divisor=[AXES[0], 4])
    (found,) = find_token_sums(product, x, mask, ())
    assert found.divisor is None
    assert found.result is not build.graph.outputs[0]


@pytest.mark.parametrize(
    ("weights", "changes"),
    [
        ([1, AXES[1], 1], {}),
        ([*AXES, 4], {}),
        ([AXES[1], 1], {}),
        ([*AXES, 1], {"axes": 2}),
        ([*AXES, 1], {"keepdims": 1}),
    ],
)
def test_other_sums_are_not(weights: list[int | str], changes: dict[str, int]) -> None:
    x, product, mask, _ = sum_of(weights, **changes)
    assert find_token_sums(product, x, mask, ()) == ()


def test_not_with_weights_that_come_from_the_tokens_or_a_product_that_is_read_elsewhere() -> None:
    x, product, mask, build = sum_of([*AXES, 1])
    assert find_token_sums(product, x, mask, {build.graph.inputs[1]}) == ()
    build.op("Relu", [product.outputs[0]])
    assert find_token_sums(product, x, mask, ()) == ()
    assert find_token_sums(next(iter(mask.uses()), (product, 0))[0], mask, mask, ()) == ()


def first_token(falls: bool = True, floor: int = 0, reduced: int = 1, same: bool = True, begin: int = 0) -> bool:
    """What is said of weights that are spelled as `cls` is, but for what is asked."""
    build = GraphBuilder()
    mask, length = build.input("m", AXES, INT64), build.input("s", [], INT64)
    zero, one = build.weight("zero", np.array(0)), build.weight("one", np.array(1))
    axis = build.weight("axis", np.array([0]))
    places = build.op(
        "Unsqueeze",
        [build.op("Range", [build.weight("begin", np.array(begin)), length, one], dtype=INT64), axis],
        dtype=INT64,
    )
    left = build.op("Sub", [length, places] if falls else [places, length], dtype=INT64)
    real = build.op("Greater", [mask, build.weight("floor", np.array(floor))], dtype=ir.DataType.BOOL)
    masked = build.op("Where", [real, left, zero], dtype=INT64)
    reduce = build.weight("reduce", np.array([reduced]))
    largest = build.op("ReduceMax", [masked, reduce], {"keepdims": 1}, dtype=INT64)
    equal = build.op("Equal", [left if same else places, largest], dtype=ir.DataType.BOOL)
    weights = build.op("Cast", [build.op("Unsqueeze", [equal, axis])], {"to": 1})
    return is_first_token(weights, mask) and not is_first_token(weights, length)


def test_weights_of_the_first_token() -> None:
    assert first_token()
    assert not first_token(falls=False)
    assert not first_token(floor=1)
    assert not first_token(reduced=0)
    assert not first_token(same=False)
    assert not first_token(begin=3), "nothing would stand below the places that are left"
