"""tract: what it must not be given, what it says it cannot run, and whose order counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from toy_artifacts import CONFIG, INPUTS, OUTPUTS, embedding_graph, table

from bert_onnx.errors import RuntimeUnavailableError
from runtimes.engines.tract import Tract


def with_nodes(*nodes: onnx.NodeProto, **weights: np.ndarray) -> onnx.ModelProto:
    """The toy graph, whose last hidden state goes through `nodes`, from `inner` to `last_hidden_state`, on its way."""
    model = embedding_graph(table())
    for node in model.graph.node:
        node.output[:] = ["inner" if name == "last_hidden_state" else name for name in node.output]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    order = [node for node in model.graph.node if node.op_type not in ("Mul", "ReduceSum", "Div")]
    rest = [node for node in model.graph.node if node.op_type in ("Mul", "ReduceSum", "Div")]
    del model.graph.node[:]
    model.graph.node.extend([*order, *rest])
    return model


def test_operators_of_onnx_runtime_are_named(tmp_path: Path) -> None:
    """tract takes com.microsoft.Attention for ONNX's own, and panics."""
    attention = helper.make_node(
        "Attention", ["inner", "weight"], ["last_hidden_state"], domain="com.microsoft", num_heads=2
    )
    model = with_nodes(attention, weight=np.ones((4, 12), np.float32))
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(RuntimeUnavailableError, match=r"it has no com\.microsoft\.Attention; use the portable graph"):
        Tract.open(tmp_path / "model.onnx", INPUTS, OUTPUTS)


@pytest.mark.parametrize("when", ["opening", "running"])
def test_a_panic_of_tract_ends_another_process_and_is_told(when: str, tmp_path: Path) -> None:
    """A look-up beyond a table is a panic, and a panic ends the process: this test would end with it."""
    nodes = [
        helper.make_node("Gather", ["vectors", "far"], ["row"]),
        helper.make_node("Add", ["inner", "row"], ["last_hidden_state"]),
    ]
    if when == "opening":
        model = with_nodes(*nodes, far=np.array([99]))
    else:
        model = with_nodes(helper.make_node("Add", ["token_type_ids", "much"], ["far"]), *nodes, much=np.array([99]))
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(
        RuntimeUnavailableError, match=r"tract cannot run model\.onnx: it panics at .*gather\.rs.*range"
    ):
        Tract.open(tmp_path / "model.onnx", INPUTS, OUTPUTS)


def test_what_it_cannot_run_is_one_sentence(tmp_path: Path) -> None:
    model = with_nodes(helper.make_node("Bernoulli", ["inner"], ["last_hidden_state"], dtype=TensorProto.FLOAT))
    model.opset_import[0].version = 15
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(RuntimeUnavailableError, match=r"^tract cannot run model\.onnx: .*; use another") as caught:
        Tract.open(tmp_path / "model.onnx", INPUTS, OUTPUTS)
    assert "\n" not in str(caught.value)
    assert "backtrace" not in str(caught.value).lower()


def test_inputs_and_outputs_go_by_name_not_by_place(tmp_path: Path) -> None:
    model = embedding_graph(table())
    for ports in (model.graph.input, model.graph.output):
        turned = list(reversed(ports))
        del ports[:]
        ports.extend(turned)
    onnx.save(model, tmp_path / "model.onnx")
    ids = np.array([[2, 5, 6, 3]])
    inputs = {"input_ids": ids, "attention_mask": np.array([[1, 1, 1, 0]]), "token_type_ids": np.ones_like(ids)}
    with Tract.open(tmp_path / "model.onnx", INPUTS, OUTPUTS, limits=CONFIG) as runtime:
        answers = runtime.run(inputs)
        assert runtime.describe().threads == 1
    np.testing.assert_allclose(answers["last_hidden_state"], table()[ids] + 1, rtol=1e-6)
    np.testing.assert_allclose(answers["sentence_embedding"], (table()[ids][:, :3] + 1).mean(axis=1), rtol=1e-5)
