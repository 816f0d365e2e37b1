"""Checks of what a caller asks of a pipeline."""

from __future__ import annotations

from bert_onnx.errors import UsageError


def check_count(name: str, value: int) -> int:
    """`value`, if it is a whole number of at least 1.

    Raises:
        UsageError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UsageError(f"{name} is {value!r}; it must be a whole number of at least 1.")
    return value
