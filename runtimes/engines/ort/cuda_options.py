"""What can be chosen about ONNX Runtime's CUDA provider, and its form as the provider's options."""

from __future__ import annotations

from dataclasses import dataclass

from bert_onnx.errors import UsageError

CONVOLUTION_SEARCHES = ("default", "heuristic", "exhaustive")
_BATCHES = (1, 4, 16, 32)
#: Before it, SkipLayerNormalization sums fp16 in fp16, and rounds an epsilon of 1e-12 to 0, unless it is told not to.
_FLOAT_SUMS = (1, 31)
_LENGTHS = (16, 32, 64, 128, 256, 512)


@dataclass(frozen=True)
class CudaOptions:
    """Options of the CUDA provider.

    Args:
        device_id: which GPU.
        memory_limit: most bytes that the arena takes; None for no limit. Libraries take some beside it.
        grow_exactly: the arena grows by what is needed, not to the next power of two: less memory, more calls.
        convolution_search: how cuDNN chooses convolutions, one of `CONVOLUTION_SEARCHES`; BERT has none.
        tf32: multiply float32 matrices with 10 bits of mantissa on tensor cores. Off, so that fp32 means fp32.
        cuda_graphs: capture the kernels of each (batch, length) bucket once and replay them.
        pad_shapes: pad a batch and its length to the next of few sizes, at most a quarter larger: cuDNN plans its
            attention anew, in each thread, for each new shape. For inputs [batch, sequence], and shapes that have no
            CUDA graph. `load` turns it on for 16-bit files for ort-cuda.
        stream: address of a CUDA stream (`torch.cuda.Stream().cuda_stream`) that everything is queued on; device
            tensors need no synchronisation then, neither before nor after a run. None for one of the session's own.
        batches, lengths: the buckets; a batch runs in the smallest one that holds it, or without a graph.
        allow_cpu_nodes: nodes without a CUDA kernel may run on the CPU; where not, opening such a graph fails.
    """

    device_id: int = 0
    memory_limit: int | None = None
    grow_exactly: bool = True
    convolution_search: str = "default"
    tf32: bool = False
    cuda_graphs: bool = False
    pad_shapes: bool = False
    stream: int | None = None
    batches: tuple[int, ...] = _BATCHES
    lengths: tuple[int, ...] = _LENGTHS
    allow_cpu_nodes: bool = True

    def __post_init__(self) -> None:
        if self.device_id < 0:
            raise UsageError(f"device_id is {self.device_id}; it must be at least 0.")
        if self.memory_limit is not None and self.memory_limit < 1:
            raise UsageError(f"memory_limit is {self.memory_limit} bytes; it must be at least 1.")
        if self.convolution_search not in CONVOLUTION_SEARCHES:
            raise UsageError(
                f"convolution_search {self.convolution_search!r} is unknown; choose {', '.join(CONVOLUTION_SEARCHES)}."
            )
        for name, sizes in (("batches", self.batches), ("lengths", self.lengths)):
            if not sizes or list(sizes) != sorted(set(sizes)) or sizes[0] < 1:
                raise UsageError(f"{name} are {sizes}; they must be numbers of at least 1 in ascending order.")

    def to_provider(self, version: str) -> dict[str, str]:
        """The provider's own names and values, for a `version` of onnxruntime."""
        values = {
            "device_id": str(self.device_id),
            "arena_extend_strategy": "kSameAsRequested" if self.grow_exactly else "kNextPowerOfTwo",
            "cudnn_conv_algo_search": self.convolution_search.upper(),
            "use_tf32": "1" if self.tf32 else "0",
            "enable_cuda_graph": "1" if self.cuda_graphs else "0",
            "do_copy_in_default_stream": "1",
        }
        if self.memory_limit is not None:
            values["gpu_mem_limit"] = str(self.memory_limit)
        if self.stream is not None:
            values["user_compute_stream"] = str(self.stream)
        if tuple(int(number) for number in version.split(".")[:2]) < _FLOAT_SUMS:
            values["enable_skip_layer_norm_strict_mode"] = "1"
        return values
