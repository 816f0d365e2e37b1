"""What a measurement was made on; figures of two machines are never compared silently."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass

from bert_onnx.memory import memory_limit, physical_memory
from runtimes.machine.cpu import usable_threads
from runtimes.machine.processor import this_processor
from runtimes.selection.doctor import versions


@dataclass(frozen=True)
class Machine:
    """The machine and the versions of what ran.

    Args:
        processor, architecture, features: see `runtimes.machine.processor`.
        threads: cores that may be used, affinity and cgroup quota considered.
        memory: bytes that this process may use; None where the system does not say.
        load: load average over one minute before the measurement; timings mean less on a busy machine.
        system, python, packages: versions.
    """

    processor: str
    architecture: str
    features: tuple[str, ...]
    threads: int
    memory: int | None
    load: float | None
    system: str
    python: str
    packages: dict[str, str]

    @property
    def identity(self) -> tuple[object, ...]:
        """What must be equal for times to be comparable."""
        return self.processor, self.features, self.threads


def this_machine() -> Machine:
    """The machine that this runs on."""
    processor = this_processor()
    memory = [size for size in (physical_memory(), memory_limit()) if size is not None]
    return Machine(
        processor=processor.name,
        architecture=processor.architecture,
        features=tuple(sorted(processor.features)),
        threads=usable_threads(),
        memory=min(memory, default=None),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        packages=versions(),
    )
