"""Quantization: how the weights and activations of one variant became integers."""

from __future__ import annotations

from dataclasses import dataclass

from bert_onnx.artifact.contract.kinds import Count, Sha256


@dataclass(frozen=True)
class Quantization:
    """What was done to one variant.

    Args:
        method: `static`, `dynamic` or `weights`.
        isa: the instruction set whose kernels the integers are laid out for; None where it makes no difference.
        groups: how many quantization groups there are of each scheme, in words, such as `int8, smoothed`.
        calibration: name of the texts that ranges were learned from; None where none were needed.
        calibration_sha256: their sha256.
        calibration_count: how many there were.
    """

    method: str
    isa: str | None
    groups: dict[str, Count]
    calibration: str | None = None
    calibration_sha256: Sha256 | None = None
    calibration_count: Count = 0
