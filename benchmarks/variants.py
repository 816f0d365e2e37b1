"""Graphs of one checkpoint for several targets and precisions; all return the last hidden state alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx_ir as ir

from bert_onnx.checkpoint import find_checkpoint
from bert_onnx.tasks import TaskOptions, find_task
from export.onnx_file.limits import EXTERNAL_DATA_THRESHOLD
from export.onnx_file.save import save
from export.passes.base import PassContext
from export.passes.table import run_passes
from export.plan import FP32, LOWEST_OPSET
from export.reference.load import load_eager
from export.targets import TARGETS
from export.trace.tracer import trace
from export.variant import external_threshold

Lower = Callable[[ir.Model], ir.Model]


class Variants:
    """Makes graphs of the checkpoint `model`, a folder or `sample`; those of one opset share a trace."""

    def __init__(self, model: Path | str) -> None:
        self.eager = load_eager(find_checkpoint(str(model)), find_task("feature-extraction"), TaskOptions())
        self._traced: dict[int, ir.Model] = {}

    def write(self, path: Path, target: str, precision: str = FP32, lower: Lower | None = None) -> None:
        """Write the graph of `target` to `path`; `lower` makes a float graph one of `precision`."""
        row = TARGETS[target].for_precision(precision)
        opset = max(row.opset, LOWEST_OPSET.get(precision, 0))
        if opset not in self._traced:
            self._traced[opset] = trace(self.eager.module, opset)
        graph = self._traced[opset].clone()
        run_passes(graph, row.passes, PassContext(opset, self.eager.config))
        if lower is not None:
            graph = lower(graph)
        if precision == "int8":
            run_passes(graph, row.after_int8, PassContext(opset))
        save(graph, path, external_threshold(row, EXTERNAL_DATA_THRESHOLD))
