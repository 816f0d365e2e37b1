"""OpenVINO itself, without ONNX Runtime: reads the .onnx file, computes in float32 or bf16, runs int8 files."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from bert_onnx.errors import ArtifactError, InferenceError, RuntimeUnavailableError
from bert_onnx.tasks import REQUIRES
from runtimes.engines.base import RuntimeOptions, is_out_of_memory, out_of_memory
from runtimes.engines.few_lengths import narrowed, widened
from runtimes.engines.graph_file import GraphFile, Opened
from runtimes.engines.guard import GuardedRuntime
from runtimes.machine.cpu import usable_threads

INSTALL = "pip install openvino"
DEVICE = "CPU"
#: Our names of precisions -> those of INFERENCE_PRECISION_HINT, and those of OPTIMIZATION_CAPABILITIES.
HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
CAPABILITIES = {"fp32": "FP32", "bf16": "BF16", "fp16": "FP16"}


@dataclass(frozen=True)
class _Compiled:
    """A compiled model.

    Args:
        model: openvino's own.
        outputs: port and dtype of each output, by name.
        skips_padding: hidden tokens cost it next to nothing.
        requests: the infer request of each thread.
    """

    model: Any
    outputs: dict[str, tuple[Any, str]]
    skips_padding: bool
    requests: threading.local = field(default_factory=threading.local)

    def request(self) -> Any:
        """The calling thread's own request."""
        if not hasattr(self.requests, "value"):
            self.requests.value = self.model.create_infer_request()
        return self.requests.value


class OpenVino(GuardedRuntime[_Compiled]):
    """A compiled model on OpenVINO's CPU device, with one infer request for each thread that calls it.

    `options.compute` may be bf16 or fp16 where the processor computes in it; weights are converted while loading.
    """

    name = "openvino"

    @classmethod
    def _open_engine(cls, graph: GraphFile, options: RuntimeOptions) -> Opened[_Compiled]:
        library = import_openvino()
        core = library.Core()
        _check_device(core, options.compute)
        model = _read(graph.path)
        # What finds the tokens that are not hidden; compiling changes the model.
        skips_padding = any(node.get_type_name() == "NonZero" for node in model.get_ops())
        threads = options.threads or usable_threads()
        compiled = _compile(core, model, graph.path, _properties(options, threads))
        ports = {name: port for port in compiled.outputs for name in port.get_names()}
        outputs = {p.name: (ports[p.name], p.dtype) for p in graph.outputs if p.name in ports}
        return Opened(
            engine=_Compiled(compiled, outputs, skips_padding),
            takes=[port.get_any_name() for port in compiled.inputs],
            returns=ports,
            requires=_requires(model),
            providers=(DEVICE,),
            library=f"openvino {library.__version__.partition('-')[0]}",
            threads=threads,
            notes=() if options.compute == "fp32" else (f"computes in {options.compute}",),
        )

    def _compute(self, engine: _Compiled, names: list[str], inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        length, limits = None, self._guard.limits
        if engine.skips_padding and limits is not None:
            inputs, length = widened(inputs, self.inputs, limits.longest_sequence)
        try:
            # Outputs that are not asked for stay where they are; those that are must outlive the next call.
            values = engine.request().infer(inputs, share_inputs=True, share_outputs=True)
            found = {name: values[port] for name in names for port, _ in [engine.outputs[name]]}
            kept = found if length is None else narrowed(found, self.outputs, length)
            return {name: np.array(array, engine.outputs[name][1]) for name, array in kept.items()}
        except (RuntimeError, MemoryError) as error:
            raise _run_failure(self._guard.model, error) from error


def import_openvino() -> ModuleType:
    """The openvino module.

    Raises:
        RuntimeUnavailableError: it is not installed, or does not load here.
    """
    try:
        import openvino
    except ImportError as error:
        raise RuntimeUnavailableError(f"openvino cannot be imported ({error}); install it with {INSTALL}.") from None
    return openvino


def computes_in() -> tuple[str, ...]:
    """What the CPU device computes float32 files in, on this processor.

    Raises:
        RuntimeUnavailableError: openvino is not installed, or has no CPU device.
    """
    core = import_openvino().Core()
    _check_device(core, "fp32")
    capabilities = core.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")
    return tuple(name for name in HINTS if CAPABILITIES[name] in capabilities)


def _check_device(core: Any, compute: str) -> None:
    if DEVICE not in core.available_devices:
        raise RuntimeUnavailableError("this openvino has no CPU device; install the wheel from PyPI.")
    if compute != "fp32" and CAPABILITIES[compute] not in core.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES"):
        raise RuntimeUnavailableError(
            f"OpenVINO does not compute in {compute} on this processor; leave the precision at fp32, or take int8."
        )


def _properties(options: RuntimeOptions, threads: int) -> dict[str, Any]:
    """The device's settings.

    One stream with all threads, as the latency hint has it. Without pinning, since several processes or models would
    be pinned to the same cores. No dynamic quantisation of activations: what the gate measured is what is computed.
    """
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": "1",
        "INFERENCE_PRECISION_HINT": HINTS[options.compute],
        "ENABLE_CPU_PINNING": False,
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
    }


def _read(path: Path) -> Any:
    """The graph as OpenVINO's; by its ONNX reader alone, since the others would try any file."""
    from openvino.frontend import FrontEndManager

    try:
        reader = FrontEndManager().load_by_framework("onnx")
        return reader.convert(reader.load(str(path)))
    except Exception as error:  # openvino's exceptions share no base class of their own
        raise ArtifactError(f"{path} is not a graph that OpenVINO can open: {_reason(error)}.") from error


def _compile(core: Any, model: Any, path: Path, properties: dict[str, Any]) -> Any:
    try:
        return core.compile_model(model, DEVICE, properties)
    except Exception as error:
        reason = _reason(error)
        if is_out_of_memory(reason):
            raise out_of_memory(path.name, reason) from error
        raise ArtifactError(f"{path} is not a graph that OpenVINO can run: {reason}.") from error


def _requires(model: Any) -> str:
    """What the graph's metadata says that inputs must keep to."""
    try:
        return str(model.get_rt_info(["framework", REQUIRES]).value)
    except RuntimeError:
        return ""


def _run_failure(model: str, error: Exception) -> InferenceError:
    reason = _reason(error)
    if is_out_of_memory(reason) or isinstance(error, MemoryError):
        return out_of_memory(model, reason)
    return InferenceError(f"OpenVINO failed in {model}: {reason}.")


def _reason(error: Exception) -> str:
    """What openvino says, without the lines that name its own source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("Exception from ", "FrontEnd API failed"))]
    kept = [line.partition("' failed at ")[0].removeprefix("Check '") for line in kept or lines]
    return " ".join(" ".join(kept).split()).rstrip(":.")[:300] or type(error).__name__
