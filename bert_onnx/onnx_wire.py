"""The bytes of an .onnx file, field by field, without the onnx package: weights need not be read, nor held in memory.

The encoding is that of https://protobuf.dev/programming-guides/encoding; field numbers are those of onnx.proto.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import NamedTuple

MODEL_GRAPH, MODEL_OPSETS, MODEL_METADATA = 7, 8, 14
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT = 1, 5, 11, 12
NODE_OPERATOR, NODE_DOMAIN = 4, 7
TENSOR_NAME, TENSOR_RAW_DATA = 8, 9

_VARINT, _LENGTH_DELIMITED = 0, 2
_FIXED = {1: 8, 5: 4}
_LONGEST_VARINT = 10


class Field(NamedTuple):
    """A field of a message.

    Args:
        number: what it is.
        begin, start, stop: it lies in bytes [begin, stop) of the file, its value in [start, stop).
        integer: the value of an integer; None for texts, messages and numbers of a fixed size.
    """

    number: int
    begin: int
    start: int
    stop: int
    integer: int | None


def read_fields(data: mmap.mmap, start: int, stop: int) -> Iterator[Field]:
    """The fields of the message in bytes [start, stop).

    Raises:
        ValueError: the bytes are no message.
    """
    at = start
    while at < stop:
        begin = at
        tag, at = _read_varint(data, at, stop)
        number, kind = tag >> 3, tag & 7
        integer = None
        if number == 0:
            raise ValueError(f"it is no message (a field has no number, at byte {begin})")
        if kind == _VARINT:
            value = at
            integer, at = _read_varint(data, at, stop)
        elif kind == _LENGTH_DELIMITED:
            length, value = _read_varint(data, at, stop)
            at = value + length
        elif kind in _FIXED:
            value, at = at, at + _FIXED[kind]
        else:
            raise ValueError(f"it is no message (a field of kind {kind}, at byte {begin})")
        if at > stop:
            raise ValueError(f"it ends in the middle of a field (at byte {begin})")
        yield Field(number, begin, value, at, integer)


def _read_varint(data: mmap.mmap, start: int, stop: int) -> tuple[int, int]:
    """The integer at `start`, and where it ends."""
    value = 0
    for place in range(start, min(stop, start + _LONGEST_VARINT)):
        byte = data[place]
        value |= (byte & 0x7F) << (7 * (place - start))
        if byte < 0x80:
            return value, place + 1
    raise ValueError("it ends in the middle of a number")


def field_header(number: int, length: int) -> bytes:
    """What stands before the `length` bytes of a field that is a message, a text or bytes."""
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(length)


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the highest bit says that more follow."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
