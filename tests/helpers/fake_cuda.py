"""The onnxruntime module with a CUDA provider that computes on the CPU: all of our code runs but the kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from runtimes.machine import nvidia

CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
CPU = "CPUExecutionProvider"


@dataclass
class FakeGpu:
    """What was asked of the module, and how it behaves.

    Args:
        loads: whether the provider loads; where not, the session is on the CPU, as onnxruntime does it.
        on_cpu: operators that have no CUDA kernel.
        sessions: providers of each session, with options.
        graph_ids: the `gpu_graph_id` of every run that has one.
        shapes: of the ids of every run that is not bound.
        allocated: shapes of buffers on the device.
    """

    loads: bool = True
    on_cpu: tuple[str, ...] = ()
    sessions: list[list[Any]] = field(default_factory=list)
    graph_ids: list[str] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    allocated: list[tuple[int, ...]] = field(default_factory=list)


class _Binding:
    """A binding on the CPU, whatever device is asked for."""

    def __init__(self, real: Any) -> None:
        self.real = real

    def bind_output(self, name: str, device: str, device_id: int) -> None:
        assert device == "cuda"
        self.real.bind_output(name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class _Session:
    def __init__(
        self, gpu: FakeGpu, path: str, sess_options: Any, providers: Sequence[Any], enable_fallback: int
    ) -> None:
        assert enable_fallback == 0
        gpu.sessions.append(list(providers))
        names = [item if isinstance(item, str) else item[0] for item in providers]
        self._gpu = gpu
        self._names = names if gpu.loads else [CPU]
        self._real = onnxruntime.InferenceSession(path, sess_options=sess_options, providers=[CPU])

    def get_providers(self) -> list[str]:
        return self._names

    def get_provider_graph_assignment_info(self) -> list[Any]:
        found = []
        for subgraph in self._real.get_provider_graph_assignment_info():
            nodes = subgraph.get_nodes()
            provider = CPU if nodes[0].op_type in self._gpu.on_cpu else self._names[0]
            found.append(SimpleNamespace(ep_name=provider, get_nodes=lambda nodes=nodes: nodes))
        return found

    def io_binding(self) -> _Binding:
        return _Binding(self._real.io_binding())

    def run(self, names: Sequence[str], inputs: dict[str, np.ndarray], options: Any = None) -> list[np.ndarray]:
        if options is not None:
            self._gpu.graph_ids.append(options.get_run_config_entry("gpu_graph_id"))
        self._gpu.shapes.append(inputs["input_ids"].shape)
        found: list[np.ndarray] = self._real.run(names, inputs, options)
        return found

    def run_with_iobinding(self, binding: _Binding, options: Any) -> None:
        self._gpu.graph_ids.append(options.get_run_config_entry("gpu_graph_id"))
        self._real.run_with_iobinding(binding.real, options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class FakeOnnxRuntime:
    """Stands in for the module."""

    __version__ = onnxruntime.__version__
    cuda_version = "12.8"

    def __init__(self, gpu: FakeGpu) -> None:
        self._gpu = gpu
        self.OrtValue = SimpleNamespace(
            ortvalue_from_shape_and_type=self._allocate,
            ortvalue_from_numpy=onnxruntime.OrtValue.ortvalue_from_numpy,
            from_dlpack=onnxruntime.OrtValue.from_dlpack,
        )

    def get_available_providers(self) -> list[str]:
        return [TENSORRT, CUDA, CPU]

    def InferenceSession(  # noqa: N802
        self, path: str, sess_options: Any, providers: Sequence[Any], enable_fallback: int
    ) -> _Session:
        return _Session(self._gpu, path, sess_options, providers, enable_fallback)

    def _allocate(self, shape: Sequence[int], dtype: Any, device: str, device_id: int) -> Any:
        assert device == "cuda"
        self._gpu.allocated.append(tuple(shape))
        return onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(shape, dtype))

    def __getattr__(self, name: str) -> Any:
        return getattr(onnxruntime, name)


def install(monkeypatch: pytest.MonkeyPatch, gpu: FakeGpu | None = None) -> FakeGpu:
    """Put the fake in the place of the module; the driver and the provider's libraries are there."""
    gpu = gpu or FakeGpu()
    fake = FakeOnnxRuntime(gpu)
    for module in ("cuda", "tensorrt"):
        monkeypatch.setattr(f"runtimes.engines.ort.{module}.import_onnxruntime", lambda: fake)
    monkeypatch.setattr(nvidia, "driver_cuda_version", lambda: (13, 0))
    monkeypatch.setattr(nvidia, "preload", lambda library: "")
    monkeypatch.setattr(nvidia, "load_problem", lambda folder, name: None)
    monkeypatch.setattr(nvidia, "_cudnn_version", lambda: 91300)
    return gpu
