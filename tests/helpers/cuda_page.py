"""docs/cuda-check.md, from the rows that the tests made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from cuda_placement import Placement

_HEAD = """# Graphs on CUDA, without a GPU

Written by `make cuda-check`, which runs the tests in `tests/cuda`. onnxruntime-gpu {version} opens each graph on its
CUDA provider, over libraries that stand in for CUDA and cuDNN and compute nothing (`tests/cuda/runtime.c`): what is put
on which provider, the checks of types, the parsing of options and the choice of kernels are ONNX Runtime's own. **No
kernel has run, and nothing was timed**: outputs and speed on a GPU are for `make gpu` to show.

Every graph opens with default options, with other options and, where its inputs are [batch, sequence], for CUDA graphs.
`ort-tensorrt` is not here: TensorRT's stand-in takes options and no nodes.

* *On the CPU*: nodes that compute with nothing but sizes, such as `Shape -> Gather -> Concat`. Any other is a failure.
* *Copies*: `Memcpy` nodes between CPU and GPU. Any is a failure.
* *Attention*: what ONNX Runtime takes for 4 texts of 128 tokens and heads of 32 on a device of compute capability 9.0
  with cuDNN 9.13, as it prints with `ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO=1`. `CUDNN_FLASH_ATTENTION`,
  `FLASH_ATTENTION` and `EFFICIENT_ATTENTION` keep no scores in memory; `MATH` is two products and a softmax over all
  scores. Heads that read the first token alone have one query a text in the last layer, for which it is "then" `MATH`.
  Spelled out: MatMul, Softmax and MatMul in the graph itself. PackedMultiHeadAttention of `ort-cuda-unpadded` is asked
  in a graph of its own, half of its tokens real, since RemovePadding finds no token where nothing computes; in fp32 it
  takes `EFFICIENT_ATTENTION` from 256 tokens on.

| task | target | precision | opens | on the CPU | copies | attention |
| --- | --- | --- | --- | --- | --- | --- |
"""


def page_path() -> Path:
    """Where it goes."""
    return Path(__file__).resolve().parents[2] / "docs" / "cuda-check.md"


def row(
    graph: tuple[str, str, str], placed: Placement, sizes: Mapping[str, str], attention: Sequence[str], number: int
) -> str:
    """One line; `number` sorts it.

    Args:
        graph: task, target, precision.
        sizes: operators of the nodes on the CPU, by name.
        attention: kernels, in the order of the layers, each once.
    """
    counted = Counter(sizes[name] for name in placed.on_cpu)
    on_cpu = ", ".join(f"{count} {operator}" for operator, count in sorted(counted.items())) or "-"
    cells = [*graph, "yes", on_cpu, str(placed.copies), ", then ".join(attention) or "spelled out"]
    return f"{number:04}| " + " | ".join(cells) + " |"


def page(rows: Sequence[str]) -> str:
    """The page."""
    return _HEAD.format(version=version("onnxruntime-gpu")) + "".join(f"{row[4:]}\n" for row in sorted(rows))
