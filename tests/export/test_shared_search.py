"""One search of static int8 for all targets: what it is learned on, where it fits, and where it does not."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from export_samples import save_checkpoint, write_texts
from tiny_encoder import set_weight, tiny_encoder, weight

import export.precision as precision
from bert_onnx.artifact import Artifact
from bert_onnx.tokenization import load_tokenizer
from export.check import check_export
from export.passes.algebra.merge_qkv import MERGED
from export.passes.base import PassContext
from export.passes.table import run_passes
from export.pipeline import export
from export.plan import VariantPlan
from export.quantization.feeds import calibration_feeds
from export.quantization.int8.adopt import Searched, adopt_recipes, column_factors
from export.quantization.int8.calibration import Calibration
from export.quantization.int8.groups import find_groups, nodes_of, weights_of
from export.quantization.int8.recipe import Recipe, Scheme
from export.quantization.integer_weights import round_nearest
from export.quantization.isa import find_isa
from export.reference.load import Eager
from export.request import ExportRequest, PrecisionRequest
from export.shares import shares_of
from export.targets import SEARCHED, TARGETS
from export.trace.tracer import trace

OPSET = 18


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    save_checkpoint(folder / "checkpoint", "sentence-similarity", initializer_range=0.1)
    write_texts(folder / "calibration.txt", 120, 1)
    write_texts(folder / "eval.txt", 40, 2)
    return folder


@pytest.fixture(scope="module")
def eager(folder: Path) -> Eager:
    """With biases that are not zero: passes that fold them change the inputs of products."""
    request = ExportRequest(str(folder / "checkpoint"), output=str(folder / "none"))
    checked = check_export(request)
    eager = checked.load().eager
    for name, parameter in eager.module.named_parameters():
        if name.endswith("bias"):
            parameter.data.uniform_(-0.5, 0.5)
    return eager


def graph(traced: ir.Model, passes: tuple[str, ...], eager: Eager) -> ir.Model:
    model = traced.clone()
    run_passes(model, passes, PassContext(OPSET, eager.config))
    return model


def recipes(model: ir.Model) -> tuple[Recipe, ...]:
    return tuple(
        Recipe(group, Scheme.PLAIN, tuple(round_nearest(one, 127) for one in weights_of(model, group)))
        for group in find_groups(model)
    )


@pytest.fixture(scope="module")
def graphs(eager: Eager) -> dict[str, ir.Model]:
    traced = trace(eager.module.without_postprocess(), OPSET)
    found = {"searched": graph(traced, SEARCHED, eager)}
    for target in TARGETS.values():
        if "int8" in target.precisions:
            found[target.name] = graph(traced, target.for_precision("int8").passes, eager)
    return found


def test_products_of_all_targets_read_what_was_searched(
    graphs: dict[str, ir.Model], eager: Eager, folder: Path
) -> None:
    """A pass that changes the inputs of products before int8 would make every learned range wrong."""
    tokenizer = load_tokenizer(folder / "checkpoint")
    texts = (folder / "calibration.txt").read_text().splitlines()
    feeds = calibration_feeds(texts, eager.module.inputs, tokenizer, 32).fit
    seen: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    for name, model in graphs.items():
        bounds = seen.setdefault(name, {})
        for group, statistics in Calibration(model, find_groups(model), feeds).every():
            for node in nodes_of(model, group.nodes):
                for part in node.meta.get(MERGED, (node.name,)):
                    bounds[part] = statistics.low, statistics.high
    searched = seen.pop("searched")
    on_cpus = {"portable", "ort-cpu", "ort-cpu-unpadded", "web", "openvino", "openvino-unpadded"}
    assert set(seen) == {*on_cpus, "ort-tensorrt"}
    for name, bounds in seen.items():
        assert bounds.keys() == searched.keys()
        for part, limits in bounds.items():
            np.testing.assert_allclose(limits, searched[part], atol=1e-3, err_msg=f"{name}: {part}")


def test_recipes_fit_every_target(graphs: dict[str, ir.Model]) -> None:
    searched = Searched(graphs["searched"], recipes(graphs["searched"]))
    for name, model in graphs.items():
        adopted = adopt_recipes(model, searched)
        assert adopted is not None, name
        assert [recipe.group for recipe in adopted] == list(find_groups(model))
        for recipe in adopted:
            for exact, integers in zip(weights_of(model, recipe.group), recipe.weights, strict=True):
                assert integers.values.shape == exact.shape
                np.testing.assert_allclose(integers.dequantize(), exact, atol=0.51 * integers.scales.max())
    merged = [len(recipe.weights) for recipe in adopt_recipes(graphs["openvino"], searched) or ()]
    assert set(merged) == {1}  # queries, keys and values are one product there


def test_other_weights_other_names_and_other_groups_are_not_adopted() -> None:
    model = tiny_encoder()
    searched = Searched(model, recipes(model))
    assert adopt_recipes(tiny_encoder(), searched) is not None
    other = tiny_encoder()
    changed = weight(other, "ffn1.weight").copy()
    changed[3, 5] += 1e-3
    set_weight(other, "ffn1.weight", changed)
    assert adopt_recipes(other, searched) is None
    renamed = tiny_encoder()
    nodes_of(renamed, ["ffn2/MatMul"])[0].name = "ffn3/MatMul"
    assert adopt_recipes(renamed, searched) is None
    assert adopt_recipes(model, Searched(model, searched.recipes[1:])) is None


def test_a_factor_of_a_column_goes_into_its_scale() -> None:
    exact = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    factors = np.array([1, 0.25, 3, 1 / np.sqrt(32), 1], np.float32)
    found = column_factors(exact, exact * factors)
    np.testing.assert_allclose(found, factors, rtol=1e-6)
    for hostile in (-exact, exact[:, :4], exact + 1e-4, exact.T @ exact, np.where(exact > 2, np.nan, exact)):
        assert column_factors(exact, hostile) is None or np.array_equal(hostile, exact)
    silent = exact * np.array([1, 0, 1, 1, 1], np.float32)
    assert column_factors(exact, silent) is None  # a factor of zero has no scale
    np.testing.assert_array_equal(column_factors(silent, silent), 1)


@pytest.mark.slow
def test_bytes_do_not_depend_on_the_other_targets_and_one_search_serves_all(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches: list[str] = []
    original = precision.search_recipes

    def counted(*arguments: object, **named: object) -> object:
        searches.append("search")
        return original(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(precision, "search_recipes", counted)
    monkeypatch.setattr(precision, "quantize_static", lambda *_: pytest.fail("a search of its own"))
    together = make(folder, "together", "ort-cpu", "openvino", "ort-cpu-unpadded")
    assert len(searches) == 1
    alone = make(folder, "alone", "ort-cpu-unpadded")
    assert len(searches) == 2
    name = "model_ort_cpu_unpadded_qint8_avx512_vnni"
    first, second = (one.path(one.manifest.variant(name)).read_bytes() for one in (together, alone))
    assert first == second


@pytest.mark.slow
def test_a_target_that_does_not_pass_with_the_shared_recipes_has_a_search_of_its_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    original = precision.apply_recipes

    def spoiled(model: ir.Model, found: tuple[Recipe, ...], isa: object) -> object:
        result = original(model, found, isa)  # type: ignore[arg-type]
        for value in result.model.graph.initializers.values():
            if value.const_value is not None and (value.name or "").endswith("weight_scale"):
                value.const_value = ir.tensor(value.const_value.numpy() * 3, name=value.name)
        return result

    monkeypatch.setattr(precision, "apply_recipes", spoiled)
    artifact = make(folder, "retried", "ort-cpu", steps=steps)
    (variant,) = [one for one in artifact.manifest.variants if one.precision == "int8"]
    assert variant.quality is not None
    assert variant.quality.passed
    assert [step for step in steps if step.startswith("searching again")] == [
        "searching again, for the static int8 graph for ort-cpu (avx512_vnni) alone"
    ]


def make(folder: Path, name: str, *targets: str, steps: list[str] | None = None) -> Artifact:
    chosen = PrecisionRequest(
        ("int8",), calibration=str(folder / "calibration.txt"), evaluation=str(folder / "eval.txt"), budget=0.99
    )
    request = ExportRequest(
        str(folder / "checkpoint"), output=str(folder / name), targets=targets, precision=chosen, text_input=False
    )
    seen = [] if steps is None else steps
    return export(request, lambda step, share: seen.append(step)).artifact


def test_shares_follow_one_another_and_a_search_is_counted_once() -> None:
    vnni, avx2, arm = map(find_isa, ("avx512_vnni", "avx2", "arm64"))
    plans = [VariantPlan(TARGETS["portable"])]
    plans += [VariantPlan(TARGETS["ort-cpu"], "int8", "static", isa) for isa in (vnni, arm, avx2)]
    plans += [VariantPlan(TARGETS["ort-cpu"])]
    shares = shares_of(plans)
    floats, others = (shares[0], shares[4]), shares[1:4]
    written = [share.converting for share in floats]
    spans = [*written, floats[0].judging]
    for share in others:
        spans += [share.converting, share.judging]
    spans.append(floats[1].judging)
    assert spans[0][0] == 0
    assert spans[-1][1] == pytest.approx(1)
    assert all(before[1] == after[0] for before, after in pairwise(spans))
    assert [_length(share.converting) > _length(share.judging) for share in others] == [True, False, True]
    steps: list[float] = []
    part = shares[1].of(lambda step, share: steps.append(share))
    for report in (part.converting, part.judging):
        report("begins", 0.0)
        report("ends", 1.0)
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == (shares[1].converting[0], pytest.approx(shares[1].judging[1]))


def _length(span: tuple[float, float]) -> float:
    return span[1] - span[0]
