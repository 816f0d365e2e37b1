"""The parity matrix: every variant of an artifact on every runtime of this machine, with differences and verdicts.

What computes in float32 is compared with the eager model, or, where its checkpoint is not here, with the portable
graph on ONNX Runtime, unoptimised. A file in a lower precision was judged by its gate on ONNX Runtime: on other
runtimes it must give what it gives there, by cosine. Outputs are compared at real tokens. Postprocess outputs must
follow from the scores beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from bert_onnx.artifact import Artifact, Variant
from bert_onnx.errors import CheckpointError, HubError
from export.check import chosen_rows
from export.reference.from_artifact import checkpoint_of, eager_of
from export.reference.runtime import Reference
from export.report import Progress, no_progress
from export.verification.runtime_cells import Matrix
from export.verification.runtime_comparison import RuntimeComparison
from runtimes.engines.base import Runtime, RuntimeOptions
from runtimes.engines.ort.cpu import OnnxRuntimeCpu
from runtimes.engines.table import RuntimeRow
from runtimes.machine.processor import this_processor


def runtime_matrix(
    folder: str,
    runtimes: str | Sequence[RuntimeRow] = "all",
    model: str | None = None,
    progress: Progress = no_progress,
) -> Matrix:
    """Compare every variant of the artifact in `folder` on each of `runtimes`.

    Args:
        runtimes: `all`, names of the table of runtimes with commas, or rows.
        model: where the checkpoint is now; where it cannot be found, the portable graph is the reference.

    Raises:
        ArtifactError: a file is missing, changed or damaged.
        UsageError: a runtime that does not exist.
        RuntimeUnavailableError: onnxruntime is missing, which everything is compared with.
    """
    rows = chosen_rows(runtimes) if isinstance(runtimes, str) else list(runtimes)
    progress("checking every file", 0.0)
    artifact = Artifact.open(folder)
    processor = this_processor()
    with ExitStack() as stack:
        reference, name = _reference(artifact, model)
        stack.callback(reference.close)
        plans = [(v, row, compute) for v in artifact.manifest.variants for row in rows for compute in _ways(row, v)]
        cells = []
        for number, (variant, row, compute) in enumerate(plans):
            progress(f"{variant.name} on {row.name}", number / len(plans))
            cells.append(RuntimeComparison(artifact, variant, reference).cell(row, compute, processor))
    progress("done", 1.0)
    return Matrix(str(artifact.folder), name, tuple(cells))


def _ways(row: RuntimeRow, variant: Variant) -> tuple[str, ...]:
    """What `row` could compute `variant` in; nothing where it does not run such files."""
    if not row.can_run(variant.target, variant.precision):
        return ()
    return row.compute if variant.precision == "fp32" else ("fp32",)


def _reference(artifact: Artifact, model: str | None) -> tuple[Runtime, str]:
    """What float32 is compared with, and its name for people."""
    try:
        eager = eager_of(artifact, checkpoint_of(artifact, model, offline=True))
        return Reference(eager), "eager PyTorch, float32"
    except (CheckpointError, HubError):
        if model is not None:
            raise
    manifest = artifact.manifest
    options = RuntimeOptions(optimization="none", spinning=False)
    first = manifest.variants[0]
    runtime = OnnxRuntimeCpu.open(artifact.path(first), manifest.inputs, manifest.outputs, options, manifest.config)
    return runtime, f"{first.name} on onnxruntime-cpu, unoptimised (its checkpoint is not here)"
