"""Clients that take arrays: each opens one .onnx file of an artifact as its documentation shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.compatibility.clients.heads import Head

Arrays = Mapping[str, np.ndarray]
Run = Callable[[Arrays], Arrays]

_PAST = "past_key_values"


def open_onnxruntime(folder: Path, file: str, head: Head) -> Run:
    """A bare session with every default, so that graphs are optimised once more."""
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(None, dict(feeds)), strict=True))


def open_openvino(folder: Path, file: str, head: Head) -> Run:
    """`Core.read_model` on the .onnx file. OpenVINO's own default is bf16 where the processor has it."""
    import openvino

    core = openvino.Core()
    model = core.compile_model(core.read_model(folder / file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    outputs = [(port.names, port) for port in model.outputs]

    def run(feeds: Arrays) -> Arrays:
        found = model(dict(feeds))
        return {name: np.array(found[port]) for names, port in outputs for name in names}

    return run


def open_reference(folder: Path, file: str, head: Head) -> Run:
    """ONNX's evaluator in NumPy."""
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(str(folder / file))
    names = list(evaluator.output_names)
    return lambda feeds: dict(zip(names, evaluator.run(None, dict(feeds)), strict=True))


def open_optimum(folder: Path, file: str, head: Head) -> Run:
    """The head's ORTModelFor...; keys and values of earlier tokens are one argument of its forward."""
    import torch
    from optimum import onnxruntime

    causal = head.ort_class == "ORTModelForCausalLM"
    options: dict[str, Any] = {"use_cache": head.task.endswith("-with-past")} if causal else {}
    model = getattr(onnxruntime, head.ort_class or "ORTModelForCustomTasks").from_pretrained(
        folder, subfolder="onnx", file_name=Path(file).name, provider="CPUExecutionProvider", **options
    )

    def run(feeds: Arrays) -> Arrays:
        given: dict[str, Any] = {name: torch.from_numpy(array) for name, array in feeds.items()}
        past = [given.pop(name) for name in feeds if causal and name.startswith(_PAST)]
        if past:
            given[_PAST] = tuple(zip(past[::2], past[1::2], strict=True))
        found = model(**given)
        return {name: np.asarray(value) for name, value in found.items() if name != _PAST}

    return run


TENSOR_CLIENTS: dict[str, Callable[[Path, str, Head], Run]] = {
    "onnxruntime": open_onnxruntime,
    "optimum": open_optimum,
    "OpenVINO": open_openvino,
    "onnx.reference": open_reference,
}
