"""The machine with a GPU: engines on it, the eager reference, a bare product. Needs torch's and onnxruntime's CUDA."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmarks.gpu.measure import Engine, Inputs, Prepared
from benchmarks.gpu.models import PACKED_TARGET, PADDED_TARGET, GpuModel
from benchmarks.gpu.peak import SIDE
from benchmarks.gpu.report import PACKED, PADDED
from bert_onnx.config import BertConfig
from runtimes.engines.base import RuntimeOptions
from runtimes.engines.ort.cuda import OnnxRuntimeCuda
from runtimes.engines.ort.cuda_options import CudaOptions

_OUTPUT = "last_hidden_state"
_NAMES = {PADDED: PADDED_TARGET, PACKED: PACKED_TARGET}


class Machine(Protocol):
    """What the benchmark asks of a machine; tests give one without a GPU."""

    name: str
    config: BertConfig

    def engines(self, precision: str) -> list[Engine]:
        """All competitors in `precision`."""
        ...

    def reference(self, inputs: Inputs) -> np.ndarray:
        """Last hidden states of the eager model in float32."""
        ...

    def product(self, precision: str) -> Callable[[], object]:
        """A bare product of two `SIDE` x `SIDE` matrices."""
        ...

    def wait(self) -> None:
        """Return when everything that was started is done."""
        ...


class NvidiaMachine:
    """A Machine with one GPU. Every engine takes and gives tensors that lie on it; tf32 is off for all."""

    def __init__(self, name: str, model: GpuModel) -> None:
        import torch

        torch.backends.cuda.matmul.allow_tf32 = False
        self.name = name
        self.config = model.config
        self._torch = torch
        self._model = model
        self._eager = self._module("fp32", "eager")

    def engines(self, precision: str) -> list[Engine]:
        """Our graphs, those of optimum, and transformers' module, as it is and compiled."""
        return list(self._engines(precision))

    def _engines(self, precision: str) -> Iterator[Engine]:
        for name, target in _NAMES.items():
            yield self._session(name, True, self._model.ours[target, precision])
        for name, path in self._model.peers.get(precision, {}).items():
            yield self._session(name, False, path)
        module = self._module(precision, "sdpa")
        yield Engine("torch sdpa", False, lambda inputs: self._prepared(module, inputs))
        compiled = self._torch.compile(self._module(precision, "sdpa"), dynamic=True)
        yield Engine("torch.compile", False, lambda inputs: self._prepared(compiled, inputs))

    def reference(self, inputs: Inputs) -> np.ndarray:
        return self._prepared(self._eager, inputs).answer()

    def product(self, precision: str) -> Callable[[], object]:
        torch = self._torch
        dtype = torch.float16 if precision == "fp16" else torch.float32
        side = torch.randn(SIDE, SIDE, device="cuda", dtype=dtype)
        return lambda: side @ side

    def wait(self) -> None:
        self._torch.cuda.synchronize()

    def _tensors(self, inputs: Inputs) -> dict[str, Any]:
        tensors = {name: self._torch.from_numpy(array).cuda() for name, array in inputs.items()}
        self.wait()
        return tensors

    def _session(self, name: str, ours: bool, path: Path) -> Engine:
        """The graph in `path`; a graph that skips padding counts on the CPU where a kernel is missing, and says so."""
        options = RuntimeOptions(cuda=CudaOptions(tf32=False))
        runtime = OnnxRuntimeCuda.open(path, self._model.inputs, self._model.outputs, options)

        def prepare(inputs: Inputs) -> Prepared:
            tensors = self._tensors(inputs)

            def run() -> Any:
                return runtime.run_device(tensors, [_OUTPUT], checked=False)[_OUTPUT]

            return Prepared(run, lambda: np.asarray(run().numpy(), np.float32))

        return Engine(name, ours, prepare)

    def _module(self, precision: str, attention: str) -> Any:
        from transformers import BertModel, logging

        logging.set_verbosity_error()
        folder = self._model.folder
        module = BertModel.from_pretrained(folder, attn_implementation=attention, add_pooling_layer=False).eval().cuda()
        return module.half() if precision == "fp16" else module

    def _prepared(self, module: Any, inputs: Inputs) -> Prepared:
        torch, tensors = self._torch, self._tensors(inputs)

        def run() -> Any:
            with torch.inference_mode():
                return module(**tensors).last_hidden_state

        return Prepared(run, lambda: run().float().cpu().numpy())
