"""Two graphs of one model on an NVIDIA GPU, padded and unpadded, and for each batch the one that should be faster.

    B S <= 1,024                        padded, replayed as a CUDA graph: launching kernels takes longer than they do
    real tokens > 9/10 of B S           padded: RemovePadding waits for the GPU, and would skip next to nothing
    anything else                       unpadded

The bounds are rules from what the kernels do, not measurements: no GPU was here. `bert-onnx tune` measures both graphs,
and `load` then takes the faster one alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from bert_onnx.errors import UsageError
from runtimes.engines.base import Runtime, RuntimeDescription, RuntimeOptions
from runtimes.engines.graph_file import GraphFile
from runtimes.engines.ort.cuda import OnnxRuntimeCuda
from runtimes.engines.ort.cuda_options import CudaOptions

#: Places of a batch, padding included, up to which a call is launches more than work.
SMALL = 1024
#: Share of real tokens above which there is next to nothing to skip.
FULL = 0.9
#: Small shapes that are captured; a batch runs in the smallest one that holds it. The largest has `SMALL` places.
GRAPHS = CudaOptions(cuda_graphs=True, batches=(1, 2, 4, 8), lengths=(16, 32, 64, 128))


def skips_padding(mask: np.ndarray) -> bool:
    """Whether a batch with `mask`, [..., S], should run on real tokens alone."""
    return bool(mask.size > SMALL and np.count_nonzero(mask) <= FULL * mask.size)


class CudaByShape:
    """Both graphs, open; close both with `close`.

    Args:
        padded, unpadded: runtimes of the same model.
    """

    name = OnnxRuntimeCuda.name

    def __init__(self, padded: Runtime, unpadded: Runtime) -> None:
        self.inputs = padded.inputs
        self.outputs = padded.outputs
        self._padded = padded
        self._unpadded = unpadded

    @classmethod
    def open(cls, padded: GraphFile, unpadded: GraphFile, options: RuntimeOptions) -> CudaByShape:
        """Open both graphs; the padded one for CUDA graphs where it allows them.

        Args:
            options: `pad_shapes` of `options.cuda` is for the padded graph: cuDNN has no part in the other.

        Raises:
            RuntimeUnavailableError, ArtifactError: as `OnnxRuntimeCuda.open`.
        """
        try:
            pads = options.cuda is not None and options.cuda.pad_shapes
            first = _open(padded, replace(options, cuda=replace(GRAPHS, pad_shapes=pads)))
        except UsageError:  # inputs of other axes, or sizes that are computed on the CPU
            first = _open(padded, options)
        try:
            return cls(first, _open(unpadded, replace(options, cuda=None)))
        except BaseException:
            first.close()
            raise

    def run(self, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Outputs by name, of the graph that suits the batch. Raises as `OnnxRuntimeCuda.run`."""
        mask = inputs.get("attention_mask")
        suited = isinstance(mask, np.ndarray) and skips_padding(mask)
        return (self._unpadded if suited else self._padded).run(inputs, outputs)

    def describe(self) -> RuntimeDescription:
        """What runs; the notes say when it is the unpadded graph, and what they are of both."""
        first, second = self._padded.describe(), self._unpadded.describe()
        when = f"{second.model} for batches of more than {SMALL} places of which {1 - FULL:.0%} or more are padding"
        notes = (*first.notes, when, *(f"{second.model}: {note}" for note in second.notes))
        return RuntimeDescription(first.name, first.providers, first.library, first.threads, first.model, notes)

    def close(self) -> None:
        """Give back the memory of both."""
        self._padded.close()
        self._unpadded.close()


def _open(graph: GraphFile, options: RuntimeOptions) -> OnnxRuntimeCuda:
    return OnnxRuntimeCuda.open(graph.path, graph.inputs, graph.outputs, options, graph.limits)
