"""OpenVINO as ONNX Runtime's plugin provider: ONNX Runtime's interface, OpenVINO's kernels, on Intel processors."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from bert_onnx.errors import RuntimeUnavailableError
from runtimes.engines.base import RuntimeOptions
from runtimes.engines.graph_file import GraphFile, Opened
from runtimes.engines.guard import GuardedRuntime
from runtimes.engines.openvino import CAPABILITIES, HINTS
from runtimes.engines.ort.library import import_onnxruntime
from runtimes.engines.ort.session import nodes_elsewhere, open_session, opened, run_session, session_options
from runtimes.machine.cpu import usable_threads

PROVIDER = "OpenVINOExecutionProvider"
INSTALL = "pip install onnxruntime-ep-openvino"
DEVICE = "CPU"
#: The oldest onnxruntime that loads providers from libraries of others.
_OLDEST = (1, 23)
#: Under which name its library is registered in this process.
_REGISTERED = "bert-onnx.openvino"

_lock = threading.Lock()
#: Modules of onnxruntime, by identity, that have its library: each takes it once.
_registered: set[int] = set()


class OnnxRuntimeOpenVino(GuardedRuntime[Any]):
    """A session on OpenVINO's provider; the description names the nodes that it leaves to ONNX Runtime."""

    name = "onnxruntime-openvino"

    @classmethod
    def _open_engine(cls, graph: GraphFile, options: RuntimeOptions) -> Opened[Any]:
        library = import_onnxruntime()
        device = find_device(library)
        _check_compute(device, options.compute)
        threads = options.threads or usable_threads()
        settings = session_options(library, options, threads, record=True)
        settings.add_provider_for_devices([device], {"load_config": _load_config(options, threads)})
        session = open_session(library, graph.path, settings, providers=())
        if PROVIDER not in session.get_providers():
            raise RuntimeUnavailableError(f"onnxruntime could not load {PROVIDER} for {graph.path.name}; {INSTALL}.")
        version = f"onnxruntime {library.__version__} with {PROVIDER} {device.ep_metadata.get('version', '')}".rstrip()
        notes = () if options.compute == "fp32" else (f"computes in {options.compute}",)
        return opened(session, session, version, threads, (*notes, *nodes_elsewhere(session, PROVIDER)))

    def _compute(self, engine: Any, names: list[str], inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return run_session(engine, self._guard.model, names, inputs)


def find_device(library: ModuleType) -> Any:
    """The provider's CPU device; its library is registered in this process when it is first asked for.

    Raises:
        RuntimeUnavailableError: the library is missing or does not load, or offers no device on this processor.
    """
    with _lock:
        device = _device(library)
        if device is None and id(library) not in _registered:
            _register(library)
            _registered.add(id(library))
            device = _device(library)
    if device is None:
        vendors = sorted({found.device.vendor for found in _devices(library) if found.device.vendor})
        raise RuntimeUnavailableError(
            f"{PROVIDER} offers its {DEVICE} device on Intel's processors only, and this one is from "
            f"{' and '.join(vendors) or 'an unknown vendor'}; use the runtime openvino, which runs on all of them."
        )
    return device


def computes_in() -> tuple[str, ...]:
    """What the device computes float32 files in, on this processor.

    Raises:
        RuntimeUnavailableError: as `find_device`.
    """
    device = find_device(import_onnxruntime())
    return tuple(name for name in HINTS if CAPABILITIES[name] in _capabilities(device))


def _register(library: ModuleType) -> None:
    """Load the provider's library into onnxruntime.

    Raises:
        RuntimeUnavailableError: onnxruntime is too old for that, or the library is missing or does not load.
    """
    if not hasattr(library, "register_execution_provider_library"):
        oldest = ".".join(map(str, _OLDEST))
        raise RuntimeUnavailableError(
            f"onnxruntime {library.__version__} loads no providers from libraries of others; install {oldest} or newer."
        )
    try:
        import onnxruntime_ep_openvino

        path = onnxruntime_ep_openvino.get_library_path()
    except (ImportError, OSError) as error:
        raise RuntimeUnavailableError(
            f"onnxruntime_ep_openvino cannot be imported ({error}); install it with {INSTALL}."
        ) from None
    try:
        library.register_execution_provider_library(_REGISTERED, path)
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        reason = " ".join(str(error).split()).rstrip(".")
        raise RuntimeUnavailableError(
            f"onnxruntime {library.__version__} cannot load {Path(path).name}: {reason}; install it with {INSTALL}."
        ) from error


def _devices(library: ModuleType) -> list[Any]:
    return list(library.get_ep_devices()) if hasattr(library, "get_ep_devices") else []


def _device(library: ModuleType) -> Any | None:
    cpu = [found for found in _devices(library) if found.ep_name == PROVIDER and found.device.type.name == DEVICE]
    return cpu[0] if cpu else None


def _capabilities(device: Any) -> list[str]:
    return str(device.ep_metadata.get("OPTIMIZATION_CAPABILITIES", "FP32")).split()


def _check_compute(device: Any, compute: str) -> None:
    if CAPABILITIES[compute] not in _capabilities(device):
        raise RuntimeUnavailableError(
            f"OpenVINO does not compute in {compute} on this processor; leave the precision at fp32, or take int8."
        )


def _load_config(options: RuntimeOptions, threads: int) -> str:
    """The device's settings, as in `runtimes.engines.openvino`; the provider takes them as JSON."""
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": str(threads),
        "NUM_STREAMS": "1",
        "INFERENCE_PRECISION_HINT": HINTS[options.compute],
        "ENABLE_CPU_PINNING": "NO",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
    }
    return json.dumps({DEVICE: settings})
