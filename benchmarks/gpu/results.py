"""What was found on a GPU, as JSON: parts of a run are added to what is there, and the page is made of it alone."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import numpy as np

from bert_onnx.errors import UsageError

#: Of the file's layout; a file of another one is not read.
SCHEMA = 1


class Device(msgspec.Struct, frozen=True):
    """What was measured on.

    Args:
        name, driver, memory_mib, compute_capability: as nvidia-smi says.
        host: processor, memory, system.
        versions: of the programs that took part.
        rehearsal: a tiny model on a CPU: no figure says anything of a GPU.
    """

    name: str
    driver: str
    memory_mib: int
    compute_capability: str
    host: str
    versions: list[str]
    rehearsal: bool = False


class Outcome(msgspec.Struct, frozen=True):
    """One test that needs a GPU: `passed`, `failed` or `skipped`, and why."""

    name: str
    outcome: str
    reason: str = ""


class Timing(msgspec.Struct, frozen=True):
    """One competitor on one batch: seconds of a forward pass, one entry a round, and its largest difference from eager
    torch in float32 on real tokens."""

    name: str
    ours: bool
    seconds: list[float]
    difference: float

    @property
    def median(self) -> float:
        """Median seconds of one forward pass."""
        return float(np.median(self.seconds))


class Row(msgspec.Struct, frozen=True):
    """All competitors of one precision on one batch.

    Args:
        precision: `fp32` or `fp16`.
        batch: its name; `rows` texts of `length` places, `tokens` of which are real.
        needed: floating point operations that the real tokens need.
        timings: one entry for each engine that could run it.
        failed: what the others said.
        clocks: what nvidia-smi said of the GPU at the end, by its own names; empty where it cannot be read.
    """

    precision: str
    batch: str
    rows: int
    length: int
    tokens: int
    needed: float
    timings: list[Timing]
    failed: dict[str, str] = {}
    clocks: dict[str, float] = {}

    @property
    def fill(self) -> float:
        """Real tokens as a share of all places."""
        return self.tokens / (self.rows * self.length)

    def find(self, name: str) -> Timing | None:
        """The timing of one engine; None where it could not run this batch."""
        return next((timing for timing in self.timings if timing.name == name), None)

    def best(self, ours: bool) -> Timing | None:
        """The fastest of our graphs, or of the peers; None where none ran."""
        return min((one for one in self.timings if one.ours is ours), key=lambda one: one.median, default=None)

    def share(self, timing: Timing, peak: float) -> float:
        """Operations on real tokens a second, as a share of `peak`, operations a second."""
        return self.needed / timing.median / peak


class Peak(msgspec.Struct, frozen=True):
    """Operations a second, and who says so."""

    operations: float
    source: str


class Results(msgspec.Struct):
    """Everything that was found on one device.

    Args:
        tests: of the last run of the tests.
        measured, sheets: peaks by precision: of a bare product, and of the data sheet where we know it.
        refused: competitors that could not be made, by precision and name, and why.
        rows: one entry a precision and batch.
        kernels: names of kernels and their share of the time, the longest first, by precision, batch and engine.
        lost: engines after which the GPU could not be used any more, by precision and batch; they are left out there.
    """

    device: Device
    schema: int = SCHEMA
    tests: list[Outcome] = []
    measured: dict[str, Peak] = {}
    sheets: dict[str, Peak] = {}
    refused: dict[str, dict[str, str]] = {}
    rows: list[Row] = []
    kernels: dict[str, dict[str, list[tuple[str, float]]]] = {}
    lost: dict[str, dict[str, str]] = {}

    def find(self, precision: str, batch: str) -> Row | None:
        """The row of one batch; None where it was not measured."""
        return next((row for row in self.rows if (row.precision, row.batch) == (precision, batch)), None)


def open_results(path: Path, device: Device) -> Results:
    """What `path` holds of `device`; empty where there is no file yet.

    Raises:
        UsageError: the file is of another device, or of other versions: figures that were not measured side by side
            say nothing together. Or it is damaged, or of another layout.
    """
    if not path.exists():
        return Results(device)
    found = read_results(path)
    if found.device != device:
        pairs = zip(_fields(found.device), _fields(device), strict=True)
        changes = ", ".join(f"{old} there, {new} here" for old, new in pairs if old != new)
        raise UsageError(f"{path} is of another machine ({changes}); move it away, or give another --work.")
    return found


def read_results(path: Path) -> Results:
    """What `path` holds. Raises UsageError: it is damaged, or of another layout."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Results)
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(f"{path} does not hold results of benchmarks.gpu: {error}.") from error
    if found.schema != SCHEMA:
        raise UsageError(f"{path} has layout {found.schema}, and this program writes {SCHEMA}; move it away.")
    return found


def save_results(results: Results, path: Path) -> None:
    """Write `path`, whole or not at all."""
    part = path.with_suffix(".part")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    os.replace(part, path)


def _fields(device: Device) -> list[str]:
    """Each value as text, one entry a program."""
    return [
        device.name, f"driver {device.driver}", f"{device.memory_mib} MiB", device.compute_capability, device.host,
        ", ".join(device.versions), "a rehearsal" if device.rehearsal else "a measurement",
    ]  # fmt: skip
