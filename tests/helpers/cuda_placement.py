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
from onnx import helper

from bert_onnx.tasks import Port
from runtimes.engines.base import RuntimeOptions
from runtimes.engines.ort.cuda_options import CudaOptions
from runtimes.engines.ort.cuda_session import PROVIDER
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
    session = open_session(
        library, path, options, [(PROVIDER, CudaOptions().to_provider(library.__version__)), CPU_PROVIDER]
    )
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
    return _printed(path, {port.name: np.ones(port.shape(sizes), port.dtype) for port in inputs}, capture)


def packed_kernels(path: Path, folder: Path, capture: Any, sizes: Mapping[str, int]) -> dict[str, str]:
    """The same for the first PackedMultiHeadAttention of a graph, if it has one, in a graph of this node alone.

    The stand-in of RemovePadding lets no token through, so that in its own graph it chooses no kernel.

    Args:
        folder: takes the graph.
        sizes: of the batch; half of its tokens are real.
    """
    graph = onnx.load(path, load_external_data=False).graph
    node = next((node for node in graph.node if node.op_type == "PackedMultiHeadAttention"), None)
    if node is None:
        return {}
    types = {value.name: value.type.tensor_type for value in graph.value_info}
    kind, width = types[node.output[0]].elem_type, types[node.output[0]].shape.dim[1].dim_value
    batch, length = sizes["batch_size"], sizes["sequence_length"]
    states = np.ones((batch * length // 2, width), helper.tensor_dtype_to_np_dtype(kind))
    offsets = np.arange(batch * length, dtype=np.int32).reshape(batch, length)
    starts = np.arange(batch + 1, dtype=np.int32) * (length // 2)
    feeds = dict(zip(node.input, (states, states, states, None, offsets, starts), strict=True))
    del feeds[""]
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in feeds.items()
    ]
    output = helper.make_tensor_value_info(node.output[0], kind, states.shape)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(node.domain, 1)]
    alone = helper.make_model(helper.make_graph([node], "alone", inputs, [output]), opset_imports=opsets, ir_version=8)
    onnx.save(alone, folder / "alone.onnx")
    return _printed(folder / "alone.onnx", feeds, capture)


def _printed(path: Path, feeds: Mapping[str, np.ndarray], capture: Any) -> dict[str, str]:
    """What a run of `path` prints of its kernels, by node."""
    library = import_onnxruntime()
    os.environ[KERNEL_VARIABLE] = "1"
    try:
        options = session_options(library, RuntimeOptions(), threads=1)
        options.log_severity_level = 4
        session = open_session(
            library, path, options, [(PROVIDER, CudaOptions().to_provider(library.__version__)), CPU_PROVIDER]
        )
        capture.readouterr()
        try:
            session.run(None, dict(feeds))
        except Exception as error:  # they share no base class of their own
            if "Attention node" not in str(error):
                raise
    finally:
        del os.environ[KERNEL_VARIABLE]
    printed = "".join(capture.readouterr())
    return {node: kernel for _, node, _, kernel in _KERNEL.findall(printed)}


def libraries_without(name: str, folder: Path) -> Path:
    """`folder` with links to all stand-ins but those with `name` in their names."""
    for library in (Path(os.environ["BERT_ONNX_CUDA_CHECK"]) / "lib").glob("lib*.so*"):
        if library.suffix not in (".c", ".map") and name not in library.name:
            (folder / library.name).symlink_to(library.resolve())
    return folder
