"""Rewrites a BERT graph that any exporter made for a target of ours: `bert-onnx optimize IN.onnx OUT.onnx`.

Reads, recognises, lowers, writes beside the destination, runs both graphs on the same inputs, and only then publishes.
The graph keeps its own inputs and outputs, by name and in order. What is not recognised stays as it was, and is said.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

from bert_onnx.config import BertConfig
from bert_onnx.errors import StorageError
from bert_onnx.tasks import RIGHT_PADDING
from export.check import check_optimize
from export.external_graph.cases import ExternalInput, external_cases, longest_sequence, read_inputs
from export.external_graph.compare import GraphComparison, compare_graphs
from export.external_graph.read import read_graph
from export.external_graph.recognise import lower_recognised, recognise
from export.onnx_file.check import check_file
from export.onnx_file.fused_operators import count_fused
from export.onnx_file.limits import EXTERNAL_DATA_THRESHOLD
from export.onnx_file.operators import count_operators
from export.onnx_file.save import save, weight_bytes
from export.passes.base import PassContext, Refusal
from export.passes.graph.values import is_operator
from export.passes.table import Ledger
from export.targets import Target, find_target


@dataclass(frozen=True)
class OptimizeReport:
    """What was done to a graph.

    Args:
        source, destination: the files.
        target, opset: what it was written for.
        nodes_before, nodes_after: of the two graphs.
        fused_before: operators of each fused kind (attention, layer_norm, gelu) in the input.
        recognised: how many of each kind were found, fused or spelled out.
        operators: of the output, by name.
        ledger: each pass and what it did.
        refusals: what looked like one of the kinds and could not be matched, and why.
        comparison: how far the two graphs are from each other.
        data_file: the file with the weights, where they are not in the graph.
    """

    source: Path
    destination: Path
    target: str
    opset: int
    nodes_before: int
    nodes_after: int
    fused_before: dict[str, int]
    recognised: dict[str, int]
    operators: dict[str, int]
    ledger: Ledger
    refusals: tuple[Refusal, ...]
    comparison: GraphComparison
    data_file: Path | None

    def to_dict(self) -> dict[str, Any]:
        """JSON form for programs."""
        values = asdict(self)
        values["ledger"] = [{"name": name, "count": outcome.count} for name, outcome in self.ledger]
        for name in ("source", "destination", "data_file"):
            values[name] = None if values[name] is None else str(values[name])
        return values


def optimize(
    source: Path,
    destination: Path,
    target: str,
    heads: int | None = None,
    hidden: int | None = None,
    config: BertConfig | None = None,
    opset: int | None = None,
) -> OptimizeReport:
    """Write the graph in `source` to `destination` as `target` wants it.

    Args:
        source: an .onnx file; it and its data file are left untouched.
        destination: an .onnx file in a folder that exists; what is there is replaced at the end, or not at all.
        target: a row of the target table.
        heads, hidden: H and D, for a graph that does not say how its states are split.
        config: the model's config, for passes that want to know more than the graph says.
        opset: to write; None for the target's own.

    Raises:
        UsageError: an unknown target, options that do not fit the graph, or heads that it does not tell.
        ArtifactError: `source` is missing or is not a graph.
        ExportError: the graph cannot be brought to the opset, or has operators that the target does not allow.
        VerificationError: the new graph does not compute what the old one does; nothing was written.
        StorageError: the disk refuses.
    """
    check_optimize(source, destination, target, heads, hidden, opset)
    row = find_target(target)
    wanted = opset or row.opset
    model = read_graph(source)
    nodes_before, fused_before = _count_nodes(model), count_fused(model)
    inputs, longest = read_inputs(model.graph), longest_sequence(model.graph)
    padding = _padding_to_ignore(model, row, inputs)
    found = recognise(model, PassContext(wanted, config), heads, hidden)
    lowering, refusals = lower_recognised(model, PassContext(wanted, config), row)
    cases = external_cases(inputs, longest, right_padding=RIGHT_PADDING in row.requires)
    comparison, data = _write(model, source, destination, lambda path: compare_graphs(source, path, cases, padding))
    return OptimizeReport(
        source=source,
        destination=destination,
        target=row.name,
        opset=wanted,
        nodes_before=nodes_before,
        nodes_after=_count_nodes(model),
        fused_before=fused_before,
        recognised=found.counts,
        operators=dict(sorted(count_operators(model).items())),
        ledger=found.ledger + lowering,
        refusals=found.refusals + refusals,
        comparison=comparison,
        data_file=data,
    )


def _write(
    model: ir.Model, source: Path, destination: Path, compare: Callable[[Path], GraphComparison]
) -> tuple[GraphComparison, Path | None]:
    """Write, check, compare, and only then publish; the comparison, and the file with the weights if there is one."""
    with _beside(destination) as folder:
        written = folder / destination.name
        if weight_bytes(model) <= EXTERNAL_DATA_THRESHOLD:
            ir.external_data.load_to_model(model)  # what was beside the input would be missing beside the output
        data = save(model, written, EXTERNAL_DATA_THRESHOLD)
        check_file(written)
        comparison = compare(written)
        comparison.raise_if_failed(source, written)
        _move(written, data, destination)
    return comparison, None if data is None else destination.with_name(data.name)


def _padding_to_ignore(model: ir.Model, target: Target, inputs: tuple[ExternalInput, ...]) -> str | None:
    """The mask input, where the two graphs need not agree on what becomes of padding.

    They need not for a target that returns zeros there. Nor for an input graph with ai.onnx's Attention: a query that
    may see no key at all gets the mean of the values from the operator's definition, and zeros from ONNX Runtime 1.31,
    if the mask holds the lowest float; such queries are padding (of a decoder, on the left), and nothing reads them.
    """
    if not target.zero_padding and not any(is_operator(node, "Attention") for node in model.graph.all_nodes()):
        return None
    return next((one.name for one in inputs if one.is_mask), None)


def _count_nodes(model: ir.Model) -> int:
    return sum(count_operators(model).values())


@contextlib.contextmanager
def _beside(destination: Path) -> Iterator[Path]:
    """A folder on the disk of `destination` that is gone afterwards."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
    except OSError as error:
        raise StorageError(f"{destination.parent} cannot be written to: {error.strerror or error}.") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _move(written: Path, data: Path | None, destination: Path) -> None:
    """Publish: the weights first, so that the graph never stands without them."""
    try:
        if data is not None:
            os.replace(data, destination.with_name(data.name))
        os.replace(written, destination)
    except OSError as error:
        raise StorageError(f"{destination} could not be written: {error.strerror or error}.") from error
