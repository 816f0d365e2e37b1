"""Reads an .onnx file that may come from anywhere."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import onnx_ir as ir

from bert_onnx.errors import ArtifactError


def read_graph(path: Path) -> ir.Model:
    """The graph in `path`; weights in a file beside it are read when they are needed.

    Raises:
        ArtifactError: the file is missing, is not a graph, or its weights lie outside of its folder.
    """
    if not path.is_file():
        raise ArtifactError(f"{path} does not exist; name an .onnx file.")
    try:
        model = ir.load(path)
    except Exception as error:  # the protobuf library and onnx_ir raise many kinds
        raise ArtifactError(f"{path} cannot be read as an ONNX graph: {type(error).__name__}.") from error
    for tensor in _external_tensors(model):
        _check_location(tensor, path)
    return model


def _external_tensors(model: ir.Model) -> Iterable[ir.ExternalTensor]:
    """All tensors outside the file: initializers of every graph, and tensors in attributes."""
    for graph in model.graphs():
        for value in graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                yield value.const_value
        for node in graph:
            for attribute in node.attributes.values():
                if isinstance(attribute.value, ir.ExternalTensor):
                    yield attribute.value


def _check_location(tensor: ir.ExternalTensor, path: Path) -> None:
    """Weights are read from the folder of the graph and nowhere else, whatever links lie there."""
    folder = path.parent.resolve()
    file = (folder / tensor.location).resolve()
    if not file.is_relative_to(folder):
        raise ArtifactError(f"{path.name} wants weights from {tensor.location}, outside of its folder.")
    if not file.is_file():
        raise ArtifactError(f"{path.name} wants weights from {tensor.location}, which does not exist.")
