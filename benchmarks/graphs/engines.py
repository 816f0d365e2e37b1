"""What runs a model: ONNX Runtime, OpenVINO, torch. Each gets the same threads and none spins between its runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.graphs.models import Model

#: Inputs by name -> last hidden state [B, S, D].
Run = Callable[[dict[str, np.ndarray]], np.ndarray]


@dataclass(frozen=True)
class Engine:
    """One competitor.

    Args:
        name: for people.
        ours: whether it runs one of our graphs.
        run: one forward pass.
    """

    name: str
    ours: bool
    run: Run


def open_sessions(model: Model, threads: int) -> Iterator[Engine]:
    """The competitors that run a file: ONNX Runtime and OpenVINO, on our graphs and on those of the peers."""
    for name, path in model.ours.items():
        opening = openvino_run if name.startswith("openvino") else onnxruntime_run
        yield Engine(f"ours: {name}", True, opening(path, threads))
    for name, path in model.peers.items():
        yield Engine(name, False, onnxruntime_run(path, threads))
    yield Engine("OpenVINO f32", False, openvino_run(model.peers["optimum raw"], threads))


def open_modules(model: Model, threads: int, compiled: bool) -> Iterator[Engine]:
    """transformers' own modules; `compiled` includes torch.compile, which takes a minute or two to start."""
    yield Engine("torch sdpa", False, torch_run(model.folder, threads, compiled=False))
    if compiled:
        yield Engine("torch.compile", False, torch_run(model.folder, threads, compiled=True))


def onnxruntime_session(path: Path, threads: int) -> Any:
    """A session of the CPU provider."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def onnxruntime_run(path: Path, threads: int) -> Run:
    """A forward pass of ONNX Runtime."""
    session = onnxruntime_session(path, threads)
    return lambda inputs: session.run(["last_hidden_state"], inputs)[0]


def openvino_run(path: Path, threads: int, precision: str = "f32") -> Run:
    """A forward pass of OpenVINO, which computes floats in `precision`."""
    import openvino

    hints = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    core = openvino.Core()
    request = core.compile_model(core.read_model(str(path)), "CPU", hints).create_infer_request()

    def run(inputs: dict[str, np.ndarray]) -> np.ndarray:
        request.infer(inputs)
        result: np.ndarray = request.get_tensor("last_hidden_state").data
        return result.astype(np.float32, copy=False)

    return run


def torch_run(folder: Path, threads: int, compiled: bool, attention: str = "sdpa") -> Run:
    """A forward pass of transformers' BertModel."""
    import torch
    from transformers import BertModel, logging

    logging.set_verbosity_error()
    torch.set_num_threads(threads)
    module: Any = BertModel.from_pretrained(folder, attn_implementation=attention, add_pooling_layer=False).eval()
    call = torch.compile(module, dynamic=True) if compiled else module

    def run(inputs: dict[str, np.ndarray]) -> np.ndarray:
        with torch.inference_mode():
            tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
            result: np.ndarray = call(**tensors).last_hidden_state.numpy()
        return result

    return run
