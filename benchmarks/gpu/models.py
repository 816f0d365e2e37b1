"""The model that is measured on a GPU, and the graphs that we and optimum make of it."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from bert_onnx.checkpoint import find_checkpoint
from bert_onnx.config import BertConfig
from bert_onnx.tasks import Port, TaskOptions, find_task
from export.onnx_file.save import save
from export.passes.base import PassContext
from export.passes.table import run_passes
from export.quantization.float16.convert import convert_to_half
from export.reference.load import load_eager
from export.targets import TARGETS
from export.trace.tracer import trace

#: Our targets that are measured. The one that skips padding has standard operators, and takes fp16.
PADDED_TARGET, PACKED_TARGET = "ort-cuda", "openvino-unpadded"
PRECISIONS = ("fp32", "fp16")


@dataclass(frozen=True)
class GpuModel:
    """A checkpoint and the graphs made of it.

    Args:
        folder: the checkpoint.
        config: its config.
        inputs, outputs: ports of all graphs.
        ours: .onnx files by target and precision.
        peers: .onnx files by precision and the peer's name.
        refused: peers that could not be made, and why.
    """

    folder: Path
    config: BertConfig
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    ours: dict[tuple[str, str], Path]
    peers: dict[str, dict[str, Path]]
    refused: dict[str, str]


def our_graphs(folder: Path, work: Path) -> GpuModel:
    """Our graphs of the checkpoint in `folder`; all return the last hidden state alone."""
    eager = load_eager(find_checkpoint(str(folder)), find_task("feature-extraction"), TaskOptions())
    ours, traced = {}, {}
    for name in (PADDED_TARGET, PACKED_TARGET):
        target = TARGETS[name]
        if target.opset not in traced:
            traced[target.opset] = trace(eager.module, target.opset)
        for precision in PRECISIONS:
            graph: ir.Model = traced[target.opset].clone()
            run_passes(graph, target.passes, PassContext(target.opset, eager.config))
            if precision == "fp16":
                convert_to_half(graph, precision)
            ours[name, precision] = work / f"{name}-{precision}.onnx"
            save(graph, ours[name, precision])
    return GpuModel(folder, eager.config, eager.module.inputs, eager.module.outputs, ours, {}, {})


def peer_graphs(folder: Path, work: Path) -> tuple[dict[str, dict[str, Path]], dict[str, str]]:
    """optimum's export in fp32 and its O4 in fp16, and what could not be made."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    peers: dict[str, dict[str, Path]] = {}
    refused: dict[str, str] = {}
    try:
        from optimum.exporters.onnx import main_export

        raw = work / "optimum"
        if not (raw / "model.onnx").exists():
            main_export(
                str(folder), output=raw, task="feature-extraction", library_name="transformers", do_validation=False
            )
        peers["fp32"] = {"optimum raw": raw / "model.onnx"}
        peers["fp16"] = {"optimum O4": _optimised(raw, work / "O4")}
    except Exception as error:  # whatever a peer raises is a finding, not a failure of the benchmark
        refused["optimum"] = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    finally:
        logging.disable(logging.NOTSET)
    return peers, refused


def _optimised(raw: Path, target: Path) -> Path:
    from optimum.onnxruntime import ORTOptimizer
    from optimum.onnxruntime.configuration import AutoOptimizationConfig

    path = target / "model_optimized.onnx"
    if not path.exists():
        ORTOptimizer.from_pretrained(raw).optimize(save_dir=target, optimization_config=AutoOptimizationConfig.O4())
    return path
