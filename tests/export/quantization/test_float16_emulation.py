"""Emulated rounding: bit by bit what numpy's and ml_dtypes' own rounding gives, on graphs and inside the gate."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
from evaluation_samples import reference, sample_texts, tiny_subject
from float16_samples import by_hand, finished, one_matmul
from onnx import helper

from bert_onnx.tasks import Port
from export.evaluation.budgets import find_budget
from export.evaluation.evaluation import Evaluation
from export.evaluation.gate import run_gate
from export.onnx_file.save import save
from export.quantization.float16.convert import convert_to_half
from export.quantization.float16.emulation import emulate_half
from export.reference.runtime import Reference
from export.verification.cases import verification_cases
from export.verification.emulated import open_emulated
from export.verification.parity import compare

FORMATS = {"fp16": np.dtype(np.float16), "bf16": np.dtype(ml_dtypes.bfloat16)}


def rounded(array: np.ndarray, precision: str) -> np.ndarray:
    return array.astype(FORMATS[precision]).astype(np.float32)


@pytest.mark.parametrize("precision", FORMATS)
def test_rounding_is_to_nearest_even(tmp_path: Path, precision: str) -> None:
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((50, 2)) * np.exp2(rng.integers(-20, 14, (50, 2)))).astype(np.float32)
    ties = np.array([[1 + 2.0**-11, 1 + 3 * 2.0**-11], [1 + 2.0**-8, 1 + 3 * 2.0**-8]], np.float32)
    x = np.concatenate([x, ties, -ties])
    model = one_matmul(np.eye(2, dtype=np.float32))
    convert_to_half(model, precision)
    save(model, tmp_path / "half.onnx")
    ports = ((Port("x", "float32", ("n", 2)),), (Port("y", "float32", ("n", 2)),))
    with open_emulated(tmp_path / "half.onnx", *ports) as runtime:
        np.testing.assert_array_equal(runtime.run({"x": x})["y"], rounded(x, precision))


@pytest.mark.parametrize("precision", FORMATS)
def test_every_operator_rounds_once(tmp_path: Path, precision: str) -> None:
    weight = np.random.default_rng(0).standard_normal((2, 1)).astype(np.float32)
    bias = np.array([0.1], np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "layer.weight"], ["product"], name="MatMul"),
        helper.make_node("Add", ["product", "layer.bias"], ["sum"], name="Add"),
        helper.make_node("Split", ["sum"], ["a", "b"], num_outputs=2, name="Split"),
        helper.make_node("Mul", ["a", "b"], ["y"], name="Mul"),
    ]
    constants = {"layer.weight": weight, "layer.bias": bias}
    model = by_hand(nodes, constants, {"x": ("float32", [2, 2])}, {"y": [1, 1]})
    convert_to_half(model, precision)
    save(model, tmp_path / "half.onnx")
    x = np.random.default_rng(1).standard_normal((2, 2)).astype(np.float32)
    product = rounded(rounded(x, precision) @ rounded(weight, precision), precision)
    total = rounded(product + rounded(bias, precision), precision)
    ports = ((Port("x", "float32", (2, 2)),), (Port("y", "float32", (1, 1)),))
    with open_emulated(tmp_path / "half.onnx", *ports) as runtime:
        np.testing.assert_array_equal(runtime.run({"x": x})["y"], rounded(total[:1] * total[1:], precision))
        assert "rounding emulated in float32" in runtime.describe().library


@pytest.mark.parametrize("precision", FORMATS)
@pytest.mark.parametrize("task", ["sentence-similarity", "fill-mask", "text-generation-with-past"])
def test_a_model_in_16_bits_is_verified_without_kernels_for_it(tmp_path: Path, task: str, precision: str) -> None:
    model, eager = finished(task)
    convert_to_half(model, precision)
    save(model, tmp_path / "half.onnx")
    ports = (eager.module.inputs, eager.module.outputs)
    with open_emulated(tmp_path / "half.onnx", *ports, eager.config) as runtime:
        cases = verification_cases(eager.task, eager.config, eager.module.inputs)
        parity = compare(runtime, Reference(eager), cases, precision)
    assert parity.passed
    least = 1e-3 if precision == "bf16" else 1e-4
    assert parity.max_abs_diff > least
    assert parity.runtime.startswith("emulated (onnxruntime ")


def test_the_graph_is_left_as_it_is() -> None:
    model, _ = finished("sentence-similarity")
    convert_to_half(model, "bf16")
    before = ir.to_proto(model).SerializeToString()
    twin = emulate_half(model)
    assert ir.to_proto(model).SerializeToString() == before
    halves = [value.name for value in twin.graph.initializers.values() if value.dtype != ir.DataType.INT64]
    assert {twin.graph.initializers[name or ""].dtype for name in halves} == {ir.DataType.FLOAT}


def test_the_gate_judges_an_emulated_variant(tmp_path: Path) -> None:
    subject, eager = tiny_subject(tmp_path, "sentence-similarity")
    model, _ = finished("sentence-similarity")  # of the same seed
    convert_to_half(model, "bf16")
    save(model, tmp_path / "half.onnx")
    evaluation = Evaluation(subject, sample_texts(), reference(eager))
    with open_emulated(tmp_path / "half.onnx", eager.module.inputs, eager.module.outputs) as runtime:
        report = run_gate(evaluation, runtime, find_budget("bf16", 0.999))
    assert report.passed, report.failures
    assert 0.999 < report.figures["cosine_mean"] < 1 - 1e-7
