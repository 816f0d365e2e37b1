"""THE table of what int8 kernels want of a file, and of what the file is called: instruction sets, and TensorRT.

x86 kernels multiply unsigned activations with signed weights. With VNNI the products are added in 32 bits. Without it
(AVX2, and AVX-512 before Cascade Lake) VPMADDUBSW adds two products in 16 bits and saturates: 2 * 255 * 127 = 64770
is more than 32767 (Intel SDM volume 2, VPMADDUBSW and VPDPBUSD). Two weights that are added there and have the same
sign may therefore come to 128 at most: 255 * 128 = 32640. Those are the weights of rows 2k and 2k+1 of a column, in
ONNX Runtime and in OpenVINO (tested). A column's scale is what its largest pair needs: rounding takes 1.6 times as much
from MiniLM's weights as with 8 bits for all, and 4.1 times with 7 bits for all, where no pair could exceed.

ARM64 multiplies signed numbers with signed ones (SDOT, SMMLA); its kernels for unsigned activations are slower.

TensorRT's explicit quantization is symmetric: int8 with a zero point of 0, one scale for an activation, one for each
output channel of a weight (NVIDIA's documentation, "Working with Quantized Types"). Integers are what QuantizeLinear
makes and DequantizeLinear reads before an operator that multiplies them, and nothing else: no Gather or Cast of int8.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bert_onnx.errors import UsageError


@dataclass(frozen=True)
class Isa:
    """One row.

    Args:
        name: what a user types.
        suffix: what follows `model_` in the name of its file, as sentence-transformers and optimum have it.
        signed_activations: int8 rather than uint8 activations.
        weight_limit: largest magnitude of an integer weight.
        pair_limit: most that the weights of rows 2k and 2k+1 may come to where they have the same sign; None for any.
        purpose: one sentence for people.
        symmetric: zero points are 0, and only products of two integers have integers: tables and weights of float
            products stay float.
    """

    name: str
    suffix: str
    signed_activations: bool
    weight_limit: int
    pair_limit: int | None
    purpose: str
    symmetric: bool = False

    @property
    def limits(self) -> tuple[int, int | None, bool]:
        """What integers must keep to; where it is the same, so are recipes."""
        return self.weight_limit, self.pair_limit, self.symmetric

    @property
    def activation_dtype(self) -> np.dtype:
        """Element type of quantized activations."""
        return np.dtype(np.int8 if self.signed_activations else np.uint8)

    @property
    def activation_offset(self) -> int:
        """What is taken from a zero point in [0, 255] to get that of the element type."""
        return 128 if self.signed_activations else 0

    @property
    def file_name(self) -> str:
        """Name of the variant's file."""
        return f"model_{self.suffix}.onnx"


ISAS: dict[str, Isa] = {
    isa.name: isa
    for isa in (
        Isa("avx512_vnni", "qint8_avx512_vnni", False, 127, None, "x86 with VNNI (AVX-512 or AVX), and OpenVINO"),
        Isa("avx2", "quint8_avx2", False, 127, 128, "x86 without VNNI: AVX2, and AVX-512 before Cascade Lake"),
        Isa("arm64", "qint8_arm64", True, 127, None, "64-bit ARM"),
        Isa("tensorrt", "qint8", True, 127, None, "TensorRT on NVIDIA GPUs", symmetric=True),
    )
}

DEFAULT_ISA = "avx512_vnni"


def find_isa(name: str) -> Isa:
    """The row for `name`.

    Raises:
        UsageError: there is no such row; the message lists those that there are.
    """
    if name not in ISAS:
        raise UsageError(f"the instruction set {name!r} is unknown; choose one of {', '.join(ISAS)}.")
    return ISAS[name]
