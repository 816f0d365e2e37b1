"""Shape profiles of TensorRT from a histogram of lengths: each profile is one range that an engine is tuned for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bert_onnx.errors import UsageError


@dataclass(frozen=True)
class Profile:
    """Shapes (B, S) of one profile: the smallest, the one that it is tuned for, the largest."""

    least: tuple[int, int]
    usual: tuple[int, int]
    most: tuple[int, int]


def length_profiles(
    histogram: Mapping[int, int], batch: int, longest: int, most_profiles: int = 3
) -> tuple[Profile, ...]:
    """Profiles that between them take every length from 1 to `longest`, each about the same share of all tokens.

    Args:
        histogram: how many texts there are of each length, in tokens.
        batch: most rows of a call; profiles are tuned for it.
        longest: longest text that may come.
        most_profiles: how many at most; each makes the engine larger and slower to build.

    Raises:
        UsageError: a number is out of range.
    """
    if batch < 1 or longest < 1 or most_profiles < 1:
        raise UsageError(
            f"batch, longest and profiles are {batch}, {longest}, {most_profiles}; each must be at least 1."
        )
    counts = {length: count for length, count in histogram.items() if count > 0}
    if counts and (min(counts) < 1 or max(counts) > longest):
        raise UsageError(f"the histogram has lengths from {min(counts)} to {max(counts)}; 1 to {longest} can come.")
    if not counts:
        return (Profile((1, 1), (batch, longest), (batch, longest)),)
    profiles, start = [], 1
    for end in _bounds(counts, longest, most_profiles):
        inside = {length: count for length, count in counts.items() if start <= length <= end}
        usual = max(inside, key=lambda length: (inside[length] * length, length)) if inside else end
        profiles.append(Profile((1, start), (batch, usual), (batch, end)))
        start = end + 1
    return tuple(profiles)


def profile_options(profiles: Sequence[Profile], inputs: Sequence[str]) -> dict[str, str]:
    """The provider's options: `name:BxS` for each input of each profile, as onnxruntime parses them."""
    if not profiles:
        return {}
    columns = {"min": "least", "opt": "usual", "max": "most"}
    return {
        f"trt_profile_{short}_shapes": ",".join(
            f"{name}:{getattr(profile, field)[0]}x{getattr(profile, field)[1]}"
            for profile in profiles
            for name in inputs
        )
        for short, field in columns.items()
    }


def _bounds(counts: Mapping[int, int], longest: int, most_profiles: int) -> list[int]:
    """The last length of each profile, ascending; the last of all is `longest`."""
    total = sum(length * count for length, count in counts.items())
    bounds: list[int] = []
    seen = 0
    for length in sorted(counts):
        seen += length * counts[length]
        if len(bounds) + 1 < most_profiles and seen * most_profiles >= total * (len(bounds) + 1) and length < longest:
            bounds.append(length)
    return [*bounds, longest]
