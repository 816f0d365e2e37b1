"""The check before every runtime: names, dtypes, shapes, ids and masks. What passes is safe on every provider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from bert_onnx.errors import InputError
from bert_onnx.tasks import INPUT_DEFAULTS, PAST, PROMPT_LENGTH, SEQUENCE, Port, axis_length

#: Axes that may have length 0: a cache holds nothing before the first step.
MAY_BE_EMPTY = frozenset({PAST})
TOKEN_TYPES = "token_type_ids"
MASKS = frozenset({"attention_mask", "encoder_attention_mask"})


class Limits(Protocol):
    """What a model's tables can look up; BertConfig and the manifest's ModelLimits say it."""

    @property
    def vocab_size(self) -> int:
        """Token ids run from 0 up to, not including, this."""
        ...

    @property
    def longest_sequence(self) -> int:
        """Most tokens in a row, those in the cache included."""
        ...

    @property
    def type_vocab_size(self) -> int:
        """Token types run from 0 up to, not including, this."""
        ...


def check_inputs(
    inputs: Mapping[str, np.ndarray], ports: Sequence[Port], limits: Limits | None = None
) -> dict[str, np.ndarray]:
    """`inputs` in the order and dtypes of `ports`, checked; a copy only where the dtype has to change.

    Integers of any width and booleans become int64, floats become float32. A row whose mask is all zero is
    refused: no token of it is real, so that a mean over it divides by zero, and a runtime that masks with
    -infinity makes the outputs NaN. Limits are checked where given.

    Raises:
        InputError: the first thing that is wrong, with the input's name, the index, the value and the limit.
    """
    inputs = _with_defaults(inputs, ports)
    _check_names(inputs, ports)
    arrays = {port.name: _as_dtype(port, inputs[port.name]) for port in ports}
    lengths = _axis_lengths({name: array.shape for name, array in arrays.items()}, ports)
    for name, array in arrays.items():
        if name in MASKS:
            _check_mask(name, array)
        elif array.dtype == np.float32:
            _check_floats(name, array)
    if limits is not None:
        _check_limits(arrays, lengths, limits)
    return arrays


def check_shapes(shapes: Mapping[str, Sequence[int]], ports: Sequence[Port]) -> dict[str, int]:
    """The lengths of the named axes, for tensors whose values are elsewhere; inputs with defaults may be missing.

    Raises:
        InputError: a missing or unknown input, another number of axes, or lengths that disagree.
    """
    given = [port for port in ports if port.name in shapes or port.name not in INPUT_DEFAULTS]
    _check_names(shapes, given)
    for port in given:
        _check_axes(port, shapes[port.name])
    return _axis_lengths(shapes, given)


def _with_defaults(inputs: Mapping[str, np.ndarray], ports: Sequence[Port]) -> Mapping[str, np.ndarray]:
    """`inputs`, and those that need not be given; without token_type_ids where the model has no kinds of tokens."""
    if TOKEN_TYPES in inputs and all(port.name != TOKEN_TYPES for port in ports):
        inputs = {name: array for name, array in inputs.items() if name != TOKEN_TYPES}
    missing = [port for port in ports if port.name in INPUT_DEFAULTS and port.name not in inputs]
    if not missing:
        return inputs
    return {**inputs, **{port.name: np.full((1,), INPUT_DEFAULTS[port.name], np.int64) for port in missing}}


def check_right_padding(inputs: Mapping[str, np.ndarray]) -> None:
    """Refuse a mask in which a real token follows padding: the graph knows the length of each row only.

    Raises:
        InputError: naming the first such token.
    """
    for name in MASKS & inputs.keys():
        mask = inputs[name]
        late = mask[..., 1:] > mask[..., :-1]
        if late.any():
            *row, position = _first(late)
            index = [*row, position + 1]
            raise InputError(
                f"{name}{index} is a real token after padding; this variant needs padding on the right, "
                "so pad after the text or use another variant."
            )


def _check_names(inputs: Mapping[str, object], ports: Sequence[Port]) -> None:
    expected = [port.name for port in ports]
    missing = [name for name in expected if name not in inputs]
    unknown = [str(name) for name in inputs if name not in expected]
    if missing or unknown:
        parts = [f"missing {', '.join(missing)}"] if missing else []
        parts += [f"unknown {', '.join(unknown)}"] if unknown else []
        raise InputError(f"the inputs do not fit the model: {'; '.join(parts)}. It takes {', '.join(expected)}.")


def _as_dtype(port: Port, array: np.ndarray) -> np.ndarray:
    if not isinstance(array, np.ndarray):
        raise InputError(f"{port.name} is a {type(array).__name__}; give a numpy array of {port.dtype}.")
    _check_axes(port, array.shape)
    kinds = "biu" if port.dtype == "int64" else "f"
    if array.dtype.kind not in kinds:
        raise InputError(f"{port.name} holds {array.dtype}; it must hold {port.dtype}.")
    if array.dtype.kind == "u" and array.dtype.itemsize == 8 and array.size and array.max() > np.iinfo(np.int64).max:
        raise InputError(f"{port.name} holds {array.max()}, which does not fit int64.")
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, and is refused as that
        return np.ascontiguousarray(array, dtype=port.dtype)


def _check_axes(port: Port, shape: Sequence[int]) -> None:
    if len(shape) != len(port.axes):
        axes = ", ".join(str(axis) for axis in port.axes)
        raise InputError(f"{port.name} has the shape {list(shape)}; it needs {len(port.axes)} axes [{axes}].")


def _axis_lengths(shapes: Mapping[str, Sequence[int]], ports: Sequence[Port]) -> dict[str, int]:
    """Lengths of the named axes, the same in all inputs. Sums and products are checked once their terms are known."""
    lengths: dict[str, int] = {}
    first: dict[str, str] = {}
    composed: list[tuple[Port, int, str]] = []
    for port in ports:
        for position, (axis, length) in enumerate(zip(port.axes, shapes[port.name], strict=True)):
            if isinstance(axis, int):
                if length != axis:
                    raise InputError(f"{port.name} has length {length} on axis {position}; this model has {axis}.")
            elif "+" in axis or "*" in axis:
                composed.append((port, position, axis))
            elif lengths.setdefault(axis, length) != length:
                raise InputError(
                    f"{port.name} has length {length} on axis {position} ({axis}), "
                    f"but {first[axis]} has {lengths[axis]}; they must agree."
                )
            else:
                first.setdefault(axis, port.name)
    for port, position, axis in composed:
        length = shapes[port.name][position]
        if length != (expected := axis_length(axis, lengths)):
            raise InputError(
                f"{port.name} has length {length} on axis {position} ({axis}); the other inputs make it {expected}."
            )
    for axis, length in lengths.items():
        if length == 0 and axis not in MAY_BE_EMPTY:
            raise InputError(f"{first[axis]} is empty: its axis {axis} has length 0; give at least one.")
    return lengths


def _check_mask(name: str, mask: np.ndarray) -> None:
    wrong = (mask != 0) & (mask != 1)
    if wrong.any():
        index = _first(wrong)
        raise InputError(f"{name}{list(index)} is {mask[index]}; a mask holds 1 for real tokens and 0 for padding.")
    empty = np.logical_not(np.any(mask, axis=-1))
    if np.any(empty):
        raise InputError(f"{name}{list(_first(empty))} is all 0; every row needs at least one real token.")


def _check_floats(name: str, array: np.ndarray) -> None:
    if array.size and not (np.isfinite(array.min()) and np.isfinite(array.max())):
        index = _first(~np.isfinite(array))
        raise InputError(f"{name}{list(index)} is {array[index]}; it must be finite.")


def _check_limits(arrays: Mapping[str, np.ndarray], lengths: Mapping[str, int], limits: Limits) -> None:
    if "input_ids" in arrays:
        _check_range("input_ids", arrays["input_ids"], limits.vocab_size, "token ids")
    if TOKEN_TYPES in arrays:
        _check_range(TOKEN_TYPES, arrays[TOKEN_TYPES], limits.type_vocab_size, "token types")
    if PROMPT_LENGTH in arrays and arrays[PROMPT_LENGTH].min() < 0:
        raise InputError(f"{PROMPT_LENGTH} is {arrays[PROMPT_LENGTH].min()}; it must be 0 or more.")
    past = lengths.get(PAST, 0)
    total = lengths.get(SEQUENCE, 0) + past
    if total > limits.longest_sequence:
        cached = f", {past} of them in the cache," if past else ""
        raise InputError(
            f"the sequence has {total} tokens{cached} and the model has {limits.longest_sequence} positions; "
            "truncate or split the text."
        )


def _check_range(name: str, array: np.ndarray, limit: int, what: str) -> None:
    if array.min() < 0 or array.max() >= limit:
        index = _first((array < 0) | (array >= limit))
        raise InputError(f"{name}{list(index)} is {array[index]}; {what} of this model run from 0 to {limit - 1}.")


def _first(wrong: np.ndarray) -> tuple[int, ...]:
    """Index of the first true element."""
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), wrong.shape))
