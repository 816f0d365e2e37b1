"""What `bert-onnx tune` measured here, kept in the user's cache by the artifact's content and this machine."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bert_onnx.errors import StorageError
from runtimes.machine.packages import installed_versions
from runtimes.machine.processor import Processor
from runtimes.machine.user_cache import cache_folder

#: Raised whenever a field changes its meaning: older results are then measured again.
_SCHEMA = 1
#: Distributions whose version changes what is fastest.
LIBRARIES = ("onnxruntime", "onnxruntime-gpu", "openvino")


@dataclass(frozen=True)
class TunedRow:
    """One thing that was measured: a variant on a runtime.

    Args:
        runtime: a row of `runtimes.engines.table`.
        variant: a variant of the artifact.
        precision: what it computes in: the variant's, or what a float32 file was computed in.
        compute: the runtime's option that this took.
        threads: threads of one call.
        milliseconds: median time of the workload.
        verified: the manifest has a verdict on it; a float32 file computed in another precision has none.
    """

    runtime: str
    variant: str
    precision: str
    compute: str
    threads: int
    milliseconds: float
    verified: bool


@dataclass(frozen=True)
class Tuned:
    """What one run of `tune` found: the rows, fastest first, for `throughput` or `latency`."""

    purpose: str
    rows: tuple[TunedRow, ...]
    libraries: dict[str, str]

    def best(self, precision: str) -> TunedRow | None:
        """The fastest verified row of `precision`, or of all for `fastest`. A precision that is asked for by name may
        be one that a runtime computes in without a verdict."""
        for row in self.rows:
            if (precision == "fastest" and row.verified) or row.precision == precision:
                return row
        return None


def tuned_path(manifest_sha256: str, processor: Processor, threads: int) -> Path:
    """Where the result for an artifact on this machine lies."""
    machine = (processor.name, processor.architecture, sorted(processor.features), threads)
    key = hashlib.sha256(repr((_SCHEMA, manifest_sha256, machine)).encode()).hexdigest()[:32]
    return cache_folder("tune") / f"{key}.json"


def installed_libraries() -> dict[str, str]:
    """Versions of those of `LIBRARIES` that are installed."""
    return installed_versions(LIBRARIES)


def save_tuned(path: Path, tuned: Tuned) -> None:
    """Write atomically: a reader sees the old result or the new one.

    Raises:
        StorageError: the cache cannot be written.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(asdict(tuned), indent=1), encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise StorageError(f"the result cannot be kept in {path}: {error.strerror}.") from error


def load_tuned(path: Path) -> Tuned | None:
    """What was measured with the libraries that are installed now; None where nothing was, or it is not readable."""
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
        tuned = Tuned(
            str(values["purpose"]), tuple(TunedRow(**row) for row in values["rows"]), dict(values["libraries"])
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return tuned if tuned.libraries == installed_libraries() else None
