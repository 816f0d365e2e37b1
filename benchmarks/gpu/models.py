"""The model that is measured on a GPU, as a checkpoint with random weights, and the graphs that we make of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

from benchmarks.variants import Variants
from bert_onnx.config import BertConfig
from bert_onnx.tasks import Port
from export.quantization.float16.convert import convert_to_half
from export.verification.packed_operators import expand_packed_operators

PADDED_TARGET, UNPADDED_TARGET = "ort-cuda", "ort-cuda-unpadded"
#: Sizes of the model of a rehearsal; otherwise those of bert-base.
TINY = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "vocab_size": 600,
}


@dataclass(frozen=True)
class OurGraphs:
    """Our graphs of a checkpoint in one precision; all return the last hidden state alone.

    Args:
        config: the checkpoint's.
        ports: inputs and outputs of all graphs.
        paths: .onnx files by target.
    """

    config: BertConfig
    ports: tuple[tuple[Port, ...], tuple[Port, ...]]
    paths: dict[str, Path]


def random_checkpoint(work: Path, sizes: dict[str, int]) -> Path:
    """A folder with a BertModel of `sizes`, written once."""
    import torch
    from transformers import BertConfig as PeerConfig
    from transformers import BertModel

    folder = work / "checkpoint"
    if not folder.exists():
        part = work / "part-checkpoint"
        torch.manual_seed(0)
        BertModel(PeerConfig(**sizes), add_pooling_layer=False).save_pretrained(part)
        part.rename(folder)
    return folder


def load_peer(checkpoint: Path, attention: str, device: str, precision: str = "fp32") -> Any:
    """transformers' module on `device`, with the attention of that name. Raises what transformers raises."""
    from transformers import BertModel, logging

    logging.set_verbosity_error()
    module = BertModel.from_pretrained(checkpoint, attn_implementation=attention, add_pooling_layer=False)
    module = module.eval().to(device)
    return module.half() if precision == "fp16" else module


def our_graphs(checkpoint: Path, work: Path, precision: str, for_cpu: bool = False) -> OurGraphs:
    """Our graphs, each made once.

    Args:
        checkpoint: the folder.
        work: takes the files.
        for_cpu: operators that there are for CUDA alone become others, as when we verify.
    """
    variants, paths = Variants(checkpoint), {}

    def lower(graph: ir.Model) -> ir.Model:
        if precision == "fp16":
            convert_to_half(graph, precision)
        if for_cpu:
            expand_packed_operators(graph)
        return graph

    for target in (PADDED_TARGET, UNPADDED_TARGET):
        paths[target] = work / f"{target}-{precision}.onnx"
        if not paths[target].exists():
            part = paths[target].with_name("part-" + paths[target].name)
            variants.write(part, target, precision, lower)
            part.rename(paths[target])
    module = variants.eager.module
    return OurGraphs(variants.eager.config, (module.inputs, module.outputs), paths)
