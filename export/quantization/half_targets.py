"""Where 16 bits run, and where they gain anything."""

from __future__ import annotations

from bert_onnx.errors import UsageError

#: Precision -> targets whose clients run such a file.
_RUNS: dict[str, tuple[str, ...]] = {
    "fp16": ("portable", "web", "ort-cuda", "openvino", "openvino-unpadded"),
    "bf16": ("ort-cuda",),
}

#: Why a target is not in the row, and what to do instead.
_INSTEAD: dict[str, str] = {
    "fp16": "its fused operators have no fp16 kernels on CPUs; use --target portable, web, openvino or ort-cuda",
    "bf16": (
        "ONNX Runtime has no bf16 kernels on CPUs; use --target ort-cuda, or run the fp32 file on OpenVINO, "
        "which computes in bf16 where the CPU can"
    ),
}

#: Targets whose clients may run a file on a GPU, where it is about twice as fast, or on a CPU, where it is not.
_CPU_TOO = ("portable", "openvino", "openvino-unpadded")


def check_half_target(precision: str, target: str) -> None:
    """Refuse a target whose clients cannot run `precision`, `fp16` or `bf16`.

    Raises:
        UsageError: with what to do instead.
    """
    if target not in _RUNS[precision]:
        raise UsageError(f"{precision} does not run on the target {target}: {_INSTEAD[precision]}.")


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
