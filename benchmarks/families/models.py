"""One model of each family with random weights, and the graphs that we and optimum make of it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from benchmarks.graphs.measure import operations
from benchmarks.machine import int8_isa
from benchmarks.variants import Variants
from bert_onnx.config import BertConfig
from bert_onnx.family import FAMILIES
from export.quantization.int8.dynamic import quantize_dynamic
from export.quantization.isa import find_isa

#: Those whose mathematics differ: xlm-roberta, camembert and data2vec-text are roberta, ernie is bert.
MODEL_TYPES = ("bert", "roberta", "distilbert", "electra", "mpnet", "albert")

TARGETS_MEASURED = ("ort-cpu", "ort-cpu-unpadded")
VOCABULARY, _LONGEST = 2000, 512


@dataclass(frozen=True)
class Member:
    """One model.

    Args:
        config: its config; `model_type` names it.
        files: by precision and what made it, as `int8 ort-cpu-unpadded` or `fp32 optimum`.
    """

    config: BertConfig
    files: dict[str, Path]

    def multiply_adds(self, lengths: np.ndarray) -> float:
        """Of a batch: the layers' products, and embeddings of another width than theirs."""
        config = self.config
        narrow, width = config.embedding_width, config.hidden_size
        projection = narrow * width if narrow != width else 0
        return operations(config, lengths) / 2 + projection * float(lengths.sum())


def make_member(model_type: str, work: Path, layers: int, width: int) -> Member:
    """The checkpoint and its graphs, written into `work` unless they are there; all give the last hidden state."""
    folder = work / f"{model_type}-{layers}-{width}"
    if not (folder / "config.json").exists():
        _write_checkpoint(model_type, folder, layers, width)
    files = {f"fp32 {target}": folder / f"{target}.onnx" for target in TARGETS_MEASURED}
    files |= {f"int8 {target}": folder / f"{target}-int8.onnx" for target in TARGETS_MEASURED}
    if not all(path.exists() for path in files.values()):
        _write_ours(folder, files)
    return Member(BertConfig.from_pretrained(folder), files | _peer_files(folder))


def _write_checkpoint(model_type: str, folder: Path, layers: int, width: int) -> None:
    import torch
    import transformers

    family = FAMILIES[model_type]
    fields: dict[str, Any] = {"vocab_size": VOCABULARY, "num_hidden_layers": layers, "hidden_size": width}
    fields |= {"num_attention_heads": max(1, width // 64), "intermediate_size": 4 * width}
    fields["max_position_embeddings"] = _LONGEST + 2  # roberta counts from 2
    torch.manual_seed(0)
    named = {family.fields.get(name, name): value for name, value in fields.items()}
    config = transformers.AutoConfig.for_model(model_type, **named)
    transformers.AutoModel.from_config(config).save_pretrained(folder)


def _write_ours(folder: Path, files: Mapping[str, Path]) -> None:
    variants = Variants(folder)
    for name, path in files.items():
        precision, target = name.split()
        variants.write(path, target, precision, _quantized if precision == "int8" else None)


def _quantized(graph: ir.Model) -> ir.Model:
    return quantize_dynamic(graph, find_isa(int8_isa())).model


def _peer_files(folder: Path) -> dict[str, Path]:
    """optimum's export, and its int8 as its documentation has it for this processor: dynamic, per channel."""
    raw, lowered = folder / "optimum" / "model.onnx", folder / "optimum-int8" / "model_quantized.onnx"
    if not (raw.exists() and lowered.exists()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        from optimum.exporters.onnx import main_export
        from optimum.onnxruntime import ORTQuantizer
        from optimum.onnxruntime.configuration import AutoQuantizationConfig

        main_export(
            str(folder),
            output=raw.parent,
            task="feature-extraction",
            library_name="transformers",
            do_validation=False,
        )
        config = getattr(AutoQuantizationConfig, int8_isa())(is_static=False, per_channel=True)
        ORTQuantizer.from_pretrained(raw.parent, file_name=raw.name).quantize(config, save_dir=lowered.parent)
        logging.disable(logging.NOTSET)
    return {"fp32 optimum": raw, "int8 optimum": lowered}
