"""What this machine is and has, which runtimes it can use, and what is missing for the others."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from bert_onnx.errors import RuntimeUnavailableError
from bert_onnx.memory import memory_limit, physical_memory
from runtimes.engines.ort.library import import_onnxruntime
from runtimes.engines.table import RUNTIMES, RuntimeRow
from runtimes.machine.cpu import allowed_cpus, cgroup_quota, usable_threads
from runtimes.machine.nvidia import Gpu, attention_problem, driver_cuda_version, list_gpus, require_provider
from runtimes.machine.packages import installed_versions
from runtimes.machine.processor import this_processor

#: Distributions that decide what runs.
PACKAGES = (
    "bert-onnx", "numpy", "tokenizers", "onnxruntime", "onnxruntime-gpu", "onnxruntime-ep-openvino", "openvino",
    "tract", "onnx", "torch", "tensorrt", "pyarrow",
)  # fmt: skip


@dataclass(frozen=True)
class RuntimeHealth:
    """One runtime here.

    Args:
        name: a row of `runtimes.engines.table`.
        usable: it can open files here.
        problem: what is missing, as a sentence; empty where it is usable.
        install: the command that brings it.
        precisions: precisions of files that it runs.
        compute: what it computes float32 files in, on this processor.
        targets: targets whose graphs it runs, the fastest first.
        slow: what leaves it with slow kernels here, as a sentence; empty where nothing does.
    """

    name: str
    usable: bool
    problem: str
    install: str
    precisions: tuple[str, ...]
    compute: tuple[str, ...]
    targets: tuple[str, ...]
    slow: str = ""


@dataclass(frozen=True)
class Health:
    """What `bert-onnx doctor` tells.

    Args:
        processor, architecture, features: see `runtimes.machine.processor`.
        int8: which int8 files are right on this processor, by their instruction sets.
        cpus: processors that the scheduler may use.
        quota: processors that the cgroup allows; None for no limit.
        threads: what a call uses by default.
        memory, memory_limit: bytes of the machine, and those that the cgroup allows.
        gpus: NVIDIA's.
        driver_cuda: the newest CUDA that the driver runs, such as `12.8`.
        providers: those of the onnxruntime that is installed.
        python, packages: versions.
        runtimes: one entry a row of the table.
    """

    processor: str
    architecture: str
    features: tuple[str, ...]
    int8: tuple[str, ...]
    cpus: int
    quota: float | None
    threads: int
    memory: int | None
    memory_limit: int | None
    gpus: tuple[Gpu, ...]
    driver_cuda: str | None
    providers: tuple[str, ...]
    python: str
    packages: dict[str, str]
    runtimes: tuple[RuntimeHealth, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


def examine() -> Health:
    """Look at this machine; nothing is changed."""
    processor = this_processor()
    driver = driver_cuda_version()
    sets = ("avx512_vnni", "avx2", "arm64")
    return Health(
        processor=processor.name,
        architecture=processor.architecture,
        features=tuple(sorted(processor.features)),
        int8=tuple(sorted((name for name in sets if not processor.saturates(name)), key=processor.isa_rank)),
        cpus=len(allowed_cpus()),
        quota=cgroup_quota(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")),
        threads=usable_threads(),
        memory=physical_memory(),
        memory_limit=memory_limit(),
        gpus=list_gpus(),
        driver_cuda=None if driver is None else f"{driver[0]}.{driver[1]}",
        providers=_providers(),
        python=platform.python_version(),
        packages=versions(),
        runtimes=tuple(_examine_runtime(row) for row in RUNTIMES.values()),
    )


def _examine_runtime(row: RuntimeRow) -> RuntimeHealth:
    problem, compute = "", row.compute
    missing = row.missing_modules()
    if missing:
        problem, compute = f"{', '.join(missing)} is not installed", ()
    else:
        try:
            compute = _usable_compute(row)
        except RuntimeUnavailableError as error:
            problem, compute = str(error).rstrip("."), ()
    slow = attention_problem() if row.name == "onnxruntime-cuda" and not problem else ""
    return RuntimeHealth(row.name, not problem, problem, row.install, row.precisions, compute, row.targets, slow)


def _usable_compute(row: RuntimeRow) -> tuple[str, ...]:
    """What `row` computes in here.

    Raises:
        RuntimeUnavailableError: it cannot run here.
    """
    if row.device == "cuda" and row.provider is not None:
        require_provider(import_onnxruntime(), row.provider, row.install)
        if not list_gpus():
            raise RuntimeUnavailableError("nvidia-smi shows no GPU.")
    elif row.provider is not None:
        import_onnxruntime()
    elif row.name in ("openvino", "onnxruntime-openvino"):
        # What OpenVINO computes in depends on the processor.
        usable: tuple[str, ...] = import_module(row.module).computes_in()
        return usable
    return row.compute


def _providers() -> tuple[str, ...]:
    try:
        return tuple(import_onnxruntime().get_available_providers())
    except RuntimeUnavailableError:
        return ()


def versions() -> dict[str, str]:
    """Versions of those of `PACKAGES` that are installed, by name."""
    return installed_versions(PACKAGES)
