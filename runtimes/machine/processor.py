"""What this processor can do, as far as it decides which file to run; and the memory that this process may use."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_CGROUPS = Path("/sys/fs/cgroup")

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
        MatMulNBits, which adds without saturating.
        """
        if self.architecture != "x86_64" or isa in (None, "avx2"):
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


def memory_limit(root: Path = _CGROUPS, membership: Path = Path("/proc/self/cgroup")) -> int | None:
    """Bytes that the tightest cgroup (v2 or v1) above this process allows; None without a limit."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    limits = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        base, name = (root / "memory", "memory.limit_in_bytes") if controllers else (root, "memory.max")
        for folder in (path, *(str(parent) for parent in Path(path).parents)):
            limits.append(_read_limit(base / folder.lstrip("/") / name))
    return min((limit for limit in limits if limit is not None), default=None)


def physical_memory() -> int | None:
    """Bytes of memory that the machine has; None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _read_limit(path: Path) -> int | None:
    try:
        value = int(path.read_text())
    except (OSError, ValueError):  # missing, or `max`
        return None
    return value if value < 1 << 60 else None  # v1 writes a huge number for none
