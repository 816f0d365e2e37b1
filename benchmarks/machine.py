"""What a measurement was made on: processor, threads, load, versions of the programs that took part."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from runtimes.machine.cpu import usable_threads
from runtimes.machine.packages import installed_versions
from runtimes.machine.processor import this_processor


def describe_machine(packages: Sequence[str], load: bool = True) -> str:
    """One paragraph for a document.

    Args:
        packages: distributions whose versions matter.
        load: also say how busy the machine is now; timings mean less on a busy one.
    """
    cores = f"{usable_threads()} of {os.cpu_count()} cores used"
    lines = [
        f"Measured on {date.today().isoformat()}: {processor_name()}, {cores},",
        f"{memory_gib()} GiB of memory, {platform.system()}, Python {platform.python_version()}.",
        f"Versions: {', '.join(package_versions(packages))}.",
    ]
    if load and hasattr(os, "getloadavg"):
        one, _, fifteen = os.getloadavg()
        lines.append(f"Load average at the end: {one:.1f} over one minute, {fifteen:.1f} over fifteen.")
    return "\n".join(lines)


def processor_name() -> str:
    """The processor's name and the vector instructions that matter here, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = set(fields.get("flags", "").split())
    known = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_vnni": "VNNI", "avx512_bf16": "bf16", "amx_tile": "AMX"}
    found = [name for flag, name in known.items() if flag in flags]
    name = fields.get("model name", platform.machine())
    family = f" family {fields['cpu family']} model {fields['model']}" if "cpu family" in fields else ""
    return f"{name}{family}" + (f" ({', '.join(found)})" if found else "")


def memory_gib() -> int:
    """Physical memory, rounded."""
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)


def package_versions(packages: Sequence[str]) -> list[str]:
    """`name version` of each; those that are not installed say so."""
    found = installed_versions(packages)
    return [f"{name} {found.get(name, 'not installed')}" for name in packages]


def int8_isa() -> str:
    """What int8 files that are measured here are laid out for: what this processor runs best."""
    return "avx2" if this_processor().saturates("avx512_vnni") else "avx512_vnni"
