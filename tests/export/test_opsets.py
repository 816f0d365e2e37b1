"""Every opset from 17 to 23 is written as asked for, with the IR version of its time, and runs everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
from export_samples import save_checkpoint, tiny_eager
from onnx.reference import ReferenceEvaluator

from bert_onnx.errors import ExportError, UsageError
from bert_onnx.tasks import TaskOptions
from export.onnx_file.save import save
from export.passes.base import PassContext
from export.passes.cleanup.set_opset import set_opset
from export.passes.table import run_passes
from export.pipeline import export
from export.request import ExportRequest
from export.targets import IR_VERSION_OF_OPSET, TARGETS
from export.trace.tracer import trace
from export.verification.cases import verification_cases
from runtimes.engines.eager import EagerRuntime

pytestmark = pytest.mark.long


@pytest.mark.parametrize("opset", [17, 19, 20, 21, 22, 23])
def test_opset_is_what_was_asked_for(opset: int, tmp_path: Path) -> None:
    checkpoint = save_checkpoint(tmp_path / "checkpoint", "feature-extraction", num_hidden_layers=1)
    # max pooling and normalisation use the operators that changed with opset 18
    request = ExportRequest(str(checkpoint), output=str(tmp_path / "artifact"), opset=opset, pooling="max")
    artifact = export(request).artifact
    model = onnx.load(artifact.path())
    assert [(item.domain, item.version) for item in model.opset_import] == [("", opset)]
    assert model.ir_version == IR_VERSION_OF_OPSET[opset] == artifact.manifest.variants[0].ir_version
    assert ("Gelu" in artifact.manifest.variants[0].operators) == (opset >= 20)


@pytest.mark.parametrize("opset", [16, 24, 0, -1])
def test_opset_out_of_range_is_refused(opset: int) -> None:
    with pytest.raises(UsageError, match=f"opset {opset} is out of range; choose one from 17 to 23"):
        ExportRequest("sample", opset=opset)


def test_an_operator_without_a_rule_is_an_error_not_a_higher_opset() -> None:
    eager = tiny_eager("feature-extraction", num_hidden_layers=1)
    model = trace(eager.module, 20)
    run_passes(model, ("name_by_scope", "transpose_weights", "fold_constants", "simplify"), PassContext(20))
    with pytest.raises(ExportError, match=r"^\w+ \(.*\) differs between opset 20 and 18"):
        set_opset(model, PassContext(18))


@pytest.mark.parametrize("task", ["sentence-similarity", "multiple-choice", "text-generation-with-past"])
def test_portable_graph_runs_on_the_reference_evaluator_and_openvino(task: str, tmp_path: Path) -> None:
    eager = tiny_eager(task, TaskOptions(), num_hidden_layers=1)
    model = trace(eager.module, 18)
    run_passes(model, TARGETS["portable"].passes, PassContext(18, eager.config))
    path = tmp_path / "model.onnx"
    save(model, path)
    names = [port.name for port in eager.module.outputs]
    reference = EagerRuntime(eager.module, eager.module.inputs, eager.module.outputs)
    evaluator = ReferenceEvaluator(str(path))
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    compared = 0
    for case in verification_cases(eager.task, eager.config, eager.module.inputs):
        if case.inputs["input_ids"].size > 450:
            continue  # the reference evaluator is slow
        expected = reference.run(case.inputs)
        by_openvino = compiled(case.inputs)
        found = {
            "evaluator": dict(zip(names, evaluator.run(names, case.inputs), strict=True)),
            "openvino": {name: by_openvino[name] for name in names},
            "onnxruntime": dict(zip(names, session.run(names, case.inputs), strict=True)),
        }
        for who, outputs in found.items():
            for name in names:
                np.testing.assert_allclose(
                    outputs[name], expected[name], atol=5e-5, err_msg=f"{who} {case.name} {name}"
                )
        compared += 1
    assert compared >= 5
