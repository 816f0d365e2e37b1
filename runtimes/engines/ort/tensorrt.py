"""ONNX Runtime's TensorRT provider: engines for ranges of lengths, built once and kept by the content of the file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

from bert_onnx.errors import StorageError, UsageError
from bert_onnx.tasks import BATCH, SEQUENCE, Port
from runtimes.engines.base import RuntimeOptions
from runtimes.engines.inputs import Limits
from runtimes.engines.ort.cuda import PROVIDER as CUDA_PROVIDER
from runtimes.engines.ort.cuda import OnnxRuntimeCuda, open_gpu_session
from runtimes.engines.ort.cuda_options import CudaOptions
from runtimes.engines.ort.length_profiles import length_profiles, profile_options
from runtimes.engines.ort.session import CPU_PROVIDER, Providers, import_onnxruntime
from runtimes.engines.table import find_runtime
from runtimes.machine.nvidia import list_gpus, require_provider
from runtimes.machine.user_cache import cache_folder

PROVIDER = "TensorrtExecutionProvider"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class TensorRtOptions:
    """Options of the TensorRT provider.

    Args:
        device_id: which GPU.
        batch: most rows of a call.
        longest: longest text in tokens; None for the model's own limit.
        histogram: how many texts there are of each length; None for one profile of all lengths.
        workspace: most bytes that a kernel may use beside weights and activations; None for TensorRT's own choice.
        level: how long the builder searches, 0 to 5.
        cache: where engines and timings are kept; None for the user's cache folder.
    """

    device_id: int = 0
    batch: int = 32
    longest: int | None = None
    histogram: Mapping[int, int] = field(default_factory=dict)
    workspace: int | None = None
    level: int = 3
    cache: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.level <= 5:
            raise UsageError(f"level is {self.level}; it must be from 0 to 5.")
        if self.batch < 1 or (self.longest is not None and self.longest < 1):
            raise UsageError(f"batch and longest are {self.batch} and {self.longest}; they must be at least 1.")


class OnnxRuntimeTensorRt(OnnxRuntimeCuda):
    """A session on ONNX Runtime's TensorRT provider; what TensorRT does not take runs on CUDA, and is told."""

    name = "onnxruntime-tensorrt"

    @classmethod
    def open(  # type: ignore[override]
        cls,
        path: str | os.PathLike[str],
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        options: RuntimeOptions | None = None,
        limits: Limits | None = None,
        tensorrt: TensorRtOptions | None = None,
    ) -> OnnxRuntimeTensorRt:
        """A runtime for the graph in `path`; the first time takes minutes, later ones read the engine.

        Raises:
            RuntimeUnavailableError: TensorRT, CUDA, the driver or a GPU is missing (named).
            ArtifactError: the file is missing, damaged, or has other inputs or outputs.
            UsageError: the model has other inputs than [B, S].
            StorageError: the cache folder cannot be made.
        """
        options, tensorrt = options or RuntimeOptions(), tensorrt or TensorRtOptions()
        options.require_compute(cls.name, "fp32", "bf16", "fp16")
        _check_axes(inputs)
        library = import_onnxruntime()
        install = find_runtime(cls.name).install
        for provider in (CUDA_PROVIDER, PROVIDER):
            require_provider(library, provider, install)
        values = provider_options(Path(path), library, inputs, options, limits, tensorrt)
        providers: Providers = [
            (PROVIDER, values),
            (CUDA_PROVIDER, CudaOptions(tensorrt.device_id).to_provider()),
            CPU_PROVIDER,
        ]
        cuda = CudaOptions(tensorrt.device_id)
        return cls(open_gpu_session(cls.name, library, Path(path), (inputs, outputs, limits), providers, options, cuda))


def provider_options(
    path: Path,
    library: ModuleType,
    inputs: Sequence[Port],
    options: RuntimeOptions,
    limits: Limits | None,
    tensorrt: TensorRtOptions,
) -> dict[str, str]:
    """The provider's own names and values; makes the cache folder.

    Raises:
        StorageError: it cannot be made.
    """
    longest = tensorrt.longest or (limits.max_position_embeddings if limits is not None else 512)
    profiles = length_profiles(tensorrt.histogram, tensorrt.batch, longest)
    values = {
        "device_id": str(tensorrt.device_id),
        "trt_engine_cache_enable": "1",
        "trt_timing_cache_enable": "1",
        "trt_fp16_enable": "1" if options.compute == "fp16" else "0",
        "trt_bf16_enable": "1" if options.compute == "bf16" else "0",
        "trt_builder_optimization_level": str(tensorrt.level),
        **profile_options(profiles, [port.name for port in inputs]),
    }
    if tensorrt.workspace is not None:
        values["trt_max_workspace_size"] = str(tensorrt.workspace)
    base = tensorrt.cache or cache_folder("tensorrt")
    key = cache_key(path, library, sorted(values.items()))
    for name, folder in (("trt_engine_cache_path", base / key), ("trt_timing_cache_path", base / "timing")):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"the cache folder {folder} cannot be made: {error.strerror}.") from error
        values[name] = str(folder)
    return values


def cache_key(path: Path, library: ModuleType, options: Sequence[tuple[str, str]]) -> str:
    """Names an engine: the graph and its weights, the versions, the GPUs and the options that it was built for."""
    digest = hashlib.sha256()
    for file in sorted(path.parent.glob(f"{path.name}*")):  # the graph, and its external data
        digest.update(file.name.encode())
        with open(file, "rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    gpus = [f"{gpu.name} {gpu.compute_capability} {gpu.driver}" for gpu in list_gpus()]
    digest.update(repr((library.__version__, _tensorrt_version(), gpus, list(options))).encode())
    return digest.hexdigest()[:32]


def _tensorrt_version() -> str:
    for name in ("tensorrt", "tensorrt-cu12", "tensorrt-cu13"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "unknown"


def _check_axes(inputs: Sequence[Port]) -> None:
    for port in inputs:
        if port.axes != (BATCH, SEQUENCE):
            raise UsageError(
                f"TensorRT profiles are for models whose inputs are [{BATCH}, {SEQUENCE}], which {port.name} is not; "
                "use onnxruntime-cuda for this model."
            )
