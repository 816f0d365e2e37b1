"""fp16 and bf16: what is narrow and what is not, masks, constants that do not fit, and when to refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from float16_samples import by_hand, element_types, finished, one_matmul
from onnx import TensorProto, helper

from bert_onnx.errors import ExportError, UsageError
from bert_onnx.tasks import TASKS, TaskOptions
from export.onnx_file.save import save, weight_bytes
from export.plan import check_precision
from export.quantization.float16.convert import convert_to_half
from export.quantization.float16.formats import FILL
from export.quantization.float16.report import half_warnings
from export.reference.runtime import Reference
from export.targets import TARGETS, find_target
from export.verification.cases import verification_cases
from export.verification.parity import compare
from runtimes.engines.ort.cpu import OnnxRuntimeCpu

pytestmark = pytest.mark.slow

_LOWEST = float(np.finfo(np.float32).min)


def run(model: ir.Model, **inputs: np.ndarray) -> list[np.ndarray]:
    """Every output on ONNX Runtime, without any check of the inputs."""
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    answers: list[np.ndarray] = session.run(None, inputs)
    return answers


def integer_constants(model: ir.Model) -> list[bytes]:
    constants = (value.const_value for value in model.graph.initializers.values())
    return sorted(c.tobytes() for c in constants if c is not None and c.dtype == ir.DataType.INT64)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("target", ["portable", "ort-cuda"])
def test_every_task_keeps_its_answers_and_its_ports(tmp_path: Path, task: str, target: str) -> None:
    model, eager = finished(task, target)
    report = convert_to_half(model, "fp16")
    assert report.narrow > report.wide
    save(model, tmp_path / "model_fp16.onnx")
    onnx.checker.check_model(str(tmp_path / "model_fp16.onnx"), full_check=target == "portable")
    ports = (eager.module.inputs, eager.module.outputs)
    with OnnxRuntimeCpu.open(tmp_path / "model_fp16.onnx", *ports, limits=eager.config) as runtime:
        cases = verification_cases(eager.task, eager.config, eager.module.inputs, TARGETS[target].requires)
        parity = compare(runtime, Reference(eager), cases, "fp16")
    assert parity.passed, max(parity.outputs, key=lambda output: output.max_abs_diff / output.tolerance)
    assert parity.max_abs_diff > 1e-6  # it did compute in 16 bits
    types = {"int64": ir.DataType.INT64, "float32": ir.DataType.FLOAT}
    assert [(v.name, v.dtype) for v in model.graph.inputs] == [(p.name, types[p.dtype]) for p in ports[0]]
    assert [(v.name, v.dtype) for v in model.graph.outputs] == [(p.name, types[p.dtype]) for p in ports[1]]


@pytest.mark.parametrize(("precision", "dtype"), [("fp16", TensorProto.FLOAT16), ("bf16", TensorProto.BFLOAT16)])
def test_products_are_narrow_and_sums_are_wide(precision: str, dtype: int) -> None:
    model, _ = finished("sentence-similarity")
    before = weight_bytes(model)
    integers = integer_constants(model)
    convert_to_half(model, precision)
    types = element_types(model)
    inputs = {node.op_type: set[int]() for node in model.graph}
    for node in model.graph:
        inputs[node.op_type] |= {types[v.name] for v in node.inputs if v is not None} - {TensorProto.INT64}
    for operator in ("MatMul", "LayerNormalization", "Transpose"):
        assert inputs[operator] == {dtype}, operator
    for operator in ("Softmax", "ReduceSum", "ReduceL2", "Clip", "Sub"):
        assert inputs[operator] == {TensorProto.FLOAT}, operator
    assert integer_constants(model) == integers
    assert weight_bytes(model) < 0.52 * before


def test_a_cast_is_made_once() -> None:
    model, _ = finished("sentence-similarity")
    before = sum(node.op_type == "Cast" for node in model.graph)
    report = convert_to_half(model, "fp16")
    assert sum(node.op_type == "Cast" for node in model.graph) == before + report.casts
    # Two a layer around softmax, and one at the end: the output and the pooling share it.
    assert report.casts == 2 * 2 + 1
    sources = [(node.inputs[0], node.attributes["to"].as_int()) for node in model.graph if node.op_type == "Cast"]
    assert len(sources) == len(set(sources))


def test_the_same_bytes_each_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        model, _ = finished("fill-mask")
        convert_to_half(model, "fp16")
        save(model, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 3e39, 65520.0, 65505.0, -1e5])
def test_a_weight_that_does_not_fit_is_named(precision: str, value: float) -> None:
    with np.errstate(over="ignore"):
        weight = np.ones((4, 3), np.float32)
        weight[2, 1] = value
    if precision == "bf16" and np.isfinite(weight[2, 1]):
        report = convert_to_half(one_matmul(weight), precision)
        assert report.narrow == 1
    else:
        with pytest.raises(ExportError, match=rf"layer\.weight\[2, 1\] is .*, and {precision} holds at most"):
            convert_to_half(one_matmul(weight), precision)


def test_the_largest_number_of_fp16_fits() -> None:
    weight = np.array([[65504.0], [-65504.0]], np.float32)
    model = one_matmul(weight)
    convert_to_half(model, "fp16")
    (found,) = run(model, x=np.array([[1.0, 0.0], [0.0, 1.0]], np.float32))
    assert found.ravel().tolist() == [65504.0, -65504.0]


def test_what_is_too_small_is_reported() -> None:
    weight = np.array([[1.0, 1e-8], [2e-8, 0.0], [3e-8, 6e-8]], np.float32)  # those below 2^-25 become 0
    report = convert_to_half(one_matmul(weight), "fp16")
    (lost,) = report.underflows
    assert (lost.name, lost.zeros, lost.size) == ("layer.weight", 2, 6)
    assert lost.share < 1e-7
    assert report.warnings() == ()  # beside 1.0 nobody misses them
    assert report.narrow == 1

    small = np.full((4, 3), 1e-8, np.float32)
    report = convert_to_half(one_matmul(small), "fp16")
    assert report.warnings() == ("layer.weight: 12 of 12 values became 0 in fp16, 100.0% of its norm.",)
    assert convert_to_half(one_matmul(small), "bf16").underflows == ()


def masked_scores(fill: float) -> ir.Model:
    """softmax(x W + (1 - mask) fill), the way graphs write a mask."""
    nodes = [
        helper.make_node("MatMul", ["x", "layer.weight"], ["scores"], name="MatMul"),
        helper.make_node("Cast", ["mask"], ["real"], to=TensorProto.FLOAT, name="Cast"),
        helper.make_node("Sub", ["one", "real"], ["masked"], name="Sub"),
        helper.make_node("Mul", ["masked", "fill"], ["bias"], name="Mul"),
        helper.make_node("Add", ["scores", "bias"], ["sum"], name="Add"),
        helper.make_node("Softmax", ["sum"], ["y"], axis=-1, name="Softmax"),
    ]
    constants = {
        "layer.weight": (np.arange(16).reshape(4, 4) / 4 - 2).astype(np.float32),
        "one": np.array(1, np.float32),
        "fill": np.array(fill, np.float32),
    }
    return by_hand(nodes, constants, {"x": ("float32", ["n", 4]), "mask": ("int64", ["n", 4])}, {"y": ["n", 4]})


@pytest.mark.parametrize("fill", [_LOWEST, -1e9, -10000.0])
def test_masks_are_added_in_float32_and_stay_what_they_are(fill: float) -> None:
    x = np.array([[30.0, -30, 5, 1], [-60, 60, 0, 0], [1, 2, 3, 4]], np.float32)
    mask = np.array([[1, 1, 0, 0], [1, 0, 0, 1], [0, 0, 0, 0]])
    half = masked_scores(fill)
    convert_to_half(half, "fp16")
    (expected,), (found,) = run(masked_scores(fill), x=x, mask=mask), run(half, x=x, mask=mask)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[:2] == 0, expected[:2] == 0)
    np.testing.assert_allclose(found, expected, atol=0.03)
    if fill < -1e6:  # a row that is masked altogether: equal shares, as in float32
        np.testing.assert_allclose(found[2], 0.25)


def biased_attention(fill: float) -> ir.Model:
    """ONNX Runtime's MultiHeadAttention, whose bias has the type of its queries."""
    nodes = [
        *(helper.make_node("MatMul", ["x", f"{part}.weight"], [part], name=f"MatMul_{part}") for part in "qkv"),
        helper.make_node("Cast", ["mask"], ["real"], to=TensorProto.BOOL, name="Cast"),
        helper.make_node("Where", ["real", "zero", "fill"], ["bias"], name="Where"),
        helper.make_node(
            "MultiHeadAttention", ["q", "k", "v", "", "", "bias"], ["y"],
            domain="com.microsoft", num_heads=2, name="MultiHeadAttention",
        ),
    ]  # fmt: skip
    rng = np.random.default_rng(0)
    constants = {f"{part}.weight": rng.standard_normal((8, 8)).astype(np.float32) for part in "qkv"}
    constants |= {"zero": np.array(0, np.float32), "fill": np.array(fill, np.float32)}
    inputs = {"x": ("float32", [1, 5, 8]), "mask": ("int64", [1, 1, 5, 5])}
    return by_hand(nodes, constants, inputs, {"y": [1, 5, 8]})


@pytest.mark.parametrize("fill", [_LOWEST, -np.inf, -1e5])
def test_masks_of_operators_in_16_bits_are_clipped(fill: float) -> None:
    x = np.random.default_rng(1).standard_normal((1, 5, 8)).astype(np.float32) * 3
    causal = np.tril(np.ones((1, 1, 5, 5), np.int64))
    half = biased_attention(fill)
    assert convert_to_half(half, "fp16").clipped == 1
    (expected,), (found,) = run(biased_attention(fill), x=x, mask=causal), run(half, x=x, mask=causal)
    np.testing.assert_allclose(found, expected, atol=0.05)
    empty = causal.copy()
    empty[0, 0, 2] = 0  # a query that may look nowhere
    assert np.isfinite(run(half, x=x, mask=empty)[0]).all()


@pytest.mark.parametrize("target", ["portable", "ort-cuda"])
@pytest.mark.parametrize("task", ["sentence-similarity", "text-generation-with-past"])
def test_a_text_without_real_tokens_gives_numbers(task: str, target: str) -> None:
    """Runtimes refuse such inputs; a program that runs the file by itself may not."""
    model, eager = finished(task, target)
    convert_to_half(model, "fp16")
    inputs: dict[str, Any] = {}
    for port in eager.module.inputs:
        shape = tuple({"batch_size": 2, "past_sequence_length": 0}.get(str(axis), axis) for axis in port.axes)
        shape = tuple(5 if isinstance(size, str) else size for size in shape)
        inputs[port.name] = np.zeros(shape, port.dtype)
    inputs["attention_mask"][0] = 1
    for value in run(model, **inputs):
        assert np.isfinite(value).all()


def test_a_value_that_is_two_outputs_keeps_both() -> None:
    node = helper.make_node("MatMul", ["x", "layer.weight"], ["y"], name="MatMul")
    model = by_hand([node], {"layer.weight": np.eye(3, dtype=np.float32)}, {"x": ("float32", [2, 3])}, {"y": [2, 3]})
    model.graph.outputs.append(model.graph.outputs[0])
    convert_to_half(model, "fp16")
    assert [value.name for value in model.graph.outputs] == ["y", "y"]
    assert [value.dtype for value in model.graph.outputs] == [ir.DataType.FLOAT] * 2


def test_a_quantized_graph_is_refused() -> None:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], name="quantize"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], name="dequantize"),
    ]
    model = by_hand(nodes, {}, {"x": ("float32", [2])}, {"y": [2]})
    with pytest.raises(ExportError, match=r"DynamicQuantizeLinear \(quantize\): this graph is quantized already"):
        convert_to_half(model, "fp16")


def test_a_graph_that_is_in_16_bits_already_is_left_alone() -> None:
    model = one_matmul(np.ones((4, 3), np.float32))
    convert_to_half(model, "fp16")
    before = ir.to_proto(model).SerializeToString()
    report = convert_to_half(model, "fp16")
    assert (report.narrow, report.casts) == (0, 0)
    assert ir.to_proto(model).SerializeToString() == before


def test_a_graph_with_a_subgraph_is_refused() -> None:
    def branch(name: str) -> onnx.GraphProto:
        node = helper.make_node("Identity", ["x"], [name])
        return helper.make_graph([node], name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2])])

    node = helper.make_node("If", ["c"], ["y"], then_branch=branch("t"), else_branch=branch("e"), name="choice")
    model = by_hand([node], {"c": np.array(True)}, {"x": ("float32", [2])}, {"y": [2]})
    with pytest.raises(ExportError, match=r"choice \(If\) holds a subgraph"):
        convert_to_half(model, "fp16")


def test_other_precisions_are_refused() -> None:
    with pytest.raises(UsageError, match="'int8' is no precision of 16 bits; choose one of fp16, bf16"):
        convert_to_half(one_matmul(np.ones((2, 2), np.float32)), "int8")


def test_targets_that_cannot_run_it_are_refused() -> None:
    for target in TARGETS:
        for precision, runs in (
            ("fp16", target not in ("ort-cpu", "ort-cpu-unpadded", "ort-tensorrt")),
            ("bf16", target == "ort-cuda"),
        ):
            if runs:
                check_precision(precision, find_target(target))
            else:
                with pytest.raises(UsageError, match=f"{precision} does not run on the target {target}: "):
                    check_precision(precision, find_target(target))


def test_what_gains_nothing_on_cpus_is_said() -> None:
    (warning,) = half_warnings("fp16", "portable")
    assert "gains no time on x86 CPUs" in warning
    assert half_warnings("fp16", "ort-cuda") == half_warnings("bf16", "ort-cuda") == ()


def test_hidden_states_and_attentions_come_back_in_float32() -> None:
    options = TaskOptions(output_attentions=True, output_hidden_states=True)
    model, _ = finished("sentence-similarity", "portable", options)
    convert_to_half(model, "fp16")
    types = element_types(model)
    assert {types[value.name or ""] for value in model.graph.outputs} == {TensorProto.FLOAT}


def test_a_fill_value_is_exact_and_two_of_them_are_finite() -> None:
    assert np.float16(FILL) == FILL
    assert np.isfinite(np.float16(FILL) + np.float16(FILL) - np.float16(1000))
    assert np.exp(np.float32(FILL)) == 0
