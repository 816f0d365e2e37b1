"""What `bert-onnx bench` found, and the file that keeps it for a later comparison."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

from bert_onnx.errors import InputError, StorageError, UsageError
from runtimes.bench.compare import CONFIDENCE, Interval, ratio
from runtimes.bench.measure import Measured
from runtimes.bench.scenarios import SCENARIOS, find_scenario

SCHEMA = 1


@dataclass(frozen=True)
class BenchReport:
    """What was measured; where there are two, the ratio of the second's figure to the first's, with its interval."""

    measured: tuple[Measured, ...]
    ratio: Interval | None = None

    @classmethod
    def of(cls, measured: tuple[Measured, ...]) -> BenchReport:
        """The report on one measurement, or on two that are compared.

        Raises:
            UsageError: they are of different scenarios, bounds or machines.
        """
        if len(measured) < 2:
            return cls(measured)
        first, second = measured
        for what in ("scenario", "bound"):
            if getattr(first, what) != getattr(second, what):
                raise UsageError(
                    f"the {what} of one is {getattr(first, what)}, that of the other {getattr(second, what)}; only "
                    "measurements of one kind can be compared."
                )
        if first.machine.identity != second.machine.identity:
            raise UsageError("the two were measured on different machines; measure both on one.")
        return cls(measured, ratio(find_scenario(first.scenario), first.probes, second.probes, first.bound))

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        compared = None if self.ratio is None else {**asdict(self.ratio), "confidence": CONFIDENCE}
        return {"schema": SCHEMA, "measured": [one.to_dict() for one in self.measured], "ratio": compared}


class Told(Protocol):
    """What can be kept."""

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        ...


def save_report(report: Told, path: str | os.PathLike[str]) -> None:
    """Write `report` as JSON, whole or not at all.

    Raises:
        StorageError: the disk refuses.
    """
    write_whole(path, (json.dumps(report.to_dict()) + "\n").encode("utf-8"))


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file, whole or not at all.

    Raises:
        StorageError: the disk refuses.
    """
    temporary = Path(f"{os.fspath(path)}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StorageError(f"{path} cannot be written: {error.strerror}.") from error


def load_measured(path: str | os.PathLike[str]) -> Measured:
    """The one measurement of a file that `save_report` wrote.

    Raises:
        InputError: there is no such file, or it is none of those.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
        (one,) = values["measured"]
        known = {name: one[name] for name in Measured.__dataclass_fields__}
        measured = msgspec.convert(known, Measured)
        _check_probes(measured)
        return measured
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, RecursionError, msgspec.ValidationError):
        raise InputError(f"{path} is not what `bert-onnx bench DIR --output FILE` writes for one variant.") from None


def _check_probes(measured: Measured) -> None:
    """Raises ValueError for runs that no measurement gives: without queries, with times that are none."""
    probes = measured.probes
    times = [time for probe in probes for time in probe.latencies]
    rates = [probe.rate for probe in probes if probe.rate is not None]
    alike = len(rates) == (len(probes) if measured.scenario == "server" else 0)
    if measured.scenario not in SCENARIOS or not alike or not all(probe.latencies for probe in probes):
        raise ValueError
    counts = [probe.samples for probe in probes]
    if not times or not all(0 < number < math.inf for number in (*times, *rates, *counts, measured.bound)):
        raise ValueError
