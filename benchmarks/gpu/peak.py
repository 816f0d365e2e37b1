"""What a GPU can do: by its maker's data sheet where we know it, and by a bare product in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks.gpu.results import Peak

#: Dense fp16 operations a second with float32 sums, by how nvidia-smi names the GPU; from NVIDIA's data sheets.
_DATA_SHEETS = {
    "NVIDIA A100": 312e12,
    "NVIDIA H100 80GB HBM3": 989e12,
    "NVIDIA H200": 989e12,
}
_ROUNDS = 7


def data_sheet(name: str, precision: str) -> Peak | None:
    """What the maker says of the GPU called `name`; None where we do not know it, and for fp32."""
    if precision != "fp16":
        return None
    found = next((peak for known, peak in _DATA_SHEETS.items() if name.startswith(known)), None)
    return None if found is None else Peak(found, "data sheet")


def measured(product: Callable[[], object], wait: Callable[[], object], side: int) -> Peak:
    """The fastest of several bare products of two `side` x `side` matrices."""
    product()
    wait()
    best = float("inf")
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        product()
        wait()
        best = min(best, time.perf_counter() - started)
    return Peak(2 * side**3 / best, f"bare {side}x{side} product")
