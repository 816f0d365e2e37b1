"""OpenVINO itself, without ONNX Runtime: reads the .onnx file, computes in float32 or bf16, runs int8 files."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from bert_onnx.errors import ArtifactError, InferenceError, RuntimeUnavailableError
from bert_onnx.tasks import REQUIRES, RIGHT_PADDING, Port
from runtimes.engines.base import RuntimeDescription, RuntimeOptions, is_out_of_memory, out_of_memory
from runtimes.engines.guard import Guard, GuardedRuntime
from runtimes.engines.inputs import Limits
from runtimes.machine.cpu import usable_threads

INSTALL = "pip install openvino"
DEVICE = "CPU"
#: Our names of precisions -> those of INFERENCE_PRECISION_HINT, and those of OPTIMIZATION_CAPABILITIES.
HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
CAPABILITIES = {"fp32": "FP32", "bf16": "BF16", "fp16": "FP16"}


class OpenVino(GuardedRuntime[Any]):
    """A compiled model on OpenVINO's CPU device, with one infer request for each thread that calls it."""

    name = "openvino"

    def __init__(self, compiled: Any, guard: Guard, description: RuntimeDescription) -> None:
        super().__init__(compiled, guard, description)
        self._ports = {name: port for port in compiled.outputs for name in port.get_names()}
        self._dtypes = {port.name: port.dtype for port in guard.outputs}
        self._requests = threading.local()

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        options: RuntimeOptions | None = None,
        limits: Limits | None = None,
    ) -> OpenVino:
        """A runtime for the graph in `path`, which takes `inputs` and returns `outputs`.

        `options.compute` may be bf16 or fp16 where the processor computes in it; weights are converted while loading.

        Raises:
            RuntimeUnavailableError: openvino is not installed, has no CPU device, or the processor lacks the precision.
            ArtifactError: the file is missing, damaged, or has other inputs or outputs.
        """
        options = options or RuntimeOptions()
        library = import_openvino()
        file = Path(path)
        core = library.Core()
        _check_device(core, options.compute)
        model = _read(file)
        guard = Guard(file.name, tuple(inputs), tuple(outputs), limits, _requires(model) == RIGHT_PADDING)
        threads = options.threads or usable_threads()
        compiled = _compile(core, model, file, _properties(options, threads))
        _check_ports(compiled, file, inputs, outputs)
        notes = () if options.compute == "fp32" else (f"computes in {options.compute}",)
        version = library.__version__.partition("-")[0]
        description = RuntimeDescription(cls.name, (DEVICE,), f"openvino {version}", threads, file.name, notes)
        return cls(compiled, guard, description)

    def _compute(self, engine: Any, names: list[str], inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            # Outputs that are not asked for stay where they are; those that are must outlive the next call.
            answers = self._request(engine).infer(inputs, share_inputs=True, share_outputs=True)
            return {name: np.array(answers[self._ports[name]], self._dtypes[name]) for name in names}
        except (RuntimeError, MemoryError) as error:
            raise _run_failure(self._guard.model, error) from error

    def close(self) -> None:
        """Give back the model's memory; requests of other threads go with their threads."""
        super().close()
        self._ports = {}  # they keep the model
        self._requests = threading.local()

    def _request(self, compiled: Any) -> Any:
        """The calling thread's own request."""
        if not hasattr(self._requests, "value"):
            self._requests.value = compiled.create_infer_request()
        return self._requests.value


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

    if not path.is_file():
        raise ArtifactError(f"the model file {path} is missing; export the model again.")
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


def _check_ports(compiled: Any, path: Path, inputs: Sequence[Port], outputs: Sequence[Port]) -> None:
    takes = {port.get_any_name() for port in compiled.inputs}
    returns = {name for port in compiled.outputs for name in port.get_names()}
    if takes != {port.name for port in inputs} or not {port.name for port in outputs} <= returns:
        raise ArtifactError(
            f"{path.name} takes {sorted(takes)} and returns {sorted(returns)}, which is not what its manifest says; "
            "export it again."
        )


def _run_failure(model: str, error: Exception) -> InferenceError:
    reason = _reason(error)
    if is_out_of_memory(reason) or isinstance(error, MemoryError):
        return out_of_memory(model, reason)
    return InferenceError(f"OpenVINO failed in {model}: {reason}.")


def _reason(error: Exception) -> str:
    """What openvino says, without the lines that name its own source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Exception from ", "FrontEnd API failed"))]
    told = [line.partition("' failed at ")[0].removeprefix("Check '") for line in told or lines]
    return " ".join(" ".join(told).split()).rstrip(":.")[:300] or type(error).__name__
