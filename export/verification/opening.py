"""Opens a variant's file for verification."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bert_onnx.errors import RuntimeUnavailableError
from export.reference.load import Eager
from export.verification.emulated import open_emulated
from runtimes.engines.base import Runtime, RuntimeOptions
from runtimes.engines.ort.cpu import OnnxRuntimeCpu
from runtimes.engines.ort.library import import_onnxruntime
from runtimes.engines.ort.session import open_session, session_options

#: Targets of which no graph has kernels on CPUs.
CUDA_ONLY = ("ort-cuda-unpadded",)


@contextmanager
def open_variant(path: Path, eager: Eager, target: str, precision: str) -> Iterator[Runtime]:
    """What verifies the file `path`: ONNX Runtime on the CPU, with a twin of what it has no kernels for there.

    Raises:
        ArtifactError, RuntimeUnavailableError: it does not open.
    """
    ports, limits = (eager.module.inputs, eager.module.outputs), eager.config
    if precision == "bf16" or target in CUDA_ONLY or (precision == "fp16" and target == "ort-cuda"):
        require_valid(path)
        with open_emulated(path, *ports, limits) as emulated:
            yield emulated
        return
    # The reference may be computing on the same cores. An int8 file for VNNI is judged by what VNNI gives.
    options = RuntimeOptions(spinning=False, exact_integers=True)
    with OnnxRuntimeCpu.open(path, *ports, options, limits) as runtime:
        yield runtime


def require_valid(path: Path) -> None:
    """Let ONNX Runtime read the file `path` itself: an emulation runs another graph, and that one may be valid where
    this one is not. It checks every node against its operator's schema before it looks for kernels, which it may lack.

    Raises:
        ArtifactError: it is no valid graph.
    """
    library = import_onnxruntime()
    options = session_options(library, RuntimeOptions(optimization="none"), threads=1)
    with suppress(RuntimeUnavailableError):  # valid, and without a kernel on the CPU
        open_session(library, path, options)
