"""Every target: its graph answers as the eager model does, keeps to its operators, and opens where it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from builders import GraphBuilder, operators
from onnx.reference import ReferenceEvaluator
from traced import (
    SIZES,
    apply_target,
    cases,
    difference,
    expected,
    is_unpadded,
    largest_difference,
    session,
    tiny,
    traced,
)

from bert_onnx.errors import ExportError, UsageError
from export.onnx_file.operators import check_operators
from export.passes.table import PASSES
from export.targets import IR_VERSION_OF_OPSET, TARGETS, Target, find_target
from export.trace.tracer import trace

pytestmark = pytest.mark.slow

PLAIN = ("portable", "ort-tensorrt", "web", "openvino", "openvino-unpadded")
UNPADDED = ("ort-cpu-unpadded", "openvino-unpadded", "ort-cuda-unpadded")
RIGHT_PADDING = ("ort-cuda", "ort-cuda-unpadded")
TOLERANCE = 1e-5
#: Nodes of a feature-extraction graph with a pooler: of each layer, and of everything else.
NODES = {"ort-cpu": (7, 11), "ort-cuda": (7, 7), "ort-cuda-unpadded": (11, 11)}


@pytest.mark.parametrize("target", TARGETS)
def test_parity_and_operators(target: str) -> None:
    eager, model = traced("feature-extraction")
    graph, _ = apply_target(eager, model, target)
    check_operators(graph, TARGETS[target])
    assert largest_difference(eager, graph, target) <= TOLERANCE
    assert graph.opset_imports[""] == TARGETS[target].opset
    assert graph.ir_version == IR_VERSION_OF_OPSET[TARGETS[target].opset]
    assert set(graph.opset_imports) <= set(TARGETS[target].domains)


@pytest.mark.parametrize(("target", "nodes"), NODES.items())
def test_nodes(target: str, nodes: tuple[int, int]) -> None:
    eager, model = traced("feature-extraction")
    graph, _ = apply_target(eager, model, target)
    assert graph.graph.num_nodes() == nodes[0] * SIZES["num_hidden_layers"] + nodes[1]


def test_bert_base_has_at_most_100_nodes_on_ort_cpu() -> None:
    layer, rest = NODES["ort-cpu"]
    assert layer * 12 + rest <= 100


@pytest.mark.parametrize("target", PLAIN)
def test_plain_targets_have_standard_operators_only(target: str) -> None:
    assert TARGETS[target].domains == ("",)
    assert not any("." in operator for operator in TARGETS[target].operators)


@pytest.mark.parametrize("target", ["web", "openvino"])
def test_plain_targets_have_fewer_nodes_than_the_portable_graph(target: str) -> None:
    eager, model = traced("feature-extraction")
    graph, _ = apply_target(eager, model, target)
    portable, _ = apply_target(eager, model, "portable")
    assert graph.graph.num_nodes() < portable.graph.num_nodes()


@pytest.mark.parametrize("target", TARGETS)
def test_zeros_at_padding_are_announced(target: str) -> None:
    eager, model = traced("feature-extraction")
    graph, _ = apply_target(eager, model, target)
    assert is_unpadded(graph) == TARGETS[target].zero_padding == (target in UNPADDED)


@pytest.mark.parametrize("target", PLAIN)
def test_plain_targets_run_on_the_reference_evaluator(target: str) -> None:
    eager, model = traced("feature-extraction")
    graph, _ = apply_target(eager, model, target)
    evaluator = ReferenceEvaluator(ir.serde.serialize_model(graph))
    for case in cases(eager):
        if case.name.startswith(("single", "right", "holed")):
            results = evaluator.run(None, case.inputs)
            assert difference(eager, case, results, is_unpadded(graph)) <= 3 * TOLERANCE


@pytest.mark.parametrize("target", PLAIN)
def test_plain_targets_run_on_openvino(target: str, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    eager, model = traced("feature-extraction")
    graph, _ = apply_target(eager, model, target)
    path = tmp_path / "model.onnx"
    ir.save(graph, path)
    core = openvino.Core()
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = core.compile_model(core.read_model(path), "CPU", options)
    for case in cases(eager):
        found = compiled(case.inputs)
        results = [found[port.name] for port in eager.module.outputs]
        assert difference(eager, case, results, is_unpadded(graph)) <= 5e-5


@pytest.mark.parametrize(
    ("target", "opset"), [("ort-cpu", 17), ("web", 17), ("web", 21), ("openvino", 20), ("ort-cpu", 20)]
)
def test_other_opsets(target: str, opset: int) -> None:
    eager, model = traced("feature-extraction", max(opset, 18))
    graph, _ = apply_target(eager, model, target, opset)
    check_operators(graph, TARGETS[target])
    assert graph.opset_imports[""] == opset
    assert operators(graph)["Gelu"] == (2 if opset >= 20 and target != "ort-cpu" else 0)
    assert largest_difference(eager, graph) <= TOLERANCE


@pytest.mark.parametrize("target", RIGHT_PADDING)
def test_lengths_are_for_padding_on_the_right_and_say_so(target: str) -> None:
    eager, model = traced("feature-extraction")
    graph, _ = apply_target(eager, model, target)
    assert graph.metadata_props["bert_onnx.requires"] == "right_padding"
    case = next(case for case in cases(eager) if case.name.startswith("left"))
    wanted, got = expected(eager, case)[1], session(graph).run(None, case.inputs)[1]  # the pooler's
    assert np.abs(wanted - got).max() > 1e-3  # padding anywhere else is answered wrongly


def test_only_graphs_for_cuda_are_for_padding_on_the_right() -> None:
    for name, target in TARGETS.items():
        assert target.requires == (("right_padding",) if name in RIGHT_PADDING else ())


def test_an_empty_row_gives_no_nan() -> None:
    eager, model = traced("feature-extraction")
    case = next(case for case in cases(eager) if case.name.startswith("right"))
    case.inputs["attention_mask"][1] = 0
    for target in TARGETS:
        graph, _ = apply_target(eager, model, target)
        for array in session(graph).run(None, case.inputs):
            assert np.isfinite(array).all(), target


def test_one_segment_leaves_its_input() -> None:
    eager = tiny("feature-extraction", type_vocab_size=1, num_hidden_layers=1)
    graph, _ = apply_target(eager, trace(eager.module, 18), "ort-cpu")
    assert [value.name for value in graph.graph.inputs] == ["input_ids", "attention_mask", "token_type_ids"]
    assert operators(graph)["Gather"] == 2  # words, and the pooler's first token
    assert largest_difference(eager, graph) <= TOLERANCE


def test_rows_are_complete() -> None:
    for name, target in TARGETS.items():
        assert target.name == name
        assert set(target.passes) <= set(PASSES)
        assert target.passes[-2:] == ("set_opset", "finish")
        assert {"fp32"} <= set(target.precisions)
        for operator in target.operators:
            domain = operator.rpartition(".")[0]
            assert domain in target.domains


def test_an_unknown_target() -> None:
    with pytest.raises(UsageError, match="choose one of portable"):
        find_target("gpu")


def check_refuses(target: Target, build: GraphBuilder, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        check_operators(ir.Model(build.graph, ir_version=8), target)


def test_an_operator_outside_of_the_list() -> None:
    build = GraphBuilder()
    build.op("Relu", [build.op("Acos", [build.input("x", [3])], name="head/Acos")])
    check_refuses(TARGETS["portable"], build, r"Acos \(head/Acos\) .* target portable")


@pytest.mark.parametrize(
    ("domain", "operator"), [("com.microsoft", "BiasGelu"), ("bert_onnx", "Gelu"), ("custom", "Add")]
)
def test_a_domain_outside_of_the_list(domain: str, operator: str) -> None:
    build = GraphBuilder()
    build.op(operator, [build.input("x", [3])], domain=domain, name="a/node")
    check_refuses(TARGETS["web"], build, rf"{domain}\.{operator} \(a/node\)")


def test_an_operator_of_an_allowed_domain_that_is_not_in_the_list() -> None:
    build = GraphBuilder()
    build.op("QuickGelu", [build.input("x", [3])], domain="com.microsoft")
    check_refuses(TARGETS["ort-cpu"], build, "QuickGelu")


def test_an_operator_inside_of_a_subgraph() -> None:
    build = GraphBuilder()
    condition = build.input("c", [], ir.DataType.BOOL)
    inner = ir.Graph([], [], nodes=[ir.node("Acos", [build.input("x", [3])], name="deep")], name="then")
    build.node("Where", [condition], {"then_branch": inner})
    check_refuses(TARGETS["portable"], build, "deep")
