"""Opens a variant's file for verification."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from export.quantization.float16.emulation import open_emulated
from export.reference.load import Eager
from runtimes.engines.base import Runtime, RuntimeOptions
from runtimes.engines.ort.cpu import OnnxRuntimeCpu


@contextmanager
def open_variant(path: Path, eager: Eager, target: str, precision: str) -> Iterator[Runtime]:
    """What verifies the file `path`: ONNX Runtime on the CPU, which emulates 16 bits where it has no kernels for them.

    Raises:
        ArtifactError, RuntimeUnavailableError: it does not open.
    """
    ports, limits = (eager.module.inputs, eager.module.outputs), eager.config
    if precision == "bf16" or (precision == "fp16" and target == "ort-cuda"):
        with open_emulated(path, *ports, limits) as emulated:
            yield emulated
        return
    # The reference may be computing on the same cores. An int8 file for VNNI is judged by what VNNI gives.
    options = RuntimeOptions(spinning=False, exact_integers=True)
    with OnnxRuntimeCpu.open(path, *ports, options, limits) as runtime:
        yield runtime
