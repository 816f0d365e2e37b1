"""ONNX Runtime's TensorRT provider: engines for ranges of lengths, built once and kept by the content of the file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

from bert_onnx.errors import StorageError, UsageError
from bert_onnx.tasks import BATCH, SEQUENCE, Port
from runtimes.engines.base import RuntimeOptions
from runtimes.engines.graph_file import GraphFile, Opened
from runtimes.engines.ort.cuda import OnnxRuntimeCuda
from runtimes.engines.ort.cuda_options import CudaOptions
from runtimes.engines.ort.cuda_session import PROVIDER as CUDA_PROVIDER
from runtimes.engines.ort.cuda_session import GpuSession, open_gpu_session
from runtimes.engines.ort.length_profiles import length_profiles, profile_options
from runtimes.engines.ort.library import CPU_PROVIDER, import_onnxruntime
from runtimes.engines.ort.session import Providers
from runtimes.engines.ort.tensorrt_options import TensorRtOptions
from runtimes.engines.table import find_runtime
from runtimes.machine.nvidia import list_gpus, require_provider
from runtimes.machine.user_cache import cache_folder

PROVIDER = "TensorrtExecutionProvider"
_CHUNK = 1 << 20


class OnnxRuntimeTensorRt(OnnxRuntimeCuda):
    """A session on ONNX Runtime's TensorRT provider; the description names what runs on CUDA instead.

    The first time a graph is opened takes minutes, later ones read the engine from the cache.
    """

    name = "onnxruntime-tensorrt"

    @classmethod
    def _open_engine(cls, graph: GraphFile, options: RuntimeOptions) -> Opened[GpuSession]:
        tensorrt = options.tensorrt or TensorRtOptions()
        _check_axes(graph.inputs)
        library = import_onnxruntime()
        install = find_runtime(cls.name).install
        for provider in (CUDA_PROVIDER, PROVIDER):
            require_provider(library, provider, install)
        cuda = CudaOptions(tensorrt.device_id)
        providers: Providers = [
            (PROVIDER, provider_options(graph, library, options)),
            (CUDA_PROVIDER, cuda.to_provider(library.__version__)),
            CPU_PROVIDER,
        ]
        return open_gpu_session(library, graph, providers, options, cuda)


def provider_options(graph: GraphFile, library: ModuleType, options: RuntimeOptions) -> dict[str, str]:
    """The provider's own names and values; makes the cache folder.

    Raises:
        StorageError: it cannot be made.
    """
    tensorrt = options.tensorrt or TensorRtOptions()
    longest = tensorrt.longest or (graph.limits.max_position_embeddings if graph.limits is not None else 512)
    profiles = length_profiles(tensorrt.histogram, tensorrt.batch, longest)
    values = {
        "device_id": str(tensorrt.device_id),
        "trt_engine_cache_enable": "1",
        "trt_timing_cache_enable": "1",
        "trt_fp16_enable": "1" if options.compute == "fp16" else "0",
        "trt_bf16_enable": "1" if options.compute == "bf16" else "0",
        "trt_builder_optimization_level": str(tensorrt.level),
        **profile_options(profiles, [port.name for port in graph.inputs]),
    }
    if tensorrt.workspace is not None:
        values["trt_max_workspace_size"] = str(tensorrt.workspace)
    base = tensorrt.cache or cache_folder("tensorrt")
    key = cache_key(graph.path, library, sorted(values.items()))
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
