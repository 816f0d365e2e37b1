"""Writes a graph to disk, with its weights in one file beside it where protobuf's 2 GB limit wants that."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from bert_onnx.errors import StorageError
from export.onnx_file.limits import EXTERNAL_DATA_THRESHOLD
from export.onnx_file.stream import write_model

#: Tensors smaller than this stay inside the graph, where shape inference needs them.
_SMALLEST_EXTERNAL = 1024


def save(model: ir.Model, path: Path, threshold: int = EXTERNAL_DATA_THRESHOLD) -> Path | None:
    """Write `model` to `path`.

    Args:
        model: an IR model; it is left as it is.
        path: an .onnx file in a folder that exists.
        threshold: bytes of weights above which they are written to `<path>_data`.

    Returns:
        The data file, or None where the weights are inside.

    Raises:
        StorageError: the disk refuses.
    """
    data = path.with_name(path.name + "_data") if weight_bytes(model) > threshold else None
    try:
        if data is None:
            write_model(model, path)
        else:
            ir.save(model, path, external_data=data.name, size_threshold_bytes=_SMALLEST_EXTERNAL)
    except OSError as error:
        raise StorageError(f"{path} could not be written: {error.strerror or error}.") from error
    return data


def weight_bytes(model: ir.Model) -> int:
    """Bytes of all initializers."""
    return sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value is not None)
