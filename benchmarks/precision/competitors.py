"""Our variants of the sample model and those of other tools, each opened where it runs best."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from benchmarks.graphs.engines import Engine, Run, onnxruntime_run, openvino_run
from benchmarks.graphs.models import make_graphs, sample_folder
from benchmarks.machine import int8_isa
from benchmarks.variants import Variants
from bert_onnx.tokenization import load_tokenizer
from export.evaluation.data import built_in
from export.quantization.feeds import CalibrationFeeds, calibration_feeds
from export.quantization.int8.closeness import Closeness
from export.quantization.int8.dynamic import quantize_dynamic
from export.quantization.int8.static import quantize_static
from export.quantization.isa import find_isa
from export.quantization.weight_only.quantize import quantize_weights
from runtimes.engines.openvino import computes_in

BASE = "optimum fp32"

#: Of int8 files, ours and optimum's.
ISA = int8_isa()

#: What static int8 must keep of held-out texts.
_GOAL = Closeness(0.9993, 0.996)

#: Name -> target it is made for, precision, method.
_OURS: dict[str, tuple[str, str, str]] = {
    "int8 static": ("portable", "int8", "static"),
    "int8 static, ort-cpu": ("ort-cpu", "int8", "static"),
    "int8 static, unpadded": ("ort-cpu-unpadded", "int8", "static"),
    "int8 dynamic": ("portable", "int8", "dynamic"),
    "int8 weights": ("portable", "int8", "weights"),
    "int4 weights": ("portable", "int4", "weights"),
}
#: Most tokens of a calibration text.
_MAX_LENGTH = 256

#: Those that OpenVINO runs, too.
_ON_OPENVINO = ("int8 static", "int8 static, unpadded")


@dataclass(frozen=True)
class Competitor:
    """A file in a runtime.

    Args:
        name: for people.
        ours: whether it is one of our variants.
        engine: what runs it.
        size: bytes of the file.
    """

    name: str
    ours: bool
    engine: Engine
    size: int


def competitors(work: Path, threads: int) -> tuple[list[Competitor], dict[str, str]]:
    """Everything that could be made and opened, and what could not."""
    model = make_graphs("all-MiniLM-L6-v2", sample_folder(), work)
    found: list[Competitor] = []
    refused = dict(model.refused)
    hints = ("f32", "bf16") if "bf16" in computes_in() else ("f32",)

    def add(name: str, ours: bool, make: Callable[[], tuple[Run, Path]]) -> None:
        try:
            run, path = make()
        except Exception as error:  # whatever a peer raises is a finding, not a failure of the benchmark
            refused[name] = f"{type(error).__name__}: {(str(error).strip() or 'no reason given').splitlines()[0]}"
            return
        data = path.with_name(path.name + "_data")
        size = path.stat().st_size + (data.stat().st_size if data.is_file() else 0)
        found.append(Competitor(name, ours, Engine(name, ours, run), size))

    raw = model.peers["optimum raw"]
    add(BASE, False, lambda: (onnxruntime_run(raw, threads), raw))
    for name, path in ({"optimum O3": model.peers["optimum O3"]} if "optimum O3" in model.peers else {}).items():
        add(name, False, lambda path=path: (onnxruntime_run(path, threads), path))  # type: ignore[misc]
    for name, path in _ours(model.ours, work):
        add(f"ours: {name}", True, lambda path=path: (onnxruntime_run(path, threads), path))  # type: ignore[misc]
        if name in _ON_OPENVINO:
            for hint in hints:
                title = f"ours: {name}, OpenVINO {hint}"
                add(title, True, lambda path=path, hint=hint: (openvino_run(path, threads, hint), path))  # type: ignore[misc]
    for name, path in model.ours.items():
        if name in ("portable", "ort-cpu-unpadded"):
            add(f"ours: fp32 {name}", True, lambda path=path: (onnxruntime_run(path, threads), path))  # type: ignore[misc]
    unpadded = model.ours["openvino-unpadded"]
    fastest = hints[-1]
    add(f"ours: fp32 unpadded, OpenVINO {fastest}", True, lambda: (openvino_run(unpadded, threads, fastest), unpadded))
    for hint in hints:
        add(f"OpenVINO {hint}", False, lambda hint=hint: (openvino_run(raw, threads, hint), raw))  # type: ignore[misc]
    add(f"optimum int8 ({ISA}, per channel)", False, lambda: _optimum_int8(raw, work, threads))
    add("MatMulNBits, 8 bits", False, lambda: _matmul_nbits(raw, work, threads))
    add("NNCF int8 static, OpenVINO", False, lambda: _nncf(raw, work, threads))
    if "bf16" in hints:
        add("NNCF int8 static, OpenVINO bf16", False, lambda: _nncf(raw, work, threads, "bf16"))
    return found, refused


def _ours(graphs: dict[str, Path], work: Path) -> Iterator[tuple[str, Path]]:
    """Our files, made once in `work`."""
    variants = Variants("sample")
    tokenizer, texts = load_tokenizer(sample_folder()), built_in("calibration").texts
    feeds = calibration_feeds(texts, variants.eager.module.inputs, tokenizer, _MAX_LENGTH)
    for name, (target, precision, method) in _OURS.items():
        path = work / f"ours-{name.replace(', ', '-').replace(' ', '-')}.onnx"
        if not path.exists():
            variants.write(path, target, precision, partial(_quantized, precision, method, feeds))
        yield name, path


def _quantized(precision: str, method: str, feeds: CalibrationFeeds, graph: ir.Model) -> ir.Model:
    if method == "weights":
        return quantize_weights(graph, precision, feeds=feeds.fit).model
    if method == "dynamic":
        return quantize_dynamic(graph, find_isa(ISA)).model
    return quantize_static(graph, find_isa(ISA), feeds, _GOAL).model


def _optimum_int8(raw: Path, work: Path, threads: int) -> tuple[Run, Path]:
    """As its documentation has it for this processor: dynamic, per channel."""
    from optimum.onnxruntime import ORTQuantizer
    from optimum.onnxruntime.configuration import AutoQuantizationConfig

    target = work / "optimum-int8"
    path = target / "model_quantized.onnx"
    if not path.exists():
        warnings.simplefilter("ignore")
        config = getattr(AutoQuantizationConfig, ISA)(is_static=False, per_channel=True)
        ORTQuantizer.from_pretrained(raw.parent, file_name=raw.name).quantize(config, save_dir=target)
    return onnxruntime_run(path, threads), path


def _matmul_nbits(raw: Path, work: Path, threads: int) -> tuple[Run, Path]:
    """ONNX Runtime's own quantizer of weights, 8 bits, blocks of 32, activations in int8."""
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    path = work / "matmul-nbits-8.onnx"
    if not path.exists():
        quantizer = MatMulNBitsQuantizer(onnx.load(str(raw)), bits=8, block_size=32, accuracy_level=4)
        quantizer.process()
        quantizer.model.save_model_to_file(str(path))
    return onnxruntime_run(path, threads), path


def _nncf(raw: Path, work: Path, threads: int, hint: str = "f32") -> tuple[Run, Path]:
    """As its documentation has it for transformers, calibrated with the texts that ours are calibrated with."""
    import openvino

    path = work / "nncf" / "model.xml"
    if not path.exists():
        import nncf

        nncf.set_log_level(logging.ERROR)
        tokenizer = load_tokenizer(sample_folder())
        rows = tokenizer(list(built_in("calibration").texts), truncation=True, max_length=256)["input_ids"]
        items = [_one_row(ids) for ids in rows]
        model = openvino.Core().read_model(str(raw))
        made: Any = nncf.quantize(
            model, nncf.Dataset(items), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(items)
        )
        path.parent.mkdir(exist_ok=True)
        openvino.save_model(made, str(path), compress_to_fp16=False)
    return openvino_run(path, threads, hint), path.with_suffix(".bin")


def _one_row(ids: list[int]) -> dict[str, np.ndarray]:
    row = np.array([ids], np.int64)
    return {"input_ids": row, "attention_mask": np.ones_like(row), "token_type_ids": np.zeros_like(row)}
