"""Writes the graph of a package: read, edited, saved as one file, checked, compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx_ir as ir

from export.external_graph.read import read_graph
from export.hosts.compare import Comparison, compare
from export.hosts.embedder import GRAPH_NAME
from export.hosts.host import Subject, refuse
from export.onnx_file.check import check_file
from export.onnx_file.limits import EXTERNAL_DATA_THRESHOLD
from export.onnx_file.save import save, weight_bytes


def write_graph(
    title: str, subject: Subject, folder: Path, edit: Callable[[ir.Model], ir.Model], comparison: Comparison
) -> float:
    """Write `folder`/model.onnx.

    Args:
        title: the host's.
        edit: makes the host's graph, of one output, of the variant's, which it may change.
        comparison: what the host must make of it.

    Returns:
        the largest difference between the host's results and the artifact's.

    Raises:
        UsageError: the weights do not fit one file.
        VerificationError: the difference is larger than rounding.
    """
    return compare(title, save_graph(title, subject, folder, edit), subject, comparison)


def save_graph(title: str, subject: Subject, folder: Path, edit: Callable[[ir.Model], ir.Model]) -> Path:
    """Write `folder`/model.onnx without comparing it; arguments and UsageError as for `write_graph`."""
    model = read_graph(subject.folder / subject.variant.file)
    if weight_bytes(model) > EXTERNAL_DATA_THRESHOLD:
        raise refuse(title, "takes one file, which ends at 2 GB", "package a variant in int8 (--variant)")
    ir.external_data.load_to_model(model)
    graph = folder / GRAPH_NAME
    save(edit(model), graph)
    check_file(graph)
    return graph
