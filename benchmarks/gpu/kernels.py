"""Which kernels a forward pass is made of, as CUPTI tells through torch's profiler, whichever library started them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: How many kernels are kept, and how much of their names, which can be pages of template arguments.
_MOST, _LONGEST = 8, 160


def kernels(run: Callable[[], object], wait: Callable[[], object], device: str) -> list[tuple[str, float]]:
    """Names of kernels, and the share of the time that each takes: the longest first.

    Args:
        run: starts a forward pass that has run before.
        wait: returns when it is done.
        device: `cuda`, or `cpu` for the operators of torch.

    Returns:
        Nothing where the profiler sees no kernel: CUPTI is missing, or may not be used here.
    """
    from torch.profiler import ProfilerActivity, profile

    on_gpu = device == "cuda"
    run()
    wait()
    with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as recorded:
        run()
        wait()

    def seconds(event: Any) -> float:
        return float(event.self_device_time_total if on_gpu else event.self_cpu_time_total)

    events = sorted((event for event in recorded.key_averages() if seconds(event) > 0), key=seconds, reverse=True)
    total = sum(seconds(event) for event in events)
    return [(event.key[:_LONGEST], seconds(event) / total) for event in events[:_MOST]]
