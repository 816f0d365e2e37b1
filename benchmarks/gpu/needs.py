"""What the benchmark needs of a machine; where something is missing, one sentence says what."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from importlib import import_module

from benchmarks.gpu.results import Device
from benchmarks.machine import memory_gib, package_versions, processor_name
from bert_onnx.errors import RuntimeUnavailableError
from runtimes.engines.ort.cuda_session import PROVIDER
from runtimes.engines.ort.library import import_onnxruntime
from runtimes.engines.table import find_runtime
from runtimes.machine.nvidia import Gpu, list_gpus, require_provider

_CUDA_RUNTIME = "onnxruntime-cuda"
_PACKAGES = ("onnxruntime-gpu", "torch", "triton", "nvidia-cudnn-cu13", "transformers", "flash-attn", "optimum-onnx")


def require_gpu(gpus: Callable[[], Sequence[Gpu]] = list_gpus) -> Gpu:
    """The first GPU, once ONNX Runtime and torch can use it.

    Raises:
        RuntimeUnavailableError: naming what is missing, and what to do about it.
    """
    found = gpus()
    if not found:
        raise RuntimeUnavailableError(
            "there is no NVIDIA GPU here (nvidia-smi is missing or lists none); run make gpu on a machine that has one."
        )
    require_provider(import_onnxruntime(), PROVIDER, find_runtime(_CUDA_RUNTIME).install)
    try:
        torch = import_module("torch")
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"torch cannot be imported ({error}), and the benchmark compares with it; install PyTorch's build for CUDA."
        ) from error
    if not torch.cuda.is_available():
        raise RuntimeUnavailableError(
            f"torch {torch.__version__} cannot use the GPU, and the benchmark compares with it; install PyTorch's "
            "build for CUDA."
        )
    return found[0]


def this_device(gpu: Gpu | None) -> Device:
    """What is measured on; None: a rehearsal on the CPU."""
    host = f"{processor_name()}, {memory_gib()} GiB of memory, {platform.system()}, Python {platform.python_version()}"
    versions = package_versions(_PACKAGES)
    if gpu is None:
        return Device("no GPU", "-", 0, "-", host, versions, rehearsal=True)
    return Device(gpu.name, gpu.driver, gpu.memory_mib, gpu.compute_capability, host, versions)
