"""Graphs of every head for CUDA: made for a real GPU, and for stand-ins of it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import onnx_ir as ir
from export_samples import ALL_TASKS, tiny_config, tiny_eager

from bert_onnx.errors import UsageError
from bert_onnx.postprocess import postprocess_of
from bert_onnx.tasks import TaskOptions, find_task
from export.onnx_file.save import save
from export.passes.base import PassContext
from export.passes.table import run_passes
from export.postprocess import append_postprocess
from export.quantization.float16.convert import convert_to_half
from export.reference.load import Eager
from export.targets import TARGETS
from export.trace.tracer import trace

#: Targets for NVIDIA's GPUs, and each precision that they have.
CUDA_TARGETS = tuple(name for name in TARGETS if name.startswith("ort-cuda"))


def tasks_of(target: str) -> tuple[str, ...]:
    """The tasks that a target serves: a cache holds padding, which cannot be skipped."""
    skips = "remove_padding" in TARGETS[target].passes
    return tuple(task for task in ALL_TASKS if not (skips and find_task(task).cached))


def has_postprocess(task: str) -> bool:
    """Whether outputs can be added to the graph of a tiny model."""
    try:
        return bool(postprocess_of(task, tiny_config(task)))
    except UsageError:
        return False


def make_graph(task: str, target: str, precision: str, path: Path, **changes: Any) -> Eager:
    """The graph of a tiny model with its postprocess outputs, written to `path`, and the model."""
    eager, traced = _traced(task, TARGETS[target].opset, tuple(sorted(changes.items())))
    row = TARGETS[target].for_precision(precision)
    graph = traced.clone()
    run_passes(graph, row.passes, PassContext(row.opset, eager.config))
    if precision != "fp32":
        convert_to_half(graph, precision)
    append_postprocess(graph, eager.module.postprocessing, eager.module.outputs)
    save(graph, path)
    return eager


@cache
def _traced(task: str, opset: int, changes: tuple[tuple[str, Any], ...]) -> tuple[Eager, ir.Model]:
    settings: Mapping[str, Any] = {"num_hidden_layers": 1, **dict(changes)}
    options = TaskOptions(postprocess=has_postprocess(task), pooler=task == "feature-extraction")
    eager = tiny_eager(task, options, **settings)
    return eager, trace(eager.module.without_postprocess(), opset)
