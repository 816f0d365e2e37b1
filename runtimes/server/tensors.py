"""Tensors in requests and answers of the KServe v2 protocol: as JSON, or as bytes behind it (its binary extension)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import numpy as np

from runtimes.server.refusals import BadRequestError

#: Datatypes of the protocol that hold whole numbers, and those of answers.
_INTEGERS = {
    "BOOL": "?", "INT8": "<i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8",
    "UINT8": "<u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8",
}  # fmt: skip
DATATYPES = {"int64": "INT64", "float32": "FP32"}
_MOST_AXES = 8


class TensorIn(msgspec.Struct):
    """A tensor of a request: its values in `data`, or `parameters.binary_data_size` bytes of them behind the JSON."""

    name: str
    shape: Annotated[list[Annotated[int, msgspec.Meta(ge=0)]], msgspec.Meta(max_length=_MOST_AXES)]
    datatype: Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(_INTEGERS)})]
    data: list[Any] | None = None
    parameters: dict[str, Any] = {}

    def array(self, binary: memoryview | None) -> np.ndarray:
        """Its values. Raises BadRequestError: they are not what shape and datatype say."""
        if self.datatype not in _INTEGERS:
            raise BadRequestError(f"{self.name} is {self.datatype[:20]}; it must be one of {', '.join(_INTEGERS)}.")
        dtype = np.dtype(_INTEGERS[self.datatype])
        flat = self._from_json(dtype) if binary is None else self._from_bytes(binary, dtype)
        if flat.size != math.prod(self.shape):
            raise BadRequestError(f"{self.name} has {flat.size} values, and its shape is {self.shape}.")
        return flat.reshape(self.shape)

    def _from_json(self, dtype: np.dtype[Any]) -> np.ndarray:
        if self.data is None:
            raise BadRequestError(f"{self.name} has neither data nor a binary_data_size.")
        try:
            array = np.array(self.data)
        except ValueError:
            raise BadRequestError(f"the data of {self.name} are lists of several lengths.") from None
        if array.dtype.kind not in "biu" or not np.array_equal(array, array.astype(dtype)):
            raise BadRequestError(f"the data of {self.name} are not {self.datatype}.")
        return array.astype(dtype)

    def _from_bytes(self, binary: memoryview, dtype: np.dtype[Any]) -> np.ndarray:
        if len(binary) % dtype.itemsize:
            raise BadRequestError(f"the bytes of {self.name} are no whole number of {self.datatype}.")
        return np.frombuffer(binary, dtype)


def read_tensors(tensors: list[TensorIn], rest: memoryview) -> dict[str, np.ndarray]:
    """The tensors by their names; the bytes of those that are binary stand in `rest`, one after the other.

    Raises:
        BadRequestError: too few or too many bytes, two tensors of one name, or as `TensorIn.array`.
    """
    found: dict[str, np.ndarray] = {}
    for tensor in tensors:
        if tensor.name in found:
            raise BadRequestError(f"there are two tensors called {tensor.name[:100]}.")
        size, binary = tensor.parameters.get("binary_data_size"), None
        if size is not None:
            if type(size) is not int or not 0 <= size <= len(rest):
                raise BadRequestError(f"the binary_data_size of {tensor.name[:100]} is more than there is.")
            binary, rest = rest[:size], rest[size:]
        found[tensor.name] = tensor.array(binary)
    if rest:
        raise BadRequestError(f"{len(rest)} bytes belong to no tensor; give each its binary_data_size.")
    return found


def write_tensors(outputs: Mapping[str, np.ndarray], binary: set[str]) -> tuple[list[dict[str, Any]], bytes]:
    """The description of each of `outputs`, and the bytes of those whose names are in `binary`."""
    described, raw = [], bytearray()
    for name, array in outputs.items():
        row: dict[str, Any] = {"name": name, "datatype": DATATYPES[array.dtype.name], "shape": list(array.shape)}
        if name in binary:
            content = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
            row["parameters"] = {"binary_data_size": len(content)}
            raw += content
        else:
            row["data"] = array.ravel().tolist()
        described.append(row)
    return described, bytes(raw)
