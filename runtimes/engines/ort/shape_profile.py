"""The shapes that TensorRT builds an engine for: one profile, from a text of one token to the largest batch.

ONNX Runtime's provider hands several profiles to TensorRT and runs with the first alone, so that inputs of any other
fail (https://github.com/microsoft/onnxruntime/pull/31624, open for 1.31).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bert_onnx.errors import UsageError


@dataclass(frozen=True)
class Profile:
    """Shapes (B, S): the smallest, the one that kernels are tuned for, the largest."""

    least: tuple[int, int]
    usual: tuple[int, int]
    most: tuple[int, int]


def shape_profile(histogram: Mapping[int, int], batch: int, longest: int) -> Profile:
    """Every shape up to `batch` rows of `longest` tokens, tuned for full batches of the length with most tokens.

    Args:
        histogram: how many texts there are of each length, in tokens; empty: tuned for `longest`.
        batch: most rows of a call.
        longest: longest text that may come.

    Raises:
        UsageError: a number is out of range.
    """
    if batch < 1 or longest < 1:
        raise UsageError(f"batch and longest are {batch} and {longest}; each must be at least 1.")
    counts = {length: count for length, count in histogram.items() if count > 0}
    if counts and (min(counts) < 1 or max(counts) > longest):
        raise UsageError(f"the histogram has lengths from {min(counts)} to {max(counts)}; 1 to {longest} can come.")
    usual = max(counts, key=lambda length: (counts[length] * length, length), default=longest)
    return Profile((1, 1), (batch, usual), (batch, longest))


def profile_options(profile: Profile, inputs: Sequence[str]) -> dict[str, str]:
    """The provider's options: `name:BxS` for each input, as onnxruntime parses them."""
    shapes = {"min": profile.least, "opt": profile.usual, "max": profile.most}
    return {
        f"trt_profile_{name}_shapes": ",".join(f"{one}:{batch}x{length}" for one in inputs)
        for name, (batch, length) in shapes.items()
    }
