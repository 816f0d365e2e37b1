"""Which runtime runs which variant here, and why: by what was measured on this machine, else by rules.

Rules, in this order: what the caller named; fp32 unless another precision was asked for; a GPU before the CPU;
OpenVINO where the artifact has a graph made for it; otherwise ONNX Runtime. Never an int8 file whose sums this
processor would saturate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bert_onnx.artifact import Manifest, Variant
from bert_onnx.errors import RuntimeUnavailableError, UsageError
from runtimes.engines.table import RUNTIMES, RuntimeRow, find_runtime
from runtimes.machine.devices import has_gpu
from runtimes.machine.processor import Processor

if TYPE_CHECKING:
    from runtimes.selection.tuned import Tuned

DEFAULT_PRECISION = "fp32"
FASTEST = "fastest"
#: Without a measurement, smaller numbers are taken for faster: what `fastest` means then.
_PRECISIONS = ("int8", "int4", "bf16", "fp16", "fp32")


@dataclass(frozen=True)
class Wanted:
    """What the caller named; None leaves it to us.

    Args:
        variant: a name in the manifest.
        runtime: a row of `runtimes.engines.table`.
        precision: of the variant or of the computation, or `fastest` for whatever was verified.
        threads: threads that compute one call.
        strict: a runtime that was named and cannot be had is an error, not a slower answer.
    """

    variant: str | None = None
    runtime: str | None = None
    precision: str | None = None
    threads: int | None = None
    strict: bool = True

    def __post_init__(self) -> None:
        if self.runtime is not None:
            find_runtime(self.runtime)
        known = (*_PRECISIONS, FASTEST)
        if self.precision is not None and self.precision not in known:
            raise UsageError(f"precision {self.precision!r} is unknown; choose one of {', '.join(known)}.")


@dataclass(frozen=True)
class Choice:
    """A variant on a runtime, what it computes in, and why it was chosen."""

    row: RuntimeRow
    variant: Variant
    compute: str
    threads: int | None
    why: str

    @property
    def precision(self) -> str:
        """What it computes in."""
        return self.variant.precision if self.compute == DEFAULT_PRECISION else self.compute


def choices(manifest: Manifest, wanted: Wanted, processor: Processor, tuned: Tuned | None) -> list[Choice]:
    """What could run, the best first. The caller takes the first that opens.

    Raises:
        ArtifactError: there is no such variant.
        UsageError: what was named does not fit together.
        RuntimeUnavailableError: what was named is not installed, or this processor would saturate.
    """
    variants = _variants(manifest, wanted, processor)
    rows = _rows(wanted)
    found = [choice for row in rows for variant in variants for choice in _compute_choices(row, variant, wanted)]
    if not found:
        raise _nothing(manifest, variants, rows, wanted)
    found.sort(key=lambda choice: _rank(choice, manifest, wanted, processor))
    measured = tuned.best(wanted.precision or DEFAULT_PRECISION) if tuned is not None else None
    if measured is not None and wanted.variant is None and wanted.runtime is None:
        chosen = [c for c in found if _is_row(c, measured.runtime, measured.variant, measured.compute)]
        why = f"fastest of {len(tuned.rows) if tuned else 0} measured on this machine by bert-onnx tune"
        first = [replace(c, threads=wanted.threads or measured.threads, why=why) for c in chosen]
        return first + [choice for choice in found if choice not in chosen]
    return found


def _is_row(choice: Choice, runtime: str, variant: str, compute: str) -> bool:
    return (choice.row.name, choice.variant.name, choice.compute) == (runtime, variant, compute)


def _variants(manifest: Manifest, wanted: Wanted, processor: Processor) -> list[Variant]:
    """Variants that were named, or all, without those that would saturate.

    Raises:
        ArtifactError: there is no such variant.
        RuntimeUnavailableError: all that were asked for would saturate here.
    """
    named = [manifest.variant(wanted.variant)] if wanted.variant is not None else list(manifest.variants)
    if wanted.precision == "int8":
        named = [variant for variant in named if variant.precision == "int8"] or named
    fit = [variant for variant in named if not _saturates(variant, processor)]
    if named and not fit:
        others = [v.name for v in manifest.variants if not _saturates(v, processor)]
        raise RuntimeUnavailableError(
            f"the sums of {named[0].name} would saturate on this processor, which has no VNNI, and its answers would "
            f"be wrong; use {' or '.join(others) or 'another artifact'}, or export int8 for avx2."
        )
    return fit


def _saturates(variant: Variant, processor: Processor) -> bool:
    return variant.precision == "int8" and processor.saturates(getattr(variant, "isa", None))


def _rows(wanted: Wanted) -> list[RuntimeRow]:
    """Runtimes to consider: the named one, or those that are chosen by themselves and are installed.

    Raises:
        RuntimeUnavailableError: what is needed is not installed.
    """
    automatic = [row for row in RUNTIMES.values() if row.automatic and not row.missing_modules()]
    automatic = [row for row in automatic if row.device != "cuda" or has_gpu()]
    if wanted.runtime is None:
        if not automatic:
            cpu = find_runtime("onnxruntime-cpu")
            raise RuntimeUnavailableError(f"onnxruntime cannot be imported; install it with {cpu.install}.")
        return automatic
    row = find_runtime(wanted.runtime)
    missing = row.missing_modules()
    if missing and wanted.strict:
        raise RuntimeUnavailableError(
            f"{row.name} needs {', '.join(missing)}, which cannot be imported; install it with {row.install}."
        )
    if wanted.strict:
        return [row]
    return [*([] if missing else [row]), *(other for other in automatic if other is not row)]


def _compute_choices(row: RuntimeRow, variant: Variant, wanted: Wanted) -> list[Choice]:
    """How `row` could run `variant` in the precision that was asked for: at most one way."""
    if not row.can_run(variant.target, variant.precision):
        return []
    default = variant.precision if wanted.variant is not None else DEFAULT_PRECISION
    precision = wanted.precision or default
    if precision in (variant.precision, FASTEST):
        return [Choice(row, variant, DEFAULT_PRECISION, wanted.threads, _why(row, variant, wanted))]
    if variant.precision == DEFAULT_PRECISION and precision in row.compute:
        why = f"{row.name} computes {variant.name} in {precision}, as asked; the manifest has no verdict on that"
        return [Choice(row, variant, precision, wanted.threads, why)]
    return []


def _why(row: RuntimeRow, variant: Variant, wanted: Wanted) -> str:
    reasons = []
    if wanted.runtime == row.name:
        reasons.append(f"the runtime {row.name} was asked for")
    elif row.device == "cuda":
        reasons.append("there is a GPU")
    elif row.name == "openvino" and variant.target.startswith("openvino"):
        reasons.append("OpenVINO is installed and the artifact has a graph for it")
    else:
        reasons.append(f"{row.name} is installed")
    if wanted.variant is not None:
        reasons.append(f"the variant {variant.name} was asked for")
    elif wanted.precision is not None:
        reasons.append(f"precision {wanted.precision} was asked for")
    else:
        reasons.append("fp32 is the default")
    return "; ".join(reasons) + "; by rule, since bert-onnx tune has not measured this"


def _rank(choice: Choice, manifest: Manifest, wanted: Wanted, processor: Processor) -> tuple[int, ...]:
    """Sorts choices; smaller is better."""
    row, variant = choice.row, choice.variant
    return (
        0 if row.name == wanted.runtime else 1,
        0 if row.device == "cuda" else 1,
        _PRECISIONS.index(choice.precision) if wanted.precision == FASTEST else 0,
        # A file in the precision itself has a verdict; a float32 file computed in it has none.
        0 if choice.compute == DEFAULT_PRECISION else 1,
        0 if row.name == wanted.runtime else _pairing(row, variant),
        processor.isa_rank(getattr(variant, "isa", None)) if variant.precision == "int8" else 0,
        row.targets.index(variant.target),
        list(RUNTIMES).index(row.name),
        manifest.variants.index(variant),
    )


def _pairing(row: RuntimeRow, variant: Variant) -> int:
    """How well runtime and graph go together: OpenVINO is quicker once it runs, and starts slower, so that it is taken
    where the artifact was made for it."""
    for_openvino = variant.target.startswith("openvino")
    if row.name == "openvino":
        return 0 if for_openvino else 3
    return 2 if for_openvino else 1


def _nothing(
    manifest: Manifest, variants: Sequence[Variant], rows: Sequence[RuntimeRow], wanted: Wanted
) -> UsageError | RuntimeUnavailableError:
    """Why there is no choice."""
    has = ", ".join(f"{variant.name} ({variant.target}, {variant.precision})" for variant in manifest.variants)
    names = " and ".join(row.name for row in rows)
    if wanted.variant is not None:
        variant = variants[0]
        asked = f" in {wanted.precision}" if wanted.precision else ""
        return UsageError(
            f"{names} cannot run {variant.name} ({variant.target}, {variant.precision}){asked}; the artifact has {has}."
        )
    if wanted.precision not in (None, FASTEST, *(variant.precision for variant in manifest.variants)):
        return UsageError(
            f"the artifact has no {wanted.precision} variant, and {names} cannot compute in it here; it has {has}. "
            "Export it with that precision, or choose another."
        )
    return UsageError(f"{names} can run none of what was asked for; the artifact has {has}.")
