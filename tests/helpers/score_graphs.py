"""Graphs that give the scores they are fed, with postprocess outputs behind them, and the same written with loops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from bert_onnx.config import BertConfig
from bert_onnx.modeling.postprocess import Postprocessing
from bert_onnx.tasks import Port, TaskOptions, find_task, input_ports, output_ports
from export.onnx_file.save import save
from export.postprocess import append_postprocess
from export.targets import IR_VERSION_OF_OPSET

WITH_POSTPROCESS = TaskOptions(postprocess=True)

#: What postprocessing reads beside scores.
_READ = ("attention_mask", "token_type_ids")


def config_of(task: str, **changes: Any) -> BertConfig:
    """A config with few tokens and labels."""
    return BertConfig().replace(**{"vocab_size": 12, "num_labels": 3, "is_decoder": find_task(task).decoder, **changes})


def score_ports(
    task: str, config: BertConfig, options: TaskOptions = WITH_POSTPROCESS
) -> tuple[tuple[Port, ...], tuple[Port, ...], Postprocessing]:
    """Inputs (masks, and scores under the names `in_...`), outputs, and what makes the postprocess outputs."""
    row, postprocessing = find_task(task), Postprocessing.of(task, config, options)
    outputs = [port for port in output_ports(row, config, options) if not port.name.startswith("present")]
    masks = [port for port in input_ports(row, config) if port.name in _READ]
    scores = [
        Port(f"in_{port.name}", port.dtype, port.axes) for port in outputs if port.name not in postprocessing.names
    ]
    return (*masks, *scores), tuple(outputs), postprocessing


def score_graph(
    path: Path, task: str, config: BertConfig, opset: int = 18, options: TaskOptions = WITH_POSTPROCESS
) -> Path:
    """outputs = inputs, and the postprocess outputs of `task`; written to `path`."""
    inputs, outputs, postprocessing = score_ports(task, config, options)
    values = {
        port.name: ir.Value(
            name=port.name, shape=ir.Shape(port.axes), type=ir.TensorType(ir.DataType[_DTYPES[port.dtype]])
        )
        for port in inputs
    }
    nodes, given = [], []
    for port in outputs:
        if port.name in postprocessing.names:
            continue
        node = ir.node("Identity", [values[f"in_{port.name}"]], name=f"head/{port.name}")
        (value,) = node.outputs
        value.name, value.shape, value.type = port.name, ir.Shape(port.axes), ir.TensorType(ir.DataType.FLOAT)
        nodes.append(node)
        given.append(value)
    graph = ir.Graph(list(values.values()), given, nodes=nodes, opset_imports={"": opset}, name="scores")
    model = ir.Model(graph, ir_version=IR_VERSION_OF_OPSET[opset])
    append_postprocess(model, postprocessing, outputs)
    save(model, path)
    return path


_DTYPES = {"int64": "INT64", "float32": "FLOAT"}


def softmax(scores: np.ndarray) -> np.ndarray:
    """Over the last axis, in float64."""
    raised = np.exp(scores.astype(np.float64) - scores.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def best_span(start: np.ndarray, end: np.ndarray, types: np.ndarray, mask: np.ndarray, longest: int) -> dict[str, Any]:
    """The best span of one row [S], by trying every one."""
    real = [i for i in range(len(mask)) if mask[i]]
    context = [i for i in real if types[i] == 1][:-1]  # the last one is [SEP]
    legal = sorted({*context, real[0]})
    starts = dict(zip(legal, softmax(start[legal]), strict=True))
    ends = dict(zip(legal, softmax(end[legal]), strict=True))
    nothing = starts[real[0]] * ends[real[0]]
    best, at = -np.inf, (0, 0)
    for i in context:
        for j in context:
            if i <= j < i + longest and float(start[i]) + float(end[j]) > best:
                best, at = float(start[i]) + float(end[j]), (i, j)
    score = starts[at[0]] * ends[at[1]] if context else 0.0
    return {"answer_start": at[0], "answer_end": at[1], "answer_score": score, "no_answer_score": nothing}
