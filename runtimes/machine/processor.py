"""What this processor can do, as far as it decides which file to run."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")

#: Feature -> how /proc/cpuinfo spells it, on x86 and on ARM.
FEATURES = {
    "avx2": "avx2",
    "avx512": "avx512f",
    "avx_vnni": "avx_vnni",
    "avx512_vnni": "avx512_vnni",
    "avx512_bf16": "avx512_bf16",
    "amx_int8": "amx_int8",
    "amx_bf16": "amx_bf16",
    "neon": "asimd",
    "dot_product": "asimddp",
    "int8_matrix": "i8mm",
    "arm_bf16": "bf16",
}
#: Any of them multiplies int8 and adds in 32 bits.
VNNI = frozenset({"avx_vnni", "avx512_vnni", "amx_int8"})


@dataclass(frozen=True)
class Processor:
    """What a processor is: its name, `x86_64` or `arm64` or another, and which of `FEATURES` it has."""

    name: str
    architecture: str
    features: frozenset[str]

    def saturates(self, isa: str | None) -> bool:
        """Whether int8 files made for `isa` give wrong sums here: a row of `export.quantization.isa`.

        x86 without VNNI adds two products of 8 bits in 16, which overflow unless weights leave room, as those of
        `avx2` do. ARM adds in 32 bits. Files for none have integer weights alone: their products are floats, or
        MatMulNBits, which adds without saturating. Those for TensorRT run on no processor.
        """
        if self.architecture != "x86_64" or isa in (None, "avx2", "tensorrt"):
            return False
        return not VNNI & self.features

    def isa_rank(self, isa: str | None) -> int:
        """Place of `isa` among those that a file could be made for, 0 for the fastest here."""
        order = ("avx512_vnni", "avx2", "arm64") if self.architecture == "x86_64" else ("arm64", "avx512_vnni", "avx2")
        return order.index(isa) if isa in order else len(order)


def this_processor(cpuinfo: Path = _CPUINFO, machine: str | None = None) -> Processor:
    """The processor of this machine; one without features where the system does not tell."""
    machine = (machine or platform.machine()).lower()
    architecture = {"amd64": "x86_64", "x64": "x86_64", "aarch64": "arm64"}.get(machine, machine)
    fields: dict[str, str] = {}
    try:
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
    except OSError:
        pass
    words = set((fields.get("flags") or fields.get("Features") or "").split())
    # ARM's `bf16` is a word of its own; x86 has none of that name.
    found = frozenset(name for name, word in FEATURES.items() if word in words)
    return Processor(fields.get("model name") or platform.processor() or machine, architecture, found)
