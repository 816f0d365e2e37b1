"""Where 16 bits gain nothing."""

from __future__ import annotations

#: Targets whose clients may run a file on a GPU, where it is about twice as fast, or on a CPU, where it is not.
_CPU_TOO = ("portable", "openvino", "openvino-unpadded")


def half_warnings(precision: str, target: str) -> tuple[str, ...]:
    """What the user should know of `precision` on `target`.

    Measured on all-MiniLM-L6-v2, ONNX Runtime 1.31, one core of Zen 4: fp16 takes 1.7 times as long as fp32 at 1x16,
    and the same time at 1x128 and 8x128.
    """
    if precision == "fp16" and target in _CPU_TOO:
        return (
            "fp16 halves the file and gains no time on x86 CPUs, which compute it in fp32: it is for GPUs. "
            "On a CPU take int8, or fp32 on OpenVINO, which computes in bf16 where the CPU can.",
        )
    return ()
