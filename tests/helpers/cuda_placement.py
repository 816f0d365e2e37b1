"""Where ONNX Runtime's CUDA provider puts the nodes of a graph, and which attention kernels it takes.

With the stand-ins of tests/cuda nothing is computed: partitioning, checks of types, parsing of options and the choice
of kernels are the library's own.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from bert_onnx.tasks import Port
from runtimes.engines.base import RuntimeOptions
from runtimes.engines.ort.cuda import PROVIDER
from runtimes.engines.ort.cuda_options import CudaOptions
from runtimes.engines.ort.library import CPU_PROVIDER, import_onnxruntime
from runtimes.engines.ort.session import open_session, session_options

#: Makes the provider print the kernel of each attention, while a session runs. It is read once, when a session opens.
KERNEL_VARIABLE = "ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO"
_KERNEL = re.compile(r"Operator=(\w+) Node=(\S+) DataType=(\w+) SdpaKernel=(\w+)")


@dataclass(frozen=True)
class Placement:
    """What became of a graph.

    Args:
        on_cpu: names of nodes on the CPU provider.
        copies: how many nodes copy between CPU and GPU.
        operators: how often each operator is in the optimised graph.
    """

    on_cpu: tuple[str, ...]
    copies: int
    operators: Mapping[str, int]


def place(path: Path, folder: Path) -> Placement:
    """Open `path` on the CUDA provider; `folder` takes the optimised graph."""
    library = import_onnxruntime()
    options = session_options(library, RuntimeOptions(), threads=1, record=True)
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    session = open_session(library, path, options, [(PROVIDER, CudaOptions().to_provider()), CPU_PROVIDER])
    on_cpu = [
        node.name
        for subgraph in session.get_provider_graph_assignment_info()
        if subgraph.ep_name != PROVIDER
        for node in subgraph.get_nodes()
    ]
    optimized = onnx.load(folder / "optimized.onnx", load_external_data=False)
    operators = Counter(node.op_type for node in optimized.graph.node)
    return Placement(tuple(on_cpu), sum(operators[name] for name in operators if name.startswith("Memcpy")), operators)


def shape_nodes(path: Path) -> dict[str, str]:
    """Nodes of the graph in `path` that compute with nothing but sizes, and their operators.

    All that goes into them comes, through nodes of this kind, from Shape or from constants.
    """
    graph = onnx.load(path, load_external_data=False).graph
    sizes = {"", *(tensor.name for tensor in graph.initializer)}
    found = {}
    for node in graph.node:
        if node.op_type == "Shape" or sizes.issuperset(node.input):
            sizes.update(node.output)
            found[node.name] = node.op_type
    return found


def kernels(path: Path, inputs: Sequence[Port], capture: Any, sizes: Mapping[str, int]) -> dict[str, str]:
    """The kernel of each attention node that runs for inputs of `sizes`; none where attention is spelled out.

    A run ends at the first call of cuDNN, which the stand-in cannot answer: layers after it are not in the result.

    Args:
        capture: pytest's `capfd`.
    """
    library = import_onnxruntime()
    os.environ[KERNEL_VARIABLE] = "1"
    try:
        options = session_options(library, RuntimeOptions(), threads=1)
        options.log_severity_level = 4
        session = open_session(library, path, options, [(PROVIDER, CudaOptions().to_provider()), CPU_PROVIDER])
        capture.readouterr()
        try:
            session.run(None, {port.name: np.ones(port.shape(sizes), port.dtype) for port in inputs})
        except Exception as error:  # they share no base class of their own
            if "Attention node" not in str(error):
                raise
    finally:
        del os.environ[KERNEL_VARIABLE]
    printed = "".join(capture.readouterr())
    return {node: kernel for _, node, _, kernel in _KERNEL.findall(printed)}
