"""Static int8 from text to graph: quality, records, budgets, determinism, invariance, refusals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest
from repository import ROOT
from tiny_encoder import MATMULS, PORTS, operators, run, sentences, set_weight, tiny_encoder, tiny_tokenizer, weight

from bert_onnx.errors import CheckpointError, InputError, UsageError
from bert_onnx.tokenization import BertTokenizerFast
from export.evaluation.data import built_in
from export.quantization.feeds import make_feeds
from export.quantization.int8.measure import Closeness, answers, compare_answers
from export.quantization.int8.recipe import Recipe, Structure
from export.quantization.int8.sensitivity import ladder, reach_budget
from export.quantization.int8.sites import Site, find_sites
from export.quantization.plan import QuantizationPlan, QuantizationResult
from export.quantization.quantize import quantize_model

EASY = QuantizationPlan(cosine_mean=0.5, cosine_min=0.1)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> BertTokenizerFast:
    return tiny_tokenizer(tmp_path_factory.mktemp("vocabulary"))


def quantize(
    tokenizer: BertTokenizerFast,
    plan: QuantizationPlan = EASY,
    texts: Sequence[str] | None = None,
    outlier: float = 12.0,
) -> tuple[ir.Model, QuantizationResult]:
    model = tiny_encoder(outlier=outlier)
    return model, quantize_model(model, plan, texts or sentences(96), PORTS, tokenizer)


@pytest.fixture(scope="module")
def result(tokenizer: BertTokenizerFast) -> tuple[ir.Model, QuantizationResult]:
    return quantize(tokenizer)


def test_unseen_text_keeps_its_meaning(
    result: tuple[ir.Model, QuantizationResult], tokenizer: BertTokenizerFast
) -> None:
    model, found = result
    feeds = make_feeds(sentences(200, seed=9), PORTS, tokenizer, 40)
    expected, actual = answers(model, feeds), answers(found.model, feeds)
    closeness = compare_answers(expected, actual)
    assert closeness.mean > 0.9995
    assert closeness.minimum > 0.995
    assert 0.9995 < found.closeness.mean < 1
    # Texts of words drawn at random are all alike, so that neighbours may change; then they are nearly as near.
    similar = expected @ expected.T - 2 * np.eye(len(expected))
    chosen = (actual @ actual.T - 2 * np.eye(len(expected))).argmax(axis=1)
    assert (similar.max(axis=1) - similar[np.arange(len(expected)), chosen]).max() < 0.003
    assert closeness.neighbours > 0.7


def test_the_float_graph_is_left_as_it_is(tokenizer: BertTokenizerFast) -> None:
    model, _ = quantize(tokenizer)
    assert ir.to_proto(model).SerializeToString() == ir.to_proto(tiny_encoder()).SerializeToString()


def test_records_say_what_the_graph_holds(result: tuple[ir.Model, QuantizationResult]) -> None:
    model, found = result
    counts = operators(found.model)
    assert [record.nodes for record in found.records] == [site.nodes for site in find_sites(model)]
    assert counts["QuantizeLinear"] == 4
    assert counts["DequantizeLinear"] == 4 + len(MATMULS)
    assert counts["Sum"] == 2
    assert found.tables == ("embeddings.weight",)
    assert found.excluded_nodes == ()
    tokens = [record for record in found.records if record.structure == Structure.TOKEN.value]
    shifted = [record for record in found.records if record.structure == Structure.SHIFTED.value]
    assert counts["ReduceMax"] == len(tokens)
    assert counts["LayerNormalization"] == 3 + len(shifted)
    assert shifted
    assert all(0 < record.error < 0.01 for record in found.records)
    assert all(record.share is None for record in found.records)


def test_the_graph_is_that_of_two_runs(
    result: tuple[ir.Model, QuantizationResult], tokenizer: BertTokenizerFast
) -> None:
    again = quantize(tokenizer)[1]
    assert ir.to_proto(again.model).SerializeToString() == ir.to_proto(result[1].model).SerializeToString()
    assert again.records == result[1].records


def test_no_two_nodes_have_one_name(result: tuple[ir.Model, QuantizationResult]) -> None:
    names = [node.name for node in result[1].model.graph]
    assert len(set(names)) == len(names)


def test_a_text_is_answered_the_same_in_any_company(
    result: tuple[ir.Model, QuantizationResult], tokenizer: BertTokenizerFast
) -> None:
    texts = [*sentences(5, seed=3), " ".join(sentences(2, seed=4))]
    (feed,) = make_feeds([*texts, *sentences(8, seed=5)], PORTS, tokenizer, 40)
    together = run(result[1].model, **feed.inputs)["sentence_embedding"]
    for row, mask in enumerate(feed.mask):
        alone = {name: array[row : row + 1, : mask.sum()] for name, array in feed.inputs.items()}
        np.testing.assert_allclose(run(result[1].model, **alone)["sentence_embedding"][0], together[row], atol=1e-5)


@pytest.mark.parametrize("isa", ["avx2", "arm64"])
def test_other_instruction_sets(isa: str, tokenizer: BertTokenizerFast) -> None:
    _, found = quantize(tokenizer, replace(EASY, isa=isa))
    kinds = {v.name: v.const_value for v in found.model.graph.initializers.values() if v.const_value is not None}
    integers = [tensor.numpy() for name, tensor in kinds.items() if name.endswith("weight_int8")]
    assert len(integers) >= len(MATMULS)
    assert found.closeness.mean > 0.998
    points = [n.inputs[2].const_value.dtype for n in found.model.graph if n.op_type == "QuantizeLinear"]
    assert set(points) == {ir.DataType.INT8 if isa == "arm64" else ir.DataType.UINT8}
    if isa == "avx2":
        values = [n.inputs[0].const_value.numpy() for n in found.model.graph if _of_weight(n)]
        pairs = [array[0::2].astype(int) + array[1::2] for array in values]
        same = [array[0::2].astype(int) * array[1::2] > 0 for array in values]
        assert max(int(np.abs(pair[alike]).max()) for pair, alike in zip(pairs, same, strict=True)) in (127, 128)


def _of_weight(node: ir.Node) -> bool:
    return node.op_type == "DequantizeLinear" and node.inputs[0].const_value is not None


def test_tables_stay_float_where_that_is_asked_for(tokenizer: BertTokenizerFast) -> None:
    _, found = quantize(tokenizer, replace(EASY, embeddings=False))
    assert found.tables == ()
    np.testing.assert_array_equal(weight(found.model, "embeddings.weight"), weight(tiny_encoder(), "embeddings.weight"))


def test_a_budget_that_int8_cannot_hold_leaves_everything_in_float(tokenizer: BertTokenizerFast) -> None:
    model, found = quantize(tokenizer, QuantizationPlan(cosine_mean=1.0, cosine_min=1.0))
    assert set(found.excluded_nodes) == {f"{name}/MatMul" for name in MATMULS}
    assert all(record.structure == Structure.FLOAT.value for record in found.records)
    assert all(record.share is not None for record in found.records)
    assert "QuantizeLinear" not in operators(found.model)
    assert operators(found.model)["MatMul"] == operators(model)["MatMul"]


def test_the_site_that_costs_most_for_its_size_is_the_first_in_float() -> None:
    sites = find_sites(tiny_encoder())
    sizes = [site.inputs * site.outputs for site in sites]
    assert [size // 1024 for size in sizes] == [3, 1, 2, 2]
    judge = _Judge(dict(zip((site.name for site in sites), (0.0027, 0.001, 0.0005, 0.0019), strict=True)))
    asked: list[tuple[str, Structure]] = []

    def decide(site: Site, structure: Structure) -> Recipe:
        asked.append((site.name, structure))
        return Recipe(site, structure, ())

    start = [Recipe(site, ladder(site)[-2], ()) for site in sites]
    decided, found = reach_budget(start, judge, decide, lambda closeness: closeness.mean >= 0.996)  # type: ignore[arg-type]
    assert asked == [("output/MatMul", Structure.FLOAT), ("ffn2/MatMul", Structure.FLOAT)]
    assert [one.share for one in decided] == pytest.approx([0.0027, 0.0001, 0.0005, 0.00019])
    assert found.mean == pytest.approx(1 - 0.0027 - 0.0001 - 0.0005 - 0.00019)


def test_sites_climb_step_by_step_and_cheap_steps_come_first() -> None:
    """A scale a token, which costs a few passes over what a layer reads, is tried long before its product is float."""
    site = Site("wide/MatMul", "x", ("wide/MatMul",), 1536, 384)
    other = Site("norm/MatMul", "y", ("norm/MatMul",), 384, 1536, normalized=True)
    judge = _Judge({site.name: 0.001, other.name: 0.001})
    asked: list[tuple[str, Structure]] = []

    def decide(site: Site, structure: Structure) -> Recipe:
        asked.append((site.name, structure))
        return Recipe(site, structure, ())

    start = [Recipe(site, Structure.PLAIN, ()), Recipe(other, Structure.SHIFTED, ())]
    reach_budget(start, judge, decide, lambda closeness: closeness.mean >= 0.9995)  # type: ignore[arg-type]
    assert asked[0] == (site.name, Structure.TOKEN)
    assert set(asked[1:]) == {(site.name, Structure.FLOAT), (other.name, Structure.FLOAT)}


class _Judge:
    """Shares that add up, and a tenth of each in float."""

    def __init__(self, shares: dict[str, float]) -> None:
        self.shares = shares

    def share(self, recipe: Recipe) -> float:
        return self.shares[recipe.site.name] / (10 if recipe.structure is Structure.FLOAT else 1)

    def closeness(self, recipes: Sequence[Recipe]) -> Closeness:
        return Closeness(1 - sum(self.share(recipe) for recipe in recipes), 1.0, 1.0)


def test_shares_are_not_measured_where_the_budget_holds_at_once() -> None:
    class Counting(_Judge):
        def share(self, recipe: Recipe) -> float:
            raise AssertionError("a share was measured")

        def closeness(self, recipes: Sequence[Recipe]) -> Closeness:
            return Closeness(0.9999, 0.999, 1.0)

    start = [Recipe(site, Structure.PLAIN, ()) for site in find_sites(tiny_encoder())]
    decided, _ = reach_budget(start, Counting({}), lambda *_: start[0], lambda closeness: True)  # type: ignore[arg-type]
    assert [one.recipe for one in decided] == start


def test_weights_that_are_not_finite_are_refused(tokenizer: BertTokenizerFast) -> None:
    model = tiny_encoder()
    array = weight(model, "key.weight")
    array[0, 0] = np.nan
    set_weight(model, "key.weight", array)
    with pytest.raises(CheckpointError, match=r"key.weight\[0, 0\] is nan"):
        quantize_model(model, EASY, sentences(96), PORTS, tokenizer)


def test_a_quantised_graph_is_refused(
    result: tuple[ir.Model, QuantizationResult], tokenizer: BertTokenizerFast
) -> None:
    with pytest.raises(UsageError, match="already quantised"):
        quantize_model(result[1].model, EASY, sentences(96), PORTS, tokenizer)


def test_too_little_text_is_refused(tokenizer: BertTokenizerFast) -> None:
    for texts, message in ((["one text"], "has 1 different text"), ([f"{n}" for n in range(20)], "tokens in all")):
        with pytest.raises(InputError, match=message):
            quantize(tokenizer, texts=texts)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "magic"}, "method 'magic' is unknown"),
        ({"isa": "sse2"}, "instruction set 'sse2' is unknown"),
        ({"ranges": "best"}, "range method 'best' is unknown"),
        ({"cosine_mean": 0.0}, "cosine_mean is 0.0"),
        ({"cosine_min": 1.5}, "cosine_min is 1.5"),
        ({"max_length": 1}, "max_length is 1"),
    ],
)
def test_plans_that_make_no_sense_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        QuantizationPlan(**changes)


def test_the_built_in_texts_are_enough_disjoint_and_small() -> None:
    calibration, evaluation = built_in("calibration"), built_in("evaluation")
    assert len(calibration.texts) >= 128
    assert len(evaluation.texts) >= 512
    assert not set(calibration.texts) & set(evaluation.texts)
    folder = ROOT / "export" / "quantization" / "texts"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 120_000
