"""ONNX Runtime's TensorRT provider: one engine for all shapes, built once and kept by the content of the file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import numpy as np

from bert_onnx.errors import InputError, StorageError, UsageError
from bert_onnx.tasks import BATCH, SEQUENCE, Port
from runtimes.engines.base import RuntimeOptions
from runtimes.engines.graph_file import GraphFile, Opened
from runtimes.engines.ort.cuda import OnnxRuntimeCuda
from runtimes.engines.ort.cuda_options import CudaOptions
from runtimes.engines.ort.cuda_session import PROVIDER as CUDA_PROVIDER
from runtimes.engines.ort.cuda_session import GpuSession, open_gpu_session
from runtimes.engines.ort.library import CPU_PROVIDER, import_onnxruntime
from runtimes.engines.ort.session import Providers
from runtimes.engines.ort.shape_profile import Profile, profile_options, shape_profile
from runtimes.engines.ort.tensorrt_options import TensorRtOptions
from runtimes.engines.table import find_runtime
from runtimes.machine.nvidia import list_gpus, require_provider
from runtimes.machine.packages import installed_versions
from runtimes.machine.user_cache import cache_folder

PROVIDER = "TensorrtExecutionProvider"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class TensorRtSession(GpuSession):
    """A session, and the largest shape (B, S) that its engine is for."""

    largest: tuple[int, int] = (1, 1)


class OnnxRuntimeTensorRt(OnnxRuntimeCuda):
    """A session on ONNX Runtime's TensorRT provider; the description names what runs on CUDA instead.

    The first time a graph is opened takes minutes, later ones read the engine from the cache. A call of more rows than
    the engine is for runs in several.
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
        opened = open_gpu_session(library, graph, providers, options, cuda)
        session = TensorRtSession(library, opened.engine.session, cuda, largest=_profile(graph, tensorrt).most)
        return replace(opened, engine=session)

    def _compute(self, engine: GpuSession, names: list[str], inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        assert isinstance(engine, TensorRtSession)
        (rows, longest), (batch, length) = engine.largest, inputs["input_ids"].shape
        if length > longest:
            raise InputError(
                f"the texts have {length} tokens, and this engine is for {longest} at most; open the model with "
                "TensorRtOptions(longest=...), or cut the texts."
            )
        parts = [
            super(OnnxRuntimeTensorRt, self)._compute(
                engine, names, {name: array[first : first + rows] for name, array in inputs.items()}
            )
            for first in range(0, batch, rows)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in names}


def provider_options(graph: GraphFile, library: ModuleType, options: RuntimeOptions) -> dict[str, str]:
    """The provider's own names and values; makes the cache folder.

    Raises:
        StorageError: it cannot be made.
    """
    tensorrt = options.tensorrt or TensorRtOptions()
    floats = (options.compute, tensorrt.precision)
    values = {
        "device_id": str(tensorrt.device_id),
        "trt_engine_cache_enable": "True",  # onnxruntime's Python reads no "1" here
        "trt_timing_cache_enable": "True",
        "trt_fp16_enable": str("fp16" in floats),
        "trt_bf16_enable": str("bf16" in floats),
        "trt_int8_enable": str(tensorrt.precision == "int8"),
        "trt_layer_norm_fp32_fallback": str("fp16" in floats),  # squares overflow in fp16
        "trt_builder_optimization_level": str(tensorrt.level),
        **profile_options(_profile(graph, tensorrt), [port.name for port in graph.inputs]),
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


def _profile(graph: GraphFile, options: TensorRtOptions) -> Profile:
    longest = options.longest or (graph.limits.longest_sequence if graph.limits is not None else 512)
    return shape_profile(options.histogram, options.batch, longest)


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
    found = installed_versions(("tensorrt", "tensorrt-cu12", "tensorrt-cu13"))
    return next(iter(found.values()), "unknown")


def _check_axes(inputs: Sequence[Port]) -> None:
    for port in inputs:
        if port.axes != (BATCH, SEQUENCE):
            raise UsageError(
                f"TensorRT's profile is for models whose inputs are [{BATCH}, {SEQUENCE}], which {port.name} is not; "
                "use onnxruntime-cuda for this model."
            )
