"""Insertion: which operators appear where, that they compute what the recipe says, and that nothing else changes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator
from tiny_encoder import MATMULS, Writer, operators, run, tiny_encoder, weight

from export.quantization.insert_qdq import insert_recipes
from export.quantization.isa import ISAS
from export.quantization.ranges import make_range
from export.quantization.recipe import Recipe, Structure
from export.quantization.sites import Site, find_sites, weights_of
from export.quantization.weights import round_nearest


def recipe(
    model: ir.Model, site: Site, structure: Structure, outliers: Sequence[int] = (3, 9), limit: int = 127
) -> Recipe:
    """A recipe with made-up numbers that lose little."""
    smoothing = np.linspace(0.7, 1.4, site.inputs).astype(np.float32) if structure.smoothed else None
    taken = tuple(outliers) if structure.splits else ()
    weights = []
    for one in weights_of(model, site):
        scaled = one if smoothing is None else one * smoothing[:, None]
        scaled = scaled.copy()
        scaled[list(taken)] = 0
        weights.append(round_nearest(scaled, limit))
    activation = None if structure is Structure.FLOAT else make_range(-15.0, 20.0)
    return Recipe(site, structure, tuple(weights), activation, smoothing, taken)


@cache
def inputs() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    mask = np.ones((3, 11), np.int64)
    mask[1, 6:] = mask[2, 3:] = 0
    return {"input_ids": rng.integers(5, 40, (3, 11)), "attention_mask": mask}


def quantized(structure: Structure, isa: str = "avx512_vnni") -> tuple[ir.Model, ir.Model]:
    model = tiny_encoder(outlier=2.0)
    copy = model.clone()
    recipes = [recipe(model, site, structure, limit=ISAS[isa].weight_limit) for site in find_sites(model)]
    insert_recipes(copy, recipes, ISAS[isa])
    return model, copy


@pytest.mark.parametrize("structure", Structure)
def test_the_operators_are_exactly_those_of_the_structure(structure: Structure) -> None:
    model, copy = quantized(structure)
    sites, added = len(find_sites(model)), operators(copy) - operators(model)
    assert sites == 4
    assert not operators(model) - operators(copy)
    expected = {
        Structure.PLAIN: {"QuantizeLinear": 4, "DequantizeLinear": 4 + 6},
        Structure.SMOOTHED: {"QuantizeLinear": 4, "DequantizeLinear": 10, "Mul": 4},
        Structure.OUTLIERS: {"QuantizeLinear": 4, "DequantizeLinear": 10, "Gather": 4, "MatMul": 6, "Add": 6},
        Structure.BOTH: {"QuantizeLinear": 4, "DequantizeLinear": 10, "Mul": 4, "Gather": 4, "MatMul": 6, "Add": 6},
        Structure.FLOAT: {"Cast": 6, "Mul": 6},
    }
    assert dict(added) == expected[structure]


@pytest.mark.parametrize("structure", Structure)
def test_only_inputs_of_weight_matmuls_are_quantised(structure: Structure) -> None:
    _, copy = quantized(structure)
    for node in copy.graph:
        if node.op_type == "DequantizeLinear":
            readers = {user for user, _ in node.outputs[0].uses()}
            assert {reader.op_type for reader in readers} == {"MatMul"}
            assert {reader.name.partition("/")[0] for reader in readers} <= set(MATMULS)
        if node.name in ("scores/MatMul", "context/MatMul"):
            assert all(value.producer().op_type in ("Transpose", "Softmax") for value in node.inputs)


@pytest.mark.parametrize("structure", Structure)
def test_the_answers_stay_close(structure: Structure) -> None:
    model, copy = quantized(structure)
    expected, actual = run(model, **inputs()), run(copy, **inputs())
    real = inputs()["attention_mask"] > 0
    for name in expected:
        assert expected[name].shape == actual[name].shape
    a, b = expected["last_hidden_state"][real], actual["last_hidden_state"][real]
    error = float(np.linalg.norm(a - b) / np.linalg.norm(a))
    assert 1e-5 < error < 0.15  # levels of a wide made-up range


@pytest.mark.parametrize("structure", Structure)
@pytest.mark.parametrize("isa", ["avx512_vnni", "avx2"])
def test_onnx_runtime_computes_what_the_operators_mean(structure: Structure, isa: str) -> None:
    _, copy = quantized(structure, isa)
    feeds = inputs()
    proto = ir.to_proto(copy)
    proto.opset_import[0].version = 19  # the evaluator's oldest DequantizeLinear, of the same meaning
    reference = ReferenceEvaluator(proto).run(["last_hidden_state"], feeds)[0]
    # A value half way between two levels may go either way where its last digits differ.
    difference = np.abs(reference - run(copy, **feeds)["last_hidden_state"])
    assert np.median(difference) < 1e-5
    assert difference.max() < 0.1


@pytest.mark.parametrize("structure", [Structure.PLAIN, Structure.BOTH])
def test_signed_and_unsigned_activations_compute_the_same(structure: Structure) -> None:
    feeds = inputs()
    unsigned, signed = (run(quantized(structure, isa)[1], **feeds) for isa in ("avx512_vnni", "arm64"))
    np.testing.assert_allclose(unsigned["last_hidden_state"], signed["last_hidden_state"], atol=1e-4)


@pytest.mark.parametrize("structure", [Structure.PLAIN, Structure.SMOOTHED, Structure.OUTLIERS, Structure.BOTH])
def test_an_answer_does_not_depend_on_the_batch(structure: Structure) -> None:
    _, copy = quantized(structure)
    feeds = inputs()
    together = run(copy, **feeds)["sentence_embedding"]
    for row in range(3):
        length = int(feeds["attention_mask"][row].sum())
        alone = run(copy, **{name: array[row : row + 1, :length] for name, array in feeds.items()})
        np.testing.assert_allclose(alone["sentence_embedding"][0], together[row], atol=1e-5)


def test_scales_of_weights_are_per_column_and_zero_points_are_zero() -> None:
    _, copy = quantized(Structure.PLAIN)
    for name in MATMULS:
        node = next(node for node in copy.graph if node.name == f"{name}/MatMul")
        dequantize = node.inputs[1].producer()
        values, scales, zeros = (value.const_value.numpy() for value in dequantize.inputs)
        assert values.dtype == zeros.dtype == np.int8
        assert scales.shape == zeros.shape == (values.shape[1],)
        assert dequantize.attributes["axis"].as_int() == 1
        assert not zeros.any()
        np.testing.assert_allclose(values * scales, weight(tiny_encoder(outlier=2.0), f"{name}.weight"), atol=0.01)


def test_matmuls_of_one_input_share_its_quantisation() -> None:
    _, copy = quantized(Structure.BOTH)
    nodes = [node for node in copy.graph if node.name in ("query/MatMul", "key/MatMul", "value/MatMul")]
    assert len({node.inputs[0] for node in nodes}) == 1


def test_sites_without_a_recipe_stay_as_they_are() -> None:
    model = tiny_encoder()
    copy = model.clone()
    insert_recipes(copy, [recipe(model, find_sites(model)[2], Structure.PLAIN)], ISAS["avx2"])
    assert dict(operators(copy) - operators(model)) == {"QuantizeLinear": 1, "DequantizeLinear": 2}


def test_outliers_of_a_matmul_that_is_an_output() -> None:
    w = Writer()
    w.op("MatMul", ["x", w.weight("w", np.random.default_rng(0).normal(size=(32, 24)))], "last/MatMul")
    w.nodes[-1].output[0] = "y"
    model = w.model({"x": ["n", 32]}, {"y": ["n", 24]}, integers=False)
    copy = model.clone()
    insert_recipes(copy, [recipe(model, find_sites(model)[0], Structure.OUTLIERS)], ISAS["avx512_vnni"])
    x = np.random.default_rng(1).normal(size=(7, 32)).astype(np.float32)
    x[:, [3, 9]] *= 1000  # far beyond the range: only the float part can carry it
    assert list(run(copy, x=x)) == ["y"]
    np.testing.assert_allclose(run(copy, x=x)["y"], run(model, x=x)["y"], rtol=1e-3, atol=1.0)


def test_weights_of_a_float_site_are_int8_in_the_file_alone() -> None:
    _, copy = quantized(Structure.FLOAT)
    assert not {"QuantizeLinear", "DequantizeLinear"} & set(operators(copy))
    node = next(node for node in copy.graph if node.name == "ffn1/MatMul")
    assert node.inputs[1].producer().op_type == "Mul"
    assert node.inputs[1].producer().inputs[0].producer().inputs[0].const_value.dtype == ir.DataType.INT8
