"""Which runtime runs which variant here, and why: by what was measured on this machine, else by rules.

Rules, in this order: what the caller named; fp32 unless another precision was asked for; a GPU before the CPU;
OpenVINO where the artifact has a graph made for it; otherwise ONNX Runtime. Never an int8 file whose sums this
processor would saturate. On a GPU with a padded and an unpadded graph of one precision: both, see `cuda_by_shape`.
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
from runtimes.selection.request import DEFAULT_PRECISION, FASTEST, PRECISIONS, RuntimeRequest

if TYPE_CHECKING:
    from runtimes.selection.tuned import Tuned

#: The runtime that chooses between two graphs, batch by batch, and their targets.
BY_SHAPE, PADDED, UNPADDED = "onnxruntime-cuda", "ort-cuda", "ort-cuda-unpadded"


@dataclass(frozen=True)
class RuntimeChoice:
    """A variant on a runtime, what it computes in, and why it was chosen.

    Args:
        unpadded: a second variant, for batches that have padding to skip.
    """

    row: RuntimeRow
    variant: Variant
    compute: str
    threads: int | None
    why: str
    unpadded: Variant | None = None

    @property
    def precision(self) -> str:
        """What it computes in."""
        return self.variant.precision if self.compute == DEFAULT_PRECISION else self.compute


def choices(
    manifest: Manifest, request: RuntimeRequest, processor: Processor, tuned: Tuned | None
) -> list[RuntimeChoice]:
    """What could run, the best first. The caller takes the first that opens.

    Raises:
        ArtifactError: there is no such variant.
        UsageError: what was named does not fit together.
        RuntimeUnavailableError: what was named is not installed, or this processor would saturate.
    """
    variants = _variants(manifest, request, processor)
    rows = _rows(request)
    found = [choice for row in rows for variant in variants for choice in _compute_choices(row, variant, request)]
    found += [pair for choice in found for pair in _pairs(choice, variants, request)]
    if not found:
        raise _nothing(manifest, variants, rows, request)
    found.sort(key=lambda choice: _rank(choice, manifest, request, processor))
    measured = tuned.best(request.precision or DEFAULT_PRECISION) if tuned is not None else None
    if measured is not None and request.variant is None and request.runtime is None:
        chosen = [c for c in found if _is_row(c, measured.runtime, measured.variant, measured.compute)]
        why = f"fastest of {len(tuned.rows) if tuned else 0} measured on this machine by bert-onnx tune"
        first = [replace(c, threads=request.threads or measured.threads, why=why) for c in chosen if not c.unpadded]
        return first + [choice for choice in found if choice not in chosen]
    return found


def _is_row(choice: RuntimeChoice, runtime: str, variant: str, compute: str) -> bool:
    return (choice.row.name, choice.variant.name, choice.compute) == (runtime, variant, compute)


def _variants(manifest: Manifest, request: RuntimeRequest, processor: Processor) -> list[Variant]:
    """Variants that were named, or all, without those that would saturate.

    Raises:
        ArtifactError: there is no such variant.
        RuntimeUnavailableError: all that were asked for would saturate here.
    """
    named = [manifest.variant(request.variant)] if request.variant is not None else list(manifest.variants)
    if request.precision == "int8":
        named = [variant for variant in named if variant.precision == "int8"] or named
    fit = [variant for variant in named if not _saturates(variant, processor)]
    if named and not fit:
        others = [v.name for v in manifest.variants if not _saturates(v, processor)]
        raise RuntimeUnavailableError(
            f"the sums of {named[0].name} would saturate on this processor, which has no VNNI, and its outputs would "
            f"be wrong; use {' or '.join(others) or 'another artifact'}, or export int8 for avx2."
        )
    return fit


def _saturates(variant: Variant, processor: Processor) -> bool:
    return variant.precision == "int8" and processor.saturates(variant.isa)


def _rows(request: RuntimeRequest) -> list[RuntimeRow]:
    """Runtimes to consider: the named one, or those that are chosen by themselves and are installed.

    Raises:
        RuntimeUnavailableError: what is needed is not installed.
    """
    automatic = [row for row in RUNTIMES.values() if row.automatic and not row.missing_modules()]
    automatic = [row for row in automatic if row.device != "cuda" or has_gpu()]
    if request.runtime is None:
        if not automatic:
            cpu = find_runtime("onnxruntime-cpu")
            raise RuntimeUnavailableError(f"onnxruntime cannot be imported; install it with {cpu.install}.")
        return automatic
    row = find_runtime(request.runtime)
    missing = row.missing_modules()
    if missing and request.strict:
        raise RuntimeUnavailableError(
            f"{row.name} needs {', '.join(missing)}, which cannot be imported; install it with {row.install}."
        )
    if request.strict:
        return [row]
    return [*([] if missing else [row]), *(other for other in automatic if other is not row)]


def _compute_choices(row: RuntimeRow, variant: Variant, request: RuntimeRequest) -> list[RuntimeChoice]:
    """How `row` could run `variant` in the precision that was asked for: at most one way."""
    if not row.can_run(variant.target, variant.precision):
        return []
    default = variant.precision if request.variant is not None else DEFAULT_PRECISION
    precision = request.precision or default
    if precision in (variant.precision, FASTEST):
        return [RuntimeChoice(row, variant, DEFAULT_PRECISION, request.threads, _why(row, variant, request))]
    if variant.precision == DEFAULT_PRECISION and precision in row.compute:
        why = f"{row.name} computes {variant.name} in {precision}, as asked; the manifest has no verdict on that"
        return [RuntimeChoice(row, variant, precision, request.threads, why)]
    return []


def _pairs(choice: RuntimeChoice, variants: Sequence[Variant], request: RuntimeRequest) -> list[RuntimeChoice]:
    """`choice` together with the unpadded graph of its precision, where the caller named no variant."""
    if request.variant is not None or choice.variant.target != PADDED or choice.row.name != BY_SHAPE:
        return []
    return [
        replace(choice, unpadded=other, why=f"{choice.why}; batches with padding to skip run on {other.name}")
        for other in variants
        if (other.target, other.precision) == (UNPADDED, choice.variant.precision)
    ]


def _why(row: RuntimeRow, variant: Variant, request: RuntimeRequest) -> str:
    reasons = []
    if request.runtime == row.name:
        reasons.append(f"the runtime {row.name} was asked for")
    elif row.device == "cuda":
        reasons.append("there is a GPU")
    elif row.name == "openvino" and variant.target.startswith("openvino"):
        reasons.append("OpenVINO is installed and the artifact has a graph for it")
    else:
        reasons.append(f"{row.name} is installed")
    if request.variant is not None:
        reasons.append(f"the variant {variant.name} was asked for")
    elif request.precision is not None:
        reasons.append(f"precision {request.precision} was asked for")
    else:
        reasons.append("fp32 is the default")
    return "; ".join(reasons) + "; by rule, since bert-onnx tune has not measured this"


def _rank(choice: RuntimeChoice, manifest: Manifest, request: RuntimeRequest, processor: Processor) -> tuple[int, ...]:
    """Sorts choices; smaller is better."""
    row, variant = choice.row, choice.variant
    return (
        0 if row.name == request.runtime else 1,
        0 if row.device == "cuda" else 1,
        PRECISIONS.index(choice.precision) if request.precision == FASTEST else 0,
        # A file in the precision itself has a verdict; a float32 file computed in it has none.
        0 if choice.compute == DEFAULT_PRECISION else 1,
        0 if row.name == request.runtime else _pairing(row, variant),
        processor.isa_rank(variant.isa) if variant.precision == "int8" else 0,
        row.targets.index(variant.target),
        0 if choice.unpadded else 1,
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
    manifest: Manifest, variants: Sequence[Variant], rows: Sequence[RuntimeRow], request: RuntimeRequest
) -> UsageError | RuntimeUnavailableError:
    """Why there is no choice."""
    has = ", ".join(f"{variant.name} ({variant.target}, {variant.precision})" for variant in manifest.variants)
    names = " and ".join(row.name for row in rows)
    if request.variant is not None:
        variant = variants[0]
        asked = f" in {request.precision}" if request.precision else ""
        return UsageError(
            f"{names} cannot run {variant.name} ({variant.target}, {variant.precision}){asked}; the artifact has {has}."
        )
    if request.precision not in (None, FASTEST, *(variant.precision for variant in manifest.variants)):
        return UsageError(
            f"the artifact has no {request.precision} variant, and {names} cannot compute in it here; it has {has}. "
            "Export it with that precision, or choose another."
        )
    return UsageError(f"{names} can run none of what was asked for; the artifact has {has}.")
