"""Runs a graph that has no kernels on CPUs as a twin that has: in float32, of operators for CPUs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx_ir as ir

from bert_onnx.tasks import Port
from export.quantization.float16.emulation import emulate_half, is_half
from export.verification.packed_operators import expand_packed_operators
from runtimes.engines.base import RuntimeDescription, RuntimeOptions
from runtimes.engines.inputs import Limits
from runtimes.engines.ort.cpu import OnnxRuntimeCpu


class EmulatedRuntime:
    """ONNX Runtime on the twin of a graph.

    Args:
        runtime: the twin's.
        model: name of the graph's file.
        emulated: what the twin does in another way, in words.
    """

    name = "emulated"

    def __init__(self, runtime: OnnxRuntimeCpu, model: str, emulated: str) -> None:
        self.inputs = runtime.inputs
        self.outputs = runtime.outputs
        self._runtime = runtime
        self._model = model
        self._emulated = emulated

    def run(self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Outputs by name."""
        return self._runtime.run(inputs, outputs)

    def describe(self) -> RuntimeDescription:
        """What runs."""
        inner = self._runtime.describe()
        library = f"{inner.library}, {self._emulated}"
        return RuntimeDescription(self.name, inner.providers, library, inner.threads, self._model)

    def close(self) -> None:
        """Give back what the session holds."""
        self._runtime.close()


@contextmanager
def open_emulated(
    path: Path, inputs: Sequence[Port], outputs: Sequence[Port], limits: Limits | None = None
) -> Iterator[EmulatedRuntime]:
    """A runtime for the file `path`, a graph of 16 bits or with operators for CUDA alone."""
    # Without optimisation: nothing may take the casts that round for superfluous.
    options = RuntimeOptions(optimization="none", spinning=False)
    with twin_of(path) as (twin, emulated), OnnxRuntimeCpu.open(twin, inputs, outputs, options, limits) as runtime:
        yield EmulatedRuntime(runtime, path.name, emulated)


@contextmanager
def twin_of(path: Path, rounding: bool = True) -> Iterator[tuple[Path, str]]:
    """A file that computes on CPUs what `path` does, and how, in words; it is gone afterwards.

    Args:
        rounding: what is computed in 16 bits becomes float32 that is rounded.
    """
    model = ir.load(path)
    half = rounding and is_half(model)
    twin = emulate_half(model) if half else model
    packed = expand_packed_operators(twin)
    emulated = [f"{', '.join(packed)} emulated by operators for CPUs"] if packed else []
    if half:
        emulated.append("rounding emulated in float32")
    with tempfile.TemporaryDirectory(prefix="bert-onnx-") as folder:
        file = Path(folder) / path.name
        ir.save(twin, file, external_data=f"{path.name}_data", size_threshold_bytes=1024)
        yield file, ", ".join(emulated)
