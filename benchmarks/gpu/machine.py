"""Where the benchmark runs: a GPU, or a CPU where it is rehearsed. One stream for all engines, buffers bound once."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch

from benchmarks.gpu.measure import Inputs, Judge, Prepared
from bert_onnx.tasks import Port
from runtimes.engines.base import RuntimeOptions

OUTPUT = "last_hidden_state"
_CLOCKS = ("clocks.sm", "clocks.mem", "clocks.max.sm", "power.draw", "temperature.gpu")

#: A batch is brought to where it is computed, and bound to what computes it.
Prepare = Callable[[Inputs], Prepared]
Ports = tuple[tuple[Port, ...], tuple[Port, ...]]


class Machine(Protocol):
    """What the benchmark asks of a machine."""

    #: As torch calls it.
    device: str
    #: Side of the bare product.
    side: int

    def session(self, path: Path, ports: Ports, capture: bool = False) -> Prepare:
        """A session of ONNX Runtime for the graph in `path`; `capture`: its kernels, once, and replay them.

        Raises:
            RuntimeUnavailableError, ArtifactError, UsageError: it cannot be opened here, or not captured.
        """
        ...

    def compiled(self, module: torch.nn.Module, reduce_overhead: bool = False) -> Prepare:
        """`module` by torch.compile for any shape; `reduce_overhead`: with CUDA graphs.

        Raises:
            RuntimeError: this machine has no CUDA graphs.
        """
        ...

    def wait(self) -> None:
        """Return when everything that was started is done."""
        ...

    def clocks(self) -> dict[str, float]:
        """What the GPU runs at; empty where that cannot be read."""
        ...


class NvidiaMachine:
    """One GPU. tf32 is off for all; everything is queued on one stream that is not the default one."""

    device, side = "cuda", 8192

    def __init__(self) -> None:
        torch.backends.cuda.matmul.allow_tf32 = False
        self._stream = torch.cuda.Stream()
        torch.cuda.set_stream(self._stream)

    def session(self, path: Path, ports: Ports, capture: bool = False) -> Prepare:
        from runtimes.engines.ort.cuda import OnnxRuntimeCuda
        from runtimes.engines.ort.cuda_options import CudaOptions

        cuda = CudaOptions(stream=self._stream.cuda_stream, cuda_graphs=capture)
        runtime = OnnxRuntimeCuda.open(path, *ports, RuntimeOptions(cuda=cuda))

        def prepare(inputs: Inputs) -> Prepared:
            bound = runtime.bind_device(tensors(inputs, self.device), [OUTPUT])
            return Prepared(bound.run, lambda: torch.from_dlpack(bound.run()[OUTPUT]).clone())

        return prepare

    def compiled(self, module: torch.nn.Module, reduce_overhead: bool = False) -> Prepare:
        mode = "reduce-overhead" if reduce_overhead else None
        return partial(prepared_module, torch.compile(module, dynamic=True, mode=mode), self.device, reduce_overhead)

    def wait(self) -> None:
        torch.cuda.synchronize()

    def clocks(self) -> dict[str, float]:
        command = ["nvidia-smi", "--id=0", f"--query-gpu={','.join(_CLOCKS)}", "--format=csv,noheader,nounits"]
        try:
            said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
            values = [float(value) for value in said.strip().split(",")]
        except (OSError, subprocess.SubprocessError, ValueError):  # [N/A] where a virtual GPU does not tell
            return {}
        return dict(zip(_CLOCKS, values, strict=True)) if len(values) == len(_CLOCKS) else {}


class RehearsalMachine:
    """A CPU: the same code, so that nothing of it runs for the first time on a GPU. No figure says anything."""

    device, side = "cpu", 256

    def session(self, path: Path, ports: Ports, capture: bool = False) -> Prepare:
        from runtimes.engines.ort.cpu import OnnxRuntimeCpu

        if capture:
            raise RuntimeError("CUDA graphs need a GPU")
        runtime = OnnxRuntimeCpu.open(path, *ports)

        def prepare(inputs: Inputs) -> Prepared:
            return Prepared(
                lambda: runtime.run(inputs, [OUTPUT]), lambda: torch.from_numpy(runtime.run(inputs, [OUTPUT])[OUTPUT])
            )

        return prepare

    def compiled(self, module: torch.nn.Module, reduce_overhead: bool = False) -> Prepare:
        if reduce_overhead:
            raise RuntimeError("CUDA graphs need a GPU")
        return partial(prepared_module, torch.compile(module, dynamic=True, backend="eager"), self.device, False)

    def wait(self) -> None:
        """Nothing is under way."""

    def clocks(self) -> dict[str, float]:
        return {}


def tensors(inputs: Inputs, device: str) -> dict[str, torch.Tensor]:
    """`inputs` on `device`."""
    return {name: torch.from_numpy(array).to(device) for name, array in inputs.items()}


def prepared_module(module: Any, device: str, graphs: bool, inputs: Inputs) -> Prepared:
    """A module of transformers on `device` with a batch.

    Args:
        graphs: torch's CUDA graphs give the memory of an output to the next run, which must be told.
    """
    batch = tensors(inputs, device)

    def run() -> torch.Tensor:
        if graphs:
            torch.compiler.cudagraph_mark_step_begin()
        with torch.inference_mode():
            states: torch.Tensor = module(**batch).last_hidden_state
        return states

    return Prepared(run, lambda: run().float().clone())


def judge_of(eager: Any, device: str, inputs: Inputs) -> Judge:
    """Compares with the module `eager`, in float32, on real tokens."""
    expected = prepared_module(eager, device, False, inputs).output()
    torch.cuda.empty_cache()  # eager attention keeps scores of gigabytes; the sessions need that memory
    real = torch.from_numpy(inputs["attention_mask"]).to(device) > 0
    return lambda found: float((found - expected)[real].abs().max())
