"""Static int8 from text to graph: quality, records, budgets, determinism, invariance, refusals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import pytest
from repository import ROOT
from tensorrt_rules import breaks_rules
from tiny_encoder import MATMULS, PORTS, operators, run, sentences, set_weight, tiny_encoder, tiny_tokenizer, weight

from bert_onnx.errors import CheckpointError, InputError, UsageError
from bert_onnx.tokenization import BertTokenizerFast
from export.evaluation.data import built_in
from export.quantization.feeds import calibration_feeds, make_feeds
from export.quantization.int8.closeness import Closeness, compare_vectors, text_vectors
from export.quantization.int8.groups import QuantGroup, find_groups
from export.quantization.int8.recipe import Recipe, Scheme
from export.quantization.int8.sensitivity import reach_goal, schemes_of
from export.quantization.int8.static import quantize_static
from export.quantization.isa import ISAS, Isa
from export.quantization.result import QuantizationResult

pytestmark = pytest.mark.slow

EASY = Closeness(0.5, 0.1)
VNNI = ISAS["avx512_vnni"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> BertTokenizerFast:
    return tiny_tokenizer(tmp_path_factory.mktemp("vocabulary"))


def quantize(
    tokenizer: BertTokenizerFast,
    goal: Closeness = EASY,
    texts: Sequence[str] | None = None,
    isa: Isa = VNNI,
) -> tuple[ir.Model, QuantizationResult]:
    model = tiny_encoder()
    return model, quantize_static(model, isa, calibration_feeds(texts or sentences(96), PORTS, tokenizer, 256), goal)


@pytest.fixture(scope="module")
def result(tokenizer: BertTokenizerFast) -> tuple[ir.Model, QuantizationResult]:
    return quantize(tokenizer)


def test_unseen_text_keeps_its_meaning(
    result: tuple[ir.Model, QuantizationResult], tokenizer: BertTokenizerFast
) -> None:
    model, found = result
    feeds = make_feeds(sentences(200, seed=9), PORTS, tokenizer, 40)
    expected, actual = text_vectors(model, feeds), text_vectors(found.model, feeds)
    closeness = compare_vectors(expected, actual)
    assert closeness.mean > 0.9995
    assert closeness.minimum > 0.995
    # Texts of words drawn at random are all alike, so that neighbours may change; then they are nearly as near.
    similar = expected @ expected.T - 2 * np.eye(len(expected))
    chosen = (actual @ actual.T - 2 * np.eye(len(expected))).argmax(axis=1)
    assert (similar.max(axis=1) - similar[np.arange(len(expected)), chosen]).max() < 0.003


def test_the_float_graph_is_left_as_it_is(tokenizer: BertTokenizerFast) -> None:
    model, _ = quantize(tokenizer)
    assert ir.to_proto(model).SerializeToString() == ir.to_proto(tiny_encoder()).SerializeToString()


def test_records_say_what_the_graph_holds(result: tuple[ir.Model, QuantizationResult]) -> None:
    model, found = result
    counts = operators(found.model)
    assert [record.nodes for record in found.records] == [group.nodes for group in find_groups(model)]
    assert counts["QuantizeLinear"] == 4
    assert counts["DequantizeLinear"] == 4 + len(MATMULS)
    assert counts["Sum"] == 2
    assert found.tables == ("embeddings.weight",)
    assert found.excluded_nodes == ()
    tokens = [record for record in found.records if record.scheme == Scheme.PER_TOKEN.value]
    shifted = [record for record in found.records if record.scheme == Scheme.SHIFTED.value]
    assert counts["ReduceMax"] == len(tokens)
    assert counts["LayerNormalization"] == 3 + len(shifted)
    assert shifted
    assert all(0 < record.error < 0.01 for record in found.records)
    assert all(record.sensitivity is None for record in found.records)


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


@pytest.mark.parametrize("isa", ["avx2", "arm64", "tensorrt"])
def test_other_instruction_sets(isa: str, tokenizer: BertTokenizerFast) -> None:
    model, found = quantize(tokenizer, isa=ISAS[isa])
    kinds = {v.name: v.const_value for v in found.model.graph.initializers.values() if v.const_value is not None}
    integers = [tensor.numpy() for name, tensor in kinds.items() if name.endswith("weight_int8")]
    assert len(integers) >= len(MATMULS)
    feeds = make_feeds(sentences(200, seed=9), PORTS, tokenizer, 40)
    assert compare_vectors(text_vectors(model, feeds), text_vectors(found.model, feeds)).mean > 0.998
    points = [n.inputs[2].const_value.dtype for n in found.model.graph if n.op_type == "QuantizeLinear"]
    assert set(points) == {ir.DataType.UINT8 if isa == "avx2" else ir.DataType.INT8}
    if isa == "tensorrt":
        assert breaks_rules(ir.to_proto(found.model)) == []
        assert found.tables == ()
    if isa == "avx2":
        values = [n.inputs[0].const_value.numpy() for n in found.model.graph if _of_weight(n)]
        pairs = [array[0::2].astype(int) + array[1::2] for array in values]
        same = [array[0::2].astype(int) * array[1::2] > 0 for array in values]
        assert max(int(np.abs(pair[alike]).max()) for pair, alike in zip(pairs, same, strict=True)) in (127, 128)


def _of_weight(node: ir.Node) -> bool:
    return node.op_type == "DequantizeLinear" and node.inputs[0].const_value is not None


def test_a_budget_that_int8_cannot_hold_leaves_everything_in_float(tokenizer: BertTokenizerFast) -> None:
    model, found = quantize(tokenizer, Closeness(1.0, 1.0))
    assert set(found.excluded_nodes) == {f"{name}/MatMul" for name in MATMULS}
    assert all(record.scheme == Scheme.FLOAT.value for record in found.records)
    assert all(record.sensitivity is not None for record in found.records)
    assert "QuantizeLinear" not in operators(found.model)
    assert operators(found.model)["MatMul"] == operators(model)["MatMul"]


def test_the_group_that_costs_most_for_its_size_is_the_first_in_float() -> None:
    groups = find_groups(tiny_encoder())
    sizes = [group.inputs * group.outputs for group in groups]
    assert [size // 1024 for size in sizes] == [3, 1, 2, 2]
    judge = _Judge(dict(zip((group.name for group in groups), (0.0027, 0.001, 0.0005, 0.0019), strict=True)))
    asked: list[tuple[str, Scheme]] = []

    def decide(group: QuantGroup, scheme: Scheme) -> Recipe:
        asked.append((group.name, scheme))
        return Recipe(group, scheme, ())

    start = [Recipe(group, schemes_of(group)[-2], ()) for group in groups]
    decided = reach_goal(start, judge, decide, Closeness(0.996, 0.0))  # type: ignore[arg-type]
    assert asked == [("output/MatMul", Scheme.FLOAT), ("ffn2/MatMul", Scheme.FLOAT)]
    assert [recipe.sensitivity for recipe in decided] == pytest.approx([0.0027, 0.0001, 0.0005, 0.00019])


def test_groups_climb_step_by_step_and_cheap_steps_come_first() -> None:
    """A per-token scale, a few passes over what a layer reads, is tried long before its product is float."""
    group = QuantGroup("wide/MatMul", "x", ("wide/MatMul",), 1536, 384)
    other = QuantGroup("norm/MatMul", "y", ("norm/MatMul",), 384, 1536, normalized=True)
    judge = _Judge({group.name: 0.001, other.name: 0.001})
    asked: list[tuple[str, Scheme]] = []

    def decide(group: QuantGroup, scheme: Scheme) -> Recipe:
        asked.append((group.name, scheme))
        return Recipe(group, scheme, ())

    start = [Recipe(group, Scheme.PLAIN, ()), Recipe(other, Scheme.SHIFTED, ())]
    reach_goal(start, judge, decide, Closeness(0.9995, 0.0))  # type: ignore[arg-type]
    assert asked[0] == (group.name, Scheme.PER_TOKEN)
    assert set(asked[1:]) == {(group.name, Scheme.FLOAT), (other.name, Scheme.FLOAT)}


class _Judge:
    """Sensitivities that add up, and a tenth of each in float."""

    def __init__(self, sensitivities: dict[str, float]) -> None:
        self.sensitivities = sensitivities

    def sensitivity(self, recipe: Recipe) -> float:
        return self.sensitivities[recipe.group.name] / (10 if recipe.scheme is Scheme.FLOAT else 1)

    def closeness(self, recipes: Sequence[Recipe]) -> Closeness:
        return Closeness(1 - sum(self.sensitivity(recipe) for recipe in recipes), 1.0)


def test_sensitivities_are_not_measured_where_the_budget_holds_at_once() -> None:
    class Counting(_Judge):
        def sensitivity(self, recipe: Recipe) -> float:
            raise AssertionError("a sensitivity was measured")

        def closeness(self, recipes: Sequence[Recipe]) -> Closeness:
            return Closeness(0.9999, 0.999)

    start = [Recipe(group, Scheme.PLAIN, ()) for group in find_groups(tiny_encoder())]
    assert list(reach_goal(start, Counting({}), lambda *_: start[0], EASY)) == start  # type: ignore[arg-type]


def test_weights_that_are_not_finite_are_refused(tokenizer: BertTokenizerFast) -> None:
    model = tiny_encoder()
    array = weight(model, "key.weight")
    array[0, 0] = np.nan
    set_weight(model, "key.weight", array)
    with pytest.raises(CheckpointError, match=r"key.weight\[0, 0\] is nan"):
        quantize_static(model, VNNI, calibration_feeds(sentences(96), PORTS, tokenizer, 256), EASY)


def test_a_quantized_graph_is_refused(
    result: tuple[ir.Model, QuantizationResult], tokenizer: BertTokenizerFast
) -> None:
    with pytest.raises(UsageError, match="already quantized"):
        quantize_static(result[1].model, VNNI, calibration_feeds(sentences(96), PORTS, tokenizer, 256), EASY)


def test_too_little_text_is_refused(tokenizer: BertTokenizerFast) -> None:
    for texts, message in ((["one text"], "has 1 different text"), ([f"{n}" for n in range(20)], "tokens in all")):
        with pytest.raises(InputError, match=message):
            quantize(tokenizer, texts=texts)


def test_the_built_in_texts_are_enough_disjoint_and_small() -> None:
    calibration, evaluation = built_in("calibration"), built_in("evaluation")
    assert len(calibration.texts) >= 128
    assert len(evaluation.texts) >= 512
    assert not set(calibration.texts) & set(evaluation.texts)
    folder = ROOT / "export" / "quantization" / "texts"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 120_000
