"""NVIDIA's side of a machine: GPUs, the driver, and which library keeps a provider of ONNX Runtime from loading."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from bert_onnx.errors import RuntimeUnavailableError

#: Provider -> the library of onnxruntime-gpu that holds it.
LIBRARIES = {
    "CUDAExecutionProvider": "libonnxruntime_providers_cuda.so",
    "TensorrtExecutionProvider": "libonnxruntime_providers_tensorrt.so",
}
#: What the libraries above take from the process that loads them.
_SHARED = "libonnxruntime_providers_shared.so"
_DRIVER = "libcuda.so.1"
_CUDNN = "libcudnn.so.9"
#: CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR of the driver's interface.
_CAPABILITY = (75, 76)
_MISSING = re.compile(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object file")
_QUERY = ("name", "memory.total", "driver_version", "compute_cap")


@dataclass(frozen=True)
class Gpu:
    """One GPU: its name, memory in MiB, version of its driver, compute capability such as `9.0`."""

    name: str
    memory_mib: int
    driver: str
    compute_capability: str


def list_gpus() -> tuple[Gpu, ...]:
    """What nvidia-smi tells; empty where there is none."""
    import shutil
    import subprocess

    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    command = [program, f"--query-gpu={','.join(_QUERY)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(gpu for line in done.stdout.splitlines() if (gpu := _parse_gpu(line)) is not None)


def _parse_gpu(line: str) -> Gpu | None:
    fields = [field.strip() for field in line.split(",")]
    if len(fields) != len(_QUERY) or not fields[1].isdigit():
        return None
    return Gpu(fields[0], int(fields[1]), fields[2], fields[3])


def driver_cuda_version() -> tuple[int, int] | None:
    """The newest CUDA version that the driver runs; None without a driver."""
    try:
        driver: Any = ctypes.CDLL(_DRIVER)
        number = ctypes.c_int(0)
        if driver.cuDriverGetVersion(ctypes.byref(number)) != 0:
            return None
    except (OSError, AttributeError):
        return None
    return number.value // 1000, number.value % 1000 // 10


def require_provider(library: ModuleType, provider: str, install: str) -> None:
    """Refuse, naming what is missing, unless `provider` of the onnxruntime module `library` can be loaded here.

    Raises:
        RuntimeUnavailableError: this onnxruntime was built without it, there is no driver, the driver is too old, or
            a shared library is missing.
    """
    if provider not in library.get_available_providers():
        raise RuntimeUnavailableError(
            f"this onnxruntime ({library.__version__}) was built without {provider}; install the GPU build with: "
            f"{install}."
        )
    driver = driver_cuda_version()
    if driver is None:
        raise RuntimeUnavailableError(
            f"{provider} needs NVIDIA's driver, and {_DRIVER} cannot be loaded here; install the driver, or start the "
            "container with its GPUs (docker run --gpus all)."
        )
    built_for = str(getattr(library, "cuda_version", "") or "")
    major = built_for.partition(".")[0]
    if major.isdigit() and driver[0] < int(major):
        raise RuntimeUnavailableError(
            f"the NVIDIA driver runs CUDA up to {driver[0]}.{driver[1]}, and this onnxruntime ({library.__version__}) "
            f"was built for CUDA {built_for}; update the driver, or install an onnxruntime-gpu for CUDA {driver[0]} "
            "(from PyPI, 1.26 and older are built for CUDA 12)."
        )
    said = preload(library)
    if provider == "TensorrtExecutionProvider":
        _preload_tensorrt()
    problem = load_problem(Path(library.__file__ or "").parent / "capi", LIBRARIES[provider])
    if problem is not None:
        raise RuntimeUnavailableError(
            f"{provider} cannot be loaded: {problem}{f' ({said})' if said else ''}. "
            f"{install} brings CUDA's and cuDNN's libraries; or put their folder on LD_LIBRARY_PATH."
        )
    if os.name == "posix" and _cudnn_version() is None:  # newer ones load it when attention first runs, and fail then
        raise RuntimeUnavailableError(
            f"{provider} needs cuDNN for attention, and {_CUDNN} cannot be loaded{f' ({said})' if said else ''}; "
            f"{install} brings it; or put its folder on LD_LIBRARY_PATH."
        )


def attention_problem(device: int = 0) -> str:
    """Which files ONNX Runtime has only slow attention for here, and why, as a sentence; empty where there are none.

    From compute capability 9.0 on, its fast kernel for padded texts is cuDNN's (9.3 or newer, but for 9.10.0 and
    9.10.1); before, it has its own for fp16 and heads of 32 or 64. Otherwise all scores are written to memory.
    tests/cuda holds this against what onnxruntime-gpu chooses.
    """
    version, capability = _cudnn_version(), _compute_capability(device)
    if capability is not None and capability < (9, 0):
        return (
            f"attention of bf16 files is slow here: GPU {device} has compute capability {capability[0]}.{capability[1]}"
            ", and it is fast from 9.0 on; fp16 is fast with heads of 32 or 64"
        )
    if version is None or (version >= 90300 and version not in (91000, 91001)):
        return ""  # without cuDNN, `require_provider` refuses
    number = f"{version // 10000}.{version // 100 % 100}.{version % 100}"
    return (
        f"attention of fp16 and bf16 files is slow here: cuDNN is {number}, and 9.3 or newer is needed, but for 9.10.0 "
        "and 9.10.1"
    )


def _cudnn_version() -> int | None:
    try:
        function = ctypes.CDLL(_CUDNN).cudnnGetVersion
    except (OSError, AttributeError):
        return None
    function.restype = ctypes.c_size_t
    return int(function())


def _compute_capability(device: int) -> tuple[int, int] | None:
    """Of one GPU, by the driver; None where it does not say."""
    try:
        driver: Any = ctypes.CDLL(_DRIVER)
        handle, parts = ctypes.c_int(0), (ctypes.c_int(0), ctypes.c_int(0))
        failed = driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(handle), device)
        for part, attribute in zip(parts, _CAPABILITY, strict=True):
            failed = failed or driver.cuDeviceGetAttribute(ctypes.byref(part), attribute, handle)
    except (OSError, AttributeError):
        return None
    return None if failed else (parts[0].value, parts[1].value)


def preload(library: ModuleType) -> str:
    """Load CUDA and cuDNN from NVIDIA's wheels, where they are installed; returns what could not be loaded.

    onnxruntime looks beside itself alone. In an environment that sees the packages of another one, torch's libraries
    are there; what was loaded from there, onnxruntime then finds by its name.
    """
    if not hasattr(library, "preload_dlls"):
        return ""
    for folder in _nvidia_folders():
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(OSError, RuntimeError):
            library.preload_dlls(directory=str(folder))
    output = io.StringIO()
    with contextlib.redirect_stdout(output):  # it prints its failures
        try:
            library.preload_dlls()
        except (OSError, RuntimeError) as error:
            print(error)
    names = _MISSING.findall(output.getvalue())
    return f"also missing: {', '.join(dict.fromkeys(names))}" if names else ""


def _nvidia_folders() -> list[Path]:
    """Where NVIDIA's wheels put libraries, in every folder that Python imports from."""
    spec = find_spec("nvidia")
    places = [] if spec is None else spec.submodule_search_locations or []
    return [folder for place in places for folder in sorted(Path(place).glob("*/lib"))]


def _preload_tensorrt() -> None:
    """Load TensorRT from NVIDIA's wheel, where it is installed; what fails, the provider's library will name."""
    spec = find_spec("tensorrt_libs")
    if spec is None or spec.origin is None:
        return
    for name in ("libnvinfer.so.10", "libnvinfer_plugin.so.10", "libnvonnxparser.so.10"):
        with contextlib.suppress(OSError):
            ctypes.CDLL(str(Path(spec.origin).parent / name), mode=ctypes.RTLD_GLOBAL)


def load_problem(folder: Path, name: str) -> str | None:
    """Why the provider's library cannot be loaded, in a few words; None where it can."""
    if os.name != "posix":
        return None  # the session tells
    path = folder / name
    if not path.is_file():
        return f"{name} is not part of this onnxruntime"
    try:
        if (folder / _SHARED).is_file():
            ctypes.CDLL(str(folder / _SHARED), mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(path))
    except OSError as error:
        missing = _MISSING.search(str(error))
        if missing is None and "undefined symbol: Provider_GetHost" in str(error):
            return None  # all its libraries were found; the rest is for onnxruntime to provide
        return f"{missing[1]} is missing" if missing else str(error)
    return None
