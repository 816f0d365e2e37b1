"""A text's answer must not depend on its batch: graphs in float32 keep to that, per-tensor dynamic int8 does not."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from evaluation_samples import NoisyRuntime, reference, sample_texts, tiny_subject

from bert_onnx.tasks import TASKS
from export.evaluation.budgets import INVARIANCE_LIMIT
from export.evaluation.invariance import measure_invariance
from export.onnx_file.save import save
from export.passes.base import PassContext
from export.passes.table import run_passes
from export.targets import TARGETS
from export.trace.tracer import trace
from runtimes.engines.ort.cpu import OnnxRuntimeCpu

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("task", TASKS)
def test_the_eager_model_is_invariant_in_every_task(tmp_path: Path, task: str) -> None:
    subject, eager = tiny_subject(tmp_path, task)
    found = measure_invariance(subject, reference(eager), sample_texts())
    assert found.passed
    assert found.largest < INVARIANCE_LIMIT / 2
    assert "do not depend on its batch" in str(found)


class Leaky(NoisyRuntime):
    """Answers with a little of the batch's largest token id: what a scale of the whole tensor does."""

    def run(self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        leak = np.float32(1e-3 * inputs["input_ids"].max())
        return {name: array + leak for name, array in self._inner.run(inputs, outputs).items()}


@pytest.mark.parametrize("task", ["sentence-similarity", "token-classification", "multiple-choice"])
def test_a_leak_is_found_and_its_place_named(tmp_path: Path, task: str) -> None:
    subject, eager = tiny_subject(tmp_path, task)
    found = measure_invariance(subject, Leaky(reference(eager), 0.0), sample_texts())
    assert not found.passed
    assert found.text in sample_texts().texts
    assert found.output in str(found)
    assert found.case in str(found)


class ByPlace(NoisyRuntime):
    """Answers wrongly at the last place of a batch of several."""

    def run(self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        answers = {name: array.copy() for name, array in self._inner.run(inputs, outputs).items()}
        for array in answers.values():
            if len(array) > 3:
                array[-1] += 0.5
        return answers


def test_the_place_in_the_batch_is_tried(tmp_path: Path) -> None:
    subject, eager = tiny_subject(tmp_path, "sentence-similarity")
    found = measure_invariance(subject, ByPlace(reference(eager), 0.0), sample_texts())
    assert found.case == "last among long texts"
    assert found.largest == pytest.approx(0.5, abs=1e-5)


def test_per_tensor_dynamic_quantization_is_found_out(tmp_path: Path) -> None:
    quantization = pytest.importorskip("onnxruntime.quantization")
    subject, eager = tiny_subject(tmp_path, "sentence-similarity")
    target = TARGETS["portable"]
    model = trace(eager.module, target.opset)
    run_passes(model, target.passes, PassContext(target.opset, eager.config))
    save(model, tmp_path / "fp32.onnx")
    logging.disable(logging.WARNING)
    try:
        quantization.quantize_dynamic(tmp_path / "fp32.onnx", tmp_path / "int8.onnx")
    finally:
        logging.disable(logging.NOTSET)
    ports = (eager.module.inputs, eager.module.outputs)
    with OnnxRuntimeCpu.open(tmp_path / "fp32.onnx", *ports) as runtime:
        assert measure_invariance(subject, runtime, sample_texts()).largest < 1e-6
    with OnnxRuntimeCpu.open(tmp_path / "int8.onnx", *ports) as runtime:
        found = measure_invariance(subject, runtime, sample_texts())
    assert found.largest > 1e-3
    assert "sentence_embedding" in str(found)
