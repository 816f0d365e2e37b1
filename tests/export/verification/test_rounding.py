"""Graphs are judged by eager's own error against float64: planted faults are caught, honest rounding passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from traced import tiny

from bert_onnx.artifact import Parity
from export.onnx_file.save import save
from export.passes.base import PassContext
from export.passes.table import run_passes
from export.plan import FP32
from export.reference.computed import Expected
from export.reference.rounding import float64_rows, run_together
from export.reference.runtime import Reference
from export.targets import TARGETS
from export.trace.tracer import trace
from export.verification.cases import verification_cases
from export.verification.parity import compare, require_parity
from export.verification.rounding import strain
from runtimes.engines.ort.cpu import OnnxRuntimeCpu

pytestmark = pytest.mark.slow

#: Layers, hidden size and spread of the weights: usual ones, shallow and deep.
SHAPES = {"2 layers": (2, 24, 0.25), "12 layers": (12, 48, 0.1), "24 layers": (24, 48, 0.1)}
TASK = "sentence-similarity"


def made(folder: Path, layers: int, hidden: int, spread: float, target: str = "portable") -> tuple[Any, Path]:
    """A random model and its float32 graph."""
    eager = tiny(
        TASK, num_hidden_layers=layers, hidden_size=hidden, num_attention_heads=3, intermediate_size=2 * hidden,
        initializer_range=spread,
    )  # fmt: skip
    row = TARGETS[target]
    graph = trace(eager.module, row.opset)
    run_passes(graph, row.passes, PassContext(row.opset, eager.config))
    path = folder / "model.onnx"
    save(graph, path)
    return eager, path


def judge(eager: Any, path: Path, target: str = "portable") -> Parity:
    row, module = TARGETS[target], eager.module
    cases = list(verification_cases(eager.task, eager.config, module.inputs, row.requires))
    with OnnxRuntimeCpu.open(path, module.inputs, module.outputs) as runtime:
        return compare(runtime, Reference(eager), cases, FP32, zero_padding=row.zero_padding)


@pytest.fixture(scope="module", params=SHAPES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    return made(tmp_path_factory.mktemp("rounding"), *SHAPES[request.param])


def _weights(graph: onnx.GraphProto, last_layer_part: str) -> onnx.TensorProto:
    return [tensor for tensor in graph.initializer if last_layer_part in tensor.name][-1]


def _wrong_epsilon(graph: onnx.GraphProto) -> None:
    """1e-5 of PyTorch's LayerNorm where BERT has 1e-12."""
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "LayerNormalization" and attribute.name == "epsilon":
                attribute.f = 1e-5


def _dropped_bias(graph: onnx.GraphProto) -> None:
    """The last output bias is gone."""
    tensor = _weights(graph, "output.dense.bias")
    tensor.CopyFrom(numpy_helper.from_array(np.zeros_like(numpy_helper.to_array(tensor)), tensor.name))


def _tanh_gelu(graph: onnx.GraphProto) -> None:
    """One GELU by its tanh formula: Erf(x / sqrt 2) becomes Tanh(sqrt(2 / pi) (x + 0.044715 x^3))."""
    erf = next(node for node in graph.node if node.op_type == "Erf")
    at = list(graph.node).index(erf)
    numbers = {"planted_root2": 2**0.5, "planted_cubic": 0.044715, "planted_scale": (2 / np.pi) ** 0.5}
    graph.initializer.extend(numpy_helper.from_array(np.array(v, np.float32), k) for k, v in numbers.items())
    steps = [
        ("Mul", [erf.input[0], "planted_root2"], "planted_x"),
        ("Mul", ["planted_x", "planted_x"], "planted_x2"),
        ("Mul", ["planted_x2", "planted_x"], "planted_x3"),
        ("Mul", ["planted_x3", "planted_cubic"], "planted_x3c"),
        ("Add", ["planted_x", "planted_x3c"], "planted_sum"),
        ("Mul", ["planted_sum", "planted_scale"], "planted_scaled"),
    ]
    new = [helper.make_node(kind, inputs, [output]) for kind, inputs, output in steps]
    new.append(helper.make_node("Tanh", ["planted_scaled"], [erf.output[0]]))
    nodes = [*graph.node[:at], *new, *graph.node[at + 1 :]]
    del graph.node[:]
    graph.node.extend(nodes)


def _mask_off_by_one(graph: onnx.GraphProto) -> None:
    """The mask is shifted by one token."""
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == "attention_mask":
                node.input[index] = "planted_mask"
    bounds = {"planted_0": [0], "planted_1": [1], "planted_end": [2**31 - 1], "planted_axis": [1]}
    graph.initializer.extend(numpy_helper.from_array(np.array(v, np.int64), k) for k, v in bounds.items())
    new = [
        helper.make_node("Slice", ["attention_mask", "planted_1", "planted_end", "planted_axis"], ["planted_tail"]),
        helper.make_node("Slice", ["attention_mask", "planted_0", "planted_1", "planted_axis"], ["planted_head"]),
        helper.make_node("Concat", ["planted_tail", "planted_head"], ["planted_mask"], axis=1),
    ]
    nodes = [*new, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _transposed_weight(graph: onnx.GraphProto) -> None:
    """The last square weight is the wrong way round."""
    square = [tensor for tensor in graph.initializer if len(tensor.dims) == 2 and tensor.dims[0] == tensor.dims[1]]
    array = numpy_helper.to_array(square[-1])
    square[-1].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array.T), square[-1].name))


def _one_in_a_million(graph: onnx.GraphProto) -> None:
    """The last layer's norm is off by 1e-6 of its scale."""
    tensor = _weights(graph, "LayerNorm.weight")
    array = numpy_helper.to_array(tensor) * np.float32(1 + 2e-6)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


FAULTS: tuple[Callable[[onnx.GraphProto], None], ...] = (
    _wrong_epsilon, _dropped_bias, _tanh_gelu, _mask_off_by_one, _transposed_weight,
)  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__.strip("_"))
def test_a_planted_fault_is_caught(model: tuple[Any, Path], fault: Callable[..., None], tmp_path: Path) -> None:
    eager, path = model
    proto = onnx.load(path)
    before = proto.SerializeToString()
    fault(proto.graph)
    assert proto.SerializeToString() != before, "nothing was planted"
    onnx.save(proto, tmp_path / "model.onnx")
    parity = judge(eager, tmp_path / "model.onnx")
    assert not parity.passed, max(strain(output) for output in parity.outputs)


def test_the_honest_graph_passes(model: tuple[Any, Path]) -> None:
    parity = judge(*model)
    assert parity.passed
    for output in parity.outputs:
        assert output.rounding is not None
        assert output.rounding.graph_rms <= output.rounding.allowed_rms
        assert 0.3 < output.rounding.ratio < 3


def test_the_largest_difference_of_all_cases_is_recorded(model: tuple[Any, Path]) -> None:
    """Rows that did not run in float64 are judged by it, whatever share of another limit it would be."""
    eager, path = model
    module, largest = eager.module, dict.fromkeys((port.name for port in eager.module.outputs), 0.0)
    reference = Reference(eager)
    with OnnxRuntimeCpu.open(path, module.inputs, module.outputs) as runtime:
        for case in verification_cases(eager.task, eager.config, module.inputs):
            expected, actual = reference.run(case.inputs), runtime.run(case.inputs)
            for name, found in largest.items():
                largest[name] = max(found, float(np.abs(expected[name] - actual[name]).max()))
    assert {output.name: output.max_abs_diff for output in judge(eager, path).outputs} == largest


def test_a_millionth_is_seen_where_the_model_is_well_conditioned(tmp_path: Path) -> None:
    eager, path = made(tmp_path, 2, 24, 0.02)
    proto = onnx.load(path)
    _one_in_a_million(proto.graph)
    onnx.save(proto, path)
    assert not judge(eager, path).passed


@pytest.mark.parametrize("target", ["portable", "ort-cpu", "ort-cpu-unpadded"])
def test_an_ill_conditioned_model_is_not_refused(target: str, tmp_path: Path) -> None:
    """Weights at 30 times the usual spread: float32 results differ by 1e-4, and both are as far from the truth."""
    eager, path = made(tmp_path, 12, 48, 0.6, target)
    parity = judge(eager, path, target)
    assert parity.passed, parity
    assert max(output.rounding.eager_max for output in parity.outputs if output.rounding) > 5e-6  # usual: 1e-7


def test_the_message_gives_both_errors(model: tuple[Any, Path], tmp_path: Path) -> None:
    eager, path = model
    proto = onnx.load(path)
    _dropped_bias(proto.graph)
    onnx.save(proto, tmp_path / "model.onnx")
    from bert_onnx.errors import VerificationError

    with pytest.raises(VerificationError, match=r"Against float64 the graph errs by .* eager float32 by"):
        require_parity(judge(eager, tmp_path / "model.onnx"), "the graph")


def test_float64_leaves_the_model_as_it_was() -> None:
    eager = tiny("fill-mask")
    module = eager.module
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    inputs = {port.name: np.ones((2, 5), np.int64) for port in module.inputs}
    found = Reference(eager).compute(inputs, rounding=True).rounding
    after = module.state_dict()
    assert all(torch.equal(before[name], after[name]) and after[name].dtype == before[name].dtype for name in before)
    assert found is not None
    assert 0 < np.abs(found["logits"]).max() < 1e-5


@pytest.mark.parametrize("task", ["fill-mask", "pretraining", "text-generation-with-past", "multiple-choice"])
def test_float64_by_layers_is_float64_as_a_whole(task: str) -> None:
    """The hooks give what a model in float64 gives."""
    eager = tiny(task)
    module = eager.module
    case = next(iter(verification_cases(eager.task, eager.config, module.inputs)))
    found = Reference(eager).compute(case.inputs, rounding=True).rounding
    assert found is not None
    given = [torch.from_numpy(case.inputs[port.name]) for port in module.inputs]
    with torch.inference_mode():
        narrow = module(*given)
        wide = module.double()(*(tensor.double() if tensor.is_floating_point() else tensor for tensor in given))
    for port, short, long in zip(module.outputs, narrow, wide, strict=True):
        expected = (short.double() - long).numpy()[float64_rows(case.inputs)]
        np.testing.assert_allclose(found[port.name], expected, rtol=1e-5, atol=1e-12)


def test_large_batches_run_one_row() -> None:
    assert float64_rows({"input_ids": np.zeros((4, 17), np.int64)}) == slice(0, None)
    assert float64_rows({"input_ids": np.zeros((2, 128), np.int64)}) == slice(1, None)


@pytest.mark.parametrize("task", ["fill-mask", "multiple-choice"])
def test_cases_of_one_length_run_in_float64_together(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one batch, in which every case has the errors that it has alone."""
    eager = tiny(task)
    cases = [case.inputs for case in verification_cases(eager.task, eager.config, eager.module.inputs)]
    alone = [Reference(eager).compute(inputs, rounding=True).rounding for inputs in cases]
    calls: list[int] = []
    forward = eager.module.forward
    monkeypatch.setattr(eager.module, "forward", lambda *tensors: (calls.append(1), forward(*tensors))[1])
    reference = Reference(eager)
    reference.expect([Expected(inputs, 1, rounding=True) for inputs in cases])
    lengths = {run_together(eager.module.inputs, inputs) for inputs in cases}
    assert len(calls) == len(cases) + len(lengths) < 2 * len(cases) - 3
    for inputs, expected in zip(cases, alone, strict=True):
        found = reference.compute(inputs, rounding=True).rounding
        assert found is not None
        assert expected is not None
        for name, error in expected.items():
            np.testing.assert_allclose(found[name], error, rtol=1e-4, atol=1e-12)
