"""THE table of runtimes: what each needs here, and which graphs it runs."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from bert_onnx.errors import UsageError

#: Targets whose graphs have standard operators only, those that skip padding first.
_UNPADDED = ("ort-cpu-unpadded", "openvino-unpadded")
_STANDARD = ("portable", "web", "openvino")
_HALF = ("fp16", "bf16")


@dataclass(frozen=True)
class RuntimeRow:
    """One row.

    Args:
        name: what a user types.
        module, class_name: where it is; the class has `open(path, inputs, outputs, options, limits)`.
        needs: modules that must be importable.
        provider: the provider that onnxruntime must have, for those that are one of its own.
        install: the command that brings what is missing.
        device: `cpu` or `cuda`.
        targets: targets whose graphs it runs, the fastest first.
        precisions: precisions of the files that it runs.
        compute: what it can compute a float32 file in.
        automatic: may be chosen without being asked for; the others are too slow, or too slow to start.
    """

    name: str
    module: str
    class_name: str
    needs: tuple[str, ...]
    provider: str | None
    install: str
    device: str
    targets: tuple[str, ...]
    precisions: tuple[str, ...]
    compute: tuple[str, ...]
    automatic: bool

    def load_class(self) -> Any:
        """Its class; importing it imports no library yet."""
        return getattr(import_module(self.module), self.class_name)

    def missing_modules(self) -> tuple[str, ...]:
        """Those of `needs` that are not installed; nothing is imported to find out."""
        return tuple(name for name in self.needs if not _is_installed(name))

    def can_run(self, target: str, precision: str) -> bool:
        """Whether it runs files of this target and precision."""
        if target == "ort-cuda" and precision in _HALF and self.device != "cuda":
            return False  # fused operators have no kernels of 16 bits on CPUs
        if precision == "int8" and self.device == "cuda" and target != "ort-tensorrt":
            return False  # zero points other than 0, and integers outside of products
        return target in self.targets and precision in self.precisions


#: In the order in which they are preferred where nothing was measured.
RUNTIMES: dict[str, RuntimeRow] = {
    row.name: row
    for row in (
        RuntimeRow(
            name="onnxruntime-cuda",
            module="runtimes.engines.ort.cuda",
            class_name="OnnxRuntimeCuda",
            needs=("onnxruntime",),
            provider="CUDAExecutionProvider",
            install='pip uninstall --yes onnxruntime && pip install "bert-onnx[gpu]"',
            device="cuda",
            targets=("ort-cuda", "ort-cuda-unpadded", *_STANDARD),
            precisions=("fp32", "fp16", "bf16"),
            compute=("fp32",),
            automatic=True,
        ),
        RuntimeRow(
            name="onnxruntime-tensorrt",
            module="runtimes.engines.ort.tensorrt",
            class_name="OnnxRuntimeTensorRt",
            needs=("onnxruntime",),
            provider="TensorrtExecutionProvider",
            install='pip uninstall --yes onnxruntime && pip install "bert-onnx[gpu]" "tensorrt<11"',
            device="cuda",
            targets=("ort-tensorrt", *_STANDARD),
            precisions=("fp32", "fp16", "int8"),
            compute=("fp32", "bf16", "fp16"),
            automatic=False,
        ),
        RuntimeRow(
            name="onnxruntime-cpu",
            module="runtimes.engines.ort.cpu",
            class_name="OnnxRuntimeCpu",
            needs=("onnxruntime",),
            provider="CPUExecutionProvider",
            install='pip install "bert-onnx[cpu]"',
            device="cpu",
            targets=("ort-cpu-unpadded", "ort-cpu", *_STANDARD, "openvino-unpadded", "ort-cuda"),
            precisions=("fp32", "int8", "int4", "fp16"),
            compute=("fp32",),
            automatic=True,
        ),
        RuntimeRow(
            name="openvino",
            module="runtimes.engines.openvino",
            class_name="OpenVino",
            needs=("openvino",),
            provider=None,
            install="pip install openvino",
            device="cpu",
            targets=("openvino-unpadded", "ort-cpu-unpadded", "openvino", "portable", "web"),
            precisions=("fp32", "int8", "fp16"),
            compute=("fp32", "bf16", "fp16"),
            automatic=True,
        ),
        # On Intel's processors only: for programs that are bound to ONNX Runtime.
        RuntimeRow(
            name="onnxruntime-openvino",
            module="runtimes.engines.ort.openvino",
            class_name="OnnxRuntimeOpenVino",
            needs=("onnxruntime", "onnxruntime_ep_openvino"),
            provider=None,
            install="pip install onnxruntime-ep-openvino",
            device="cpu",
            targets=("openvino-unpadded", "ort-cpu-unpadded", "openvino", "portable", "web"),
            precisions=("fp32", "int8", "fp16"),
            compute=("fp32", "bf16", "fp16"),
            automatic=False,
        ),
        RuntimeRow(
            name="tract",
            module="runtimes.engines.tract",
            class_name="Tract",
            needs=("tract",),
            provider=None,
            install="pip install tract",
            device="cpu",
            targets=("openvino", "web", "portable"),
            precisions=("fp32", "int8"),
            compute=("fp32",),
            automatic=False,
        ),
        RuntimeRow(
            name="reference",
            module="runtimes.engines.onnx_reference",
            class_name="OnnxReference",
            needs=("onnx",),
            provider=None,
            install="pip install onnx",
            device="cpu",
            targets=(*_STANDARD, *_UNPADDED),
            precisions=("fp32", "int8"),
            compute=("fp32",),
            automatic=False,
        ),
    )
}


def find_runtime(name: str) -> RuntimeRow:
    """The row for `name`.

    Raises:
        UsageError: there is no such runtime; the message lists those that there are.
    """
    if name not in RUNTIMES:
        raise UsageError(f"the runtime {name!r} is unknown; choose one of {', '.join(RUNTIMES)}.")
    return RUNTIMES[name]


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
