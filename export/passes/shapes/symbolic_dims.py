"""Lengths of axes as numbers or names, and what may be concluded about them.

A name stands for a length that only a run will tell. Two axes with one name have one length. Names are made from others
by arithmetic (`past + sequence`), or anew where nothing is known.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

Dim = int | str
Dims = tuple[Dim, ...]

_PLUS, _TIMES = " + ", " * "


class Names:
    """Makes new names; the same question gets the same name, since equal causes have equal lengths."""

    def __init__(self) -> None:
        self._made: dict[object, str] = {}

    def fresh(self, cause: object) -> str:
        """A name for the length that `cause` determines."""
        return self._made.setdefault(cause, f"~{len(self._made)}")


def is_private(dim: object) -> bool:
    """Whether a name was made up, here or by onnx's shape inference (`unk__7`), and means nothing to a user."""
    return isinstance(dim, str) and any(mark in dim for mark in ("~", "min(", "unk__"))


def add(left: Dim, right: Dim) -> Dim:
    """left + right."""
    if isinstance(left, int) and isinstance(right, int):
        return left + right
    if left == 0 or right == 0:
        return right if left == 0 else left
    return _PLUS.join(sorted(str(left).split(_PLUS) + str(right).split(_PLUS)))


def subtract(left: Dim, right: Dim, names: Names) -> Dim:
    """left - right: the terms that are left over, where all of right's are in left."""
    if isinstance(left, int) and isinstance(right, int):
        return left - right
    rest, taken = Counter(str(left).split(_PLUS)), Counter(str(right).split(_PLUS))
    if right == 0 or taken - rest:
        return left if right == 0 else names.fresh(("subtract", left, right))
    terms = sorted((rest - taken).elements())
    return 0 if not terms else int(terms[0]) if len(terms) == 1 and terms[0].isdigit() else _PLUS.join(terms)


def multiply(left: Dim, right: Dim) -> Dim:
    """left * right."""
    if isinstance(left, int) and isinstance(right, int):
        return left * right
    if 1 in (left, right) or 0 in (left, right):
        return (right if left == 1 else left) if 0 not in (left, right) else 0
    return _TIMES.join(sorted(f"({one})" if _PLUS in str(one) else str(one) for one in (left, right)))


def broadcast(left: Dims, right: Dims, names: Names) -> Dims:
    """The shape of an elementwise operator's output."""
    rank = max(len(left), len(right))
    padded = [(1,) * (rank - len(one)) + one for one in (left, right)]
    return tuple(_broadcast_dim(one, other, names) for one, other in zip(*padded, strict=True))


def _broadcast_dim(left: Dim, right: Dim, names: Names) -> Dim:
    if left == right or right == 1:
        return left
    if left == 1 or isinstance(right, int) or _is_at_most(left, right):
        return right
    if isinstance(left, int) or _is_at_most(right, left):
        return left
    return names.fresh(("broadcast", *sorted((left, right))))


def at_most(limit: Dim, dim: Dim) -> Dim:
    """min(limit, dim), as a slice of a table of `limit` rows has it."""
    return min(limit, dim) if isinstance(limit, int) and isinstance(dim, int) else f"min({limit}, {dim})"


def _is_at_most(left: Dim, right: Dim) -> bool:
    """Whether `left` is min(_, right): where that broadcasts with `right` at all, the result is `right`."""
    return isinstance(left, str) and left.startswith("min(") and left.endswith(f", {right})")


def reshape(source: Dims, wanted: Sequence[Dim | None], copy_zero: bool, names: Names, cause: object) -> Dims:
    """The shape of a Reshape's output; what is not known becomes a name of its own."""
    result: list[Dim | None] = [
        source[axis] if dim == 0 and copy_zero and axis < len(source) else dim for axis, dim in enumerate(wanted)
    ]
    if result.count(-1) == 1 and None not in result:
        result[result.index(-1)] = _rest(source, [dim for dim in result if dim is not None and dim != -1])
    return tuple(names.fresh((cause, axis)) if dim is None or dim == -1 else dim for axis, dim in enumerate(result))


def _rest(source: Dims, others: Sequence[Dim]) -> Dim | None:
    """The product of `source` divided by that of `others`; None where it cannot be derived."""
    left, right = Counter(_names(source)), Counter(_names(others))
    size, divisor = _number(source), _number(others)
    if right - left or divisor == 0 or size % divisor:
        return None
    rest: Dim = size // divisor
    for name in (left - right).elements():
        rest = multiply(rest, name)
    return rest


def _factors(dims: Sequence[Dim]) -> list[str]:
    return [factor for dim in dims for factor in str(dim).split(_TIMES)]


def _names(dims: Sequence[Dim]) -> list[str]:
    return [factor for factor in _factors(dims) if not factor.isdigit()]


def _number(dims: Sequence[Dim]) -> int:
    return math.prod(int(factor) for factor in _factors(dims) if factor.isdigit())
