"""Graphs that others make of the same checkpoint: ONNX Runtime's own optimizer and packing mode, and optimum's."""

from __future__ import annotations

import logging
import math
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import torch

from benchmarks.gpu.measure import reason_of
from bert_onnx.tasks import BATCH, SEQUENCE

_INPUTS, _OUTPUT = ("input_ids", "attention_mask", "token_type_ids"), "last_hidden_state"
_OPSET = 17


class ClassicBert(torch.nn.Module):
    """transformers' BertModel as version 4 exported it: the operators that ONNX Runtime's optimizer looks for.

    In what transformers 5 exports it finds no attention. The weights are those of `bert`.
    """

    def __init__(self, bert: Any) -> None:
        super().__init__()
        self._bert = bert
        self._heads = bert.config.num_attention_heads

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
    ) -> torch.Tensor:
        """Three times [B, S] -> [B, S, D]."""
        table = self._bert.embeddings
        places = table.position_embeddings(table.position_ids[:, : input_ids.shape[1]])
        x = table.LayerNorm(table.word_embeddings(input_ids) + table.token_type_embeddings(token_type_ids) + places)
        hidden = (1.0 - attention_mask[:, None, None, :].to(torch.float32)) * -10000.0
        for layer in self._bert.encoder.layer:
            x = layer.attention.output(self._attend(layer.attention.self, x, hidden), x)
            x = layer.output(layer.intermediate(x), x)
        return x

    def _attend(self, own: Any, x: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        query, key, value = (self._split(project(x)) for project in (own.query, own.key, own.value))
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        context = (torch.softmax(scores + hidden, -1) @ value).permute(0, 2, 1, 3).contiguous()
        return context.view(context.shape[0], context.shape[1], x.shape[-1])

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(x.shape[0], x.shape[1], self._heads, -1).permute(0, 2, 1, 3)


def peer_graphs(checkpoint: Path, work: Path, precision: str) -> tuple[dict[str, Path], dict[str, str]]:
    """Files by the peer's name, made once, and what could not be made, with the reason.

    Args:
        checkpoint: the folder.
        work: takes the files.
        precision: `fp32` or `fp16`.
    """
    made: dict[str, Path] = {}
    refused: dict[str, str] = {}
    for name, make in _PEERS.items():
        path = work / f"{name.replace(' ', '-').replace(',', '')}-{precision}.onnx"
        try:
            if not path.exists():
                part = path.with_name("part-" + path.name)
                make(checkpoint, precision, part)
                part.rename(path)
            made[name] = path
        except Exception as error:  # whatever a peer raises is a finding, not a failure of the benchmark
            refused[name] = reason_of(error)
    return made, refused


def _optimizer(checkpoint: Path, precision: str, path: Path) -> None:
    _optimised(checkpoint, precision, path.parent, False).save_model_to_file(str(path))


def _packed(multi_head: bool, checkpoint: Path, precision: str, path: Path) -> None:
    """PackedAttention, or PackedMultiHeadAttention. Raises ValueError: the converter left the graph as it was."""
    from onnxruntime.transformers.convert_to_packing_mode import PackingMode
    from onnxruntime.transformers.onnx_model import OnnxModel

    _optimised(checkpoint, precision, path.parent, multi_head).save_model_to_file(str(path))
    packing = PackingMode(OnnxModel(onnx.load(path)))  # as its command does: what is saved names all domains
    packing.convert(True)
    if not any(node.op_type == "RemovePadding" for node in packing.model.model.graph.node):
        raise ValueError("the converter left the graph as it was")
    packing.model.save_model_to_file(str(path))


def _optimised(checkpoint: Path, precision: str, work: Path, multi_head: bool) -> Any:
    """onnxruntime's model after its fusions. Raises ValueError: attention is as it was, which is no fair peer."""
    from onnxruntime.transformers.fusion_options import FusionOptions
    from onnxruntime.transformers.optimizer import optimize_model
    from transformers import BertConfig

    config = BertConfig.from_pretrained(checkpoint)
    options = FusionOptions("bert")
    options.use_multi_head_attention = multi_head
    model = optimize_model(
        str(_exported(checkpoint, work)), "bert", config.num_attention_heads, config.hidden_size, options,
        opt_level=0, use_gpu=True,
    )  # fmt: skip
    found = model.get_fused_operator_statistics()
    fused = found["MultiHeadAttention" if multi_head else "Attention"]
    if fused != config.num_hidden_layers:
        raise ValueError(f"the optimizer fused {fused} of {config.num_hidden_layers} attentions")
    if precision == "fp16":
        model.convert_float_to_float16(keep_io_types=True)
    return model


def _exported(checkpoint: Path, work: Path) -> Path:
    """The graph that the optimizer starts from, made once."""
    from transformers import BertModel

    path = work / "exported.onnx"
    if path.exists():
        return path
    module = ClassicBert(BertModel.from_pretrained(checkpoint, add_pooling_layer=False)).eval()
    ids, part = torch.randint(1, 99, (2, 8)), path.with_name("part-exported.onnx")
    axes = {name: {0: BATCH, 1: SEQUENCE} for name in (*_INPUTS, _OUTPUT)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (ids, torch.ones_like(ids), torch.zeros_like(ids)), str(part), input_names=list(_INPUTS),
            output_names=[_OUTPUT], dynamic_axes=axes, opset_version=_OPSET, dynamo=False,
        )  # fmt: skip
    return part.rename(path)


def _optimum(checkpoint: Path, precision: str, path: Path) -> None:
    """optimum's export; in fp16 after its O4, which is for GPUs."""
    from optimum.exporters.onnx import main_export

    logging.disable(logging.WARNING)
    try:
        folder = path.with_suffix("")
        shutil.rmtree(folder, ignore_errors=True)
        main_export(
            str(checkpoint), output=folder, task="feature-extraction", library_name="transformers", do_validation=False
        )
        found = folder / "model.onnx"
        if precision == "fp16":
            from optimum.onnxruntime import ORTOptimizer
            from optimum.onnxruntime.configuration import AutoOptimizationConfig

            configuration = AutoOptimizationConfig.O4()
            ORTOptimizer.from_pretrained(folder).optimize(save_dir=folder, optimization_config=configuration)
            found = folder / "model_optimized.onnx"
        found.rename(path)
        shutil.rmtree(folder)
    finally:
        logging.disable(logging.NOTSET)


_PEERS: dict[str, Callable[[Path, str, Path], None]] = {
    "onnxruntime optimizer": _optimizer,
    "onnxruntime packing": lambda *arguments: _packed(False, *arguments),
    "onnxruntime packing, multi-head": lambda *arguments: _packed(True, *arguments),
    "optimum": _optimum,
}
