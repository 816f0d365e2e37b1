"""fp16 and bf16 as number formats: what they hold, and constants rounded to them with nothing lost silently."""

from __future__ import annotations

from dataclasses import dataclass

import ml_dtypes
import numpy as np
import onnx_ir as ir

from bert_onnx.errors import ExportError, UsageError

#: What takes the place of a mask's fill value. Softmax makes 0 of it beside any score that a model computes, two of
#: them (a causal mask and a padding mask) and a score still add up to something finite in fp16, and a row that is
#: masked altogether gets equal shares as with float32's own -3.4e38, not NaN. A power of two is exact in both formats.
FILL = -16384.0

#: Constants this low are fill values in any format: no weight is.
_SURELY_FILL = -1e30


@dataclass(frozen=True)
class HalfFormat:
    """A format of 16 bits.

    Args:
        name: the precision's name.
        dtype: its element type.
        numpy: its numpy type.
        largest: the largest finite number.
        tiny: the smallest number with full precision.
        least: the smallest number above 0.
    """

    name: str
    dtype: ir.DataType
    numpy: np.dtype
    largest: float
    tiny: float
    least: float


def _format(name: str, dtype: ir.DataType, kind: type) -> HalfFormat:
    info = ml_dtypes.finfo(kind)
    limits = (float(info.max), float(info.smallest_normal), float(info.smallest_subnormal))
    return HalfFormat(name, dtype, np.dtype(kind), *limits)


HALF_FORMATS: dict[str, HalfFormat] = {
    "fp16": _format("fp16", ir.DataType.FLOAT16, np.float16),
    "bf16": _format("bf16", ir.DataType.BFLOAT16, ml_dtypes.bfloat16),
}


def find_half_format(precision: str) -> HalfFormat:
    """The format of a precision. Raises UsageError where it is none of 16 bits."""
    if precision not in HALF_FORMATS:
        raise UsageError(f"{precision!r} is no precision of 16 bits; choose one of {', '.join(HALF_FORMATS)}.")
    return HALF_FORMATS[precision]


@dataclass(frozen=True)
class Underflow:
    """A constant that loses values.

    Args:
        name: its name.
        zeros: how many of its values were not 0 and are now.
        size: how many it has.
        share: what is lost of its norm, 0 to 1.
    """

    name: str
    zeros: int
    size: int
    share: float


@dataclass(frozen=True)
class Rounded:
    """A constant in 16 bits, with what happened to it."""

    array: np.ndarray
    fills: int
    underflow: Underflow | None


def without_fills(array: np.ndarray, limit: float) -> tuple[np.ndarray, int]:
    """`array` with `FILL` in place of the fill values of masks, and how many there were.

    A fill is -infinity, anything below -1e30, and a single number below -`limit`.
    """
    low = array < (-limit if array.size == 1 else _SURELY_FILL)
    return np.where(low, np.float32(FILL), array).astype(np.float32), int(low.sum())


def round_constant(array: np.ndarray, name: str, half: HalfFormat) -> Rounded:
    """`array`, float32, in `half`.

    Raises:
        ExportError: a value is no number, or too large for the format.
    """
    filled, fills = without_fills(array, half.largest)
    wrong = ~(np.abs(filled) <= half.largest)
    if wrong.any():
        index = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ExportError(
            f"{name}{list(index)} is {filled[index]:.6g}, and {half.name} holds at most {half.largest:.6g}; "
            f"this model cannot run in {half.name}. Choose {'bf16 or ' if half.name == 'fp16' else ''}int8."
        )
    rounded = filled.astype(half.numpy)
    lost = (filled != 0) & (rounded == 0)
    zeros = int(np.count_nonzero(lost))
    if not zeros:
        return Rounded(rounded, fills, None)
    wide = filled.astype(np.float64)
    share = float(np.linalg.norm(wide[lost]) / np.linalg.norm(wide))
    return Rounded(rounded, fills, Underflow(name, zeros, filled.size, share))
