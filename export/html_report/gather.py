"""What a report shows: the manifest, and what a short run measures here."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from bert_onnx.artifact import Artifact, Variant
from bert_onnx.errors import InferenceError, RuntimeUnavailableError, UsageError
from export.html_report.layers import layer_errors
from runtimes.bench.machine import Machine, this_machine
from runtimes.bench.quality import TASKS, QualityReport, retrieval_quality
from runtimes.bench.queries import Progress
from runtimes.bench.sweep import Sweep, sweep

#: A model that generates takes a cache, too, which sweeps do not give it.
_NO_SWEEP = "text-generation-with-past"


@dataclass(frozen=True)
class Gathered:
    """Everything on the page.

    Args:
        artifact: the manifest and where it lies.
        machine: where speed was measured.
        sweeps: latency of each variant that runs here, by its name.
        skipped: why others were not measured, by their names.
        quality: retrieval quality; None for tasks that rank nothing.
        layers: error after each layer of quantized variants, by their names.
    """

    artifact: Artifact
    machine: Machine
    sweeps: dict[str, Sweep]
    skipped: dict[str, str]
    quality: QualityReport | None
    layers: dict[str, dict[str, float]] = field(default_factory=dict)

    def cosine(self, variant: Variant) -> float | None:
        """Mean cosine or agreement with eager on held-out texts; None for fp32, which is judged by its rounding."""
        if variant.quality is None:
            return None
        return next(iter(variant.quality.figures.values()), None)

    def latency(self, variant: Variant) -> float | None:
        """Median milliseconds of a single text of 32 tokens or the nearest length; None where it was not measured."""
        measured = self.sweeps.get(variant.name)
        if measured is None:
            return None
        return measured.by_length[min(measured.by_length, key=lambda length: abs(length - 32))].percentile(50)

    def best(self) -> list[Variant]:
        """Variants that no other beats in speed, size and fidelity together, the fastest first."""
        known = [v for v in self.artifact.manifest.variants if self.latency(v) is not None]
        front = [v for v in known if not any(_beats(self._place(o), self._place(v)) for o in known if o is not v)]
        return sorted(front, key=lambda v: self.latency(v) or 0.0)

    def _place(self, variant: Variant) -> tuple[float, float, float]:
        cosine = self.cosine(variant)
        return self.latency(variant) or 0.0, variant.size_bytes / 1e6, 0.0 if cosine is None else 1 - cosine


def _beats(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    """Nowhere worse and somewhere better; times and sizes within a hundredth are equal."""
    no_worse = all(a <= b * 1.01 for a, b in zip(first, second, strict=True))
    return no_worse and any(a < b * 0.99 for a, b in zip(first, second, strict=True))


def gather(folder: str | os.PathLike[str], seconds: float, progress: Progress) -> Gathered:
    """Open the artifact and measure its variants for about `seconds` in all.

    Raises:
        ArtifactError: the folder is missing, damaged or no artifact.
        UsageError: `seconds` is out of range.
    """
    if not 0 < seconds <= 3600:
        raise UsageError(f"seconds is {seconds:g}; it must be more than 0 and at most 3600.")
    artifact, machine = Artifact.open(folder), this_machine()
    manifest = artifact.manifest
    sweeps: dict[str, Sweep] = {}
    skipped: dict[str, str] = {}
    count = len(manifest.variants)
    for number, variant in enumerate(manifest.variants):
        begin = 0.7 * number / count

        def advance(step: str, share: float, begin: float = begin) -> None:
            progress(step, begin + 0.7 * share / count)

        try:
            if manifest.task == _NO_SWEEP:
                raise UsageError("a graph with a cache is not measured here; bert-onnx tune does that.")
            sweeps[variant.name] = sweep(artifact, variant.name, seconds / count, advance)
        except (RuntimeUnavailableError, UsageError, InferenceError) as error:
            skipped[variant.name] = str(error)
    quality = None
    if manifest.task in TASKS and sweeps:
        quality = retrieval_quality(folder, lambda step, share: progress(step, 0.7 + 0.2 * share))
    progress("comparing layers", 0.92)
    return Gathered(artifact, machine, sweeps, skipped, quality, layer_errors(artifact))
