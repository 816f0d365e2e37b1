"""The door: `bert_onnx.export` and `bert_onnx.optimize`. They import what makes graphs when they are called."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bert_onnx.errors import BertOnnxError, RuntimeUnavailableError

if TYPE_CHECKING:
    from export.external_graph.optimize import OptimizeReport
    from export.report import ExportReport

#: What only an install that exports has.
EXPORT_PACKAGES = ("torch", "onnx", "onnx_ir", "onnxscript", "huggingface_hub", "rich")


def export(
    model: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    task: str = "auto",
    targets: str | Sequence[str] = ("portable",),
    precision: str | Sequence[str] = "fp32",
    opset: int | None = None,
    revision: str | None = None,
    offline: bool = False,
    pooling: str | None = None,
    normalize: bool | None = None,
    output_attentions: bool = False,
    output_hidden_states: bool = False,
    postprocess: bool = False,
    text_input: bool = False,
    method: str | None = None,
    isas: str | Sequence[str] = ("avx512_vnni",),
    calibration: str | os.PathLike[str] | None = None,
    evaluation: str | os.PathLike[str] | None = None,
    budget: float | None = None,
    allow_degraded: bool = False,
    random_seed: int | None = None,
    allow_new_heads: bool = False,
    strict_weights: bool = False,
    check_each_pass: bool = False,
    force: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> ExportReport:
    """Make an artifact from a checkpoint, verify it and publish it: `bert-onnx export` for programs.

    Args:
        model: a folder, a hub id such as `bert-base-uncased`, or `sample`.
        output: the artifact's folder; None puts it into artifacts/ under the model's name.
        task: a row of the task table, or `auto`: what the checkpoint's architecture says.
        targets: what will run the graphs, such as `ort-cpu` or `openvino`; `portable` is always made.
        precision: `fp32`, `fp16`, `bf16`, `int8`, `int4`, or several of them, of each target.
        opset: ai.onnx opset, 17 to 23, of the portable graph; None for the target's own.
        revision: branch, tag or commit on the hub.
        offline: use the hub's local cache only.
        pooling: how to make one vector of a text (sentence-similarity); None for what the checkpoint says, else mean.
        normalize: scale sentence embeddings to length 1; None for what the checkpoint says, else yes.
        output_attentions: also return attention probabilities.
        output_hidden_states: also return every layer's states.
        postprocess: also return what the task makes of its scores: probabilities, label ids, answer spans ...
        text_input: also make graphs that take text.
        method: how int8 is made: `static`, `dynamic` or `weights`; None for each precision's own.
        isas: CPUs that int8 files are for, one file each: `avx512_vnni`, `avx2`, `arm64`.
        calibration: a file of texts that int8 ranges are learned from; None for the built-in ones.
        evaluation: a file of held-out texts to judge by, labelled or not; None for the built-in ones.
        budget: what the principal figure must reach, such as 0.999; None for the table's row.
        allow_degraded: publish what is below its budget; the manifest says so.
        random_seed: ignore the checkpoint's weights and draw random ones with this seed.
        allow_new_heads: accept a head that the checkpoint has no weights for.
        strict_weights: refuse tensors that a training loop left behind, rather than leave them out with a note.
        check_each_pass: compare the graph after every pass, and name the one that breaks it; slow.
        force: replace an artifact that is there.
        progress: called with the name of each step as it begins, and the share of the whole that is done, 0 to 1.

    Returns:
        The report: `artifact` with its folder and manifest, `warnings`, `seconds`.

    Raises:
        UsageError: an argument that does not exist or does not fit, before anything expensive starts.
        ArtifactError: something is at `output` already, and `force` is off.
        CheckpointError, ConfigError, TokenizerError, HubError: the model cannot be had, or is damaged.
        ExportError, VerificationError: a graph cannot be made, or is not what the model computes; nothing is published.
        StorageError: the disk refuses.
        RuntimeUnavailableError: a package of `pip install "bert-onnx[export]"` is missing.
    """
    from export.check import check_export
    from export.report import no_progress
    from export.request import ExportRequest, PrecisionRequest

    request = ExportRequest(
        model=os.fspath(model),
        task=task,
        output=None if output is None else os.fspath(output),
        targets=_names(targets),
        opset=opset,
        revision=revision,
        offline=offline,
        pooling=pooling,
        normalize=normalize,
        output_attentions=output_attentions,
        output_hidden_states=output_hidden_states,
        postprocess=postprocess,
        precision=PrecisionRequest(
            precisions=_names(precision),
            method=method,
            isas=_names(isas),
            calibration=None if calibration is None else os.fspath(calibration),
            evaluation=None if evaluation is None else os.fspath(evaluation),
            budget=budget,
            allow_degraded=allow_degraded,
        ),
        text_input=text_input,
        random_seed=random_seed,
        allow_new_heads=allow_new_heads,
        strict_weights=strict_weights,
        force=force,
        check_each_pass=check_each_pass,
    )
    with _export_packages():
        checked = check_export(request)  # before the pipeline, which imports torch
        from export.pipeline import export as run_export

        return run_export(request, progress or no_progress, checked=checked)


def optimize(
    input: str | os.PathLike[str],
    output: str | os.PathLike[str],
    target: str = "portable",
    *,
    heads: int | None = None,
    hidden: int | None = None,
    opset: int | None = None,
) -> OptimizeReport:
    """Rewrite a BERT graph of any exporter for a target: `bert-onnx optimize` for programs.

    Args:
        input: an .onnx file; it and its data file are left as they are.
        output: the .onnx file to write; what is there is replaced at the end, or not at all.
        target: what will run the graph: a row of the target table.
        heads: attention heads, where the graph does not say.
        hidden: hidden size, where the graph does not say.
        opset: ai.onnx opset, 17 to 23; None for the target's own.

    Returns:
        The report: what was recognised, what each pass did, and how far the two graphs are from each other.

    Raises:
        UsageError: an unknown target, or options that do not fit the graph.
        ArtifactError: `input` is missing or is not a graph.
        ExportError: the graph cannot be brought to the opset, or has operators that the target does not allow.
        VerificationError: the new graph does not compute what the old one does; nothing is written.
        StorageError: the disk refuses.
        RuntimeUnavailableError: a package of `pip install "bert-onnx[export]"` is missing.
    """
    from export.check import check_optimize

    source, destination = Path(input), Path(output)
    check_optimize(source, destination, target, heads, hidden, opset)
    with _export_packages():
        from export.external_graph.optimize import optimize as run_optimize

        return run_optimize(source, destination, target, heads=heads, hidden=hidden, opset=opset)


def missing_package(error: Exception) -> BertOnnxError | None:
    """What to say of an import that fails since only a part of bert-onnx's packages was installed."""
    package = (getattr(error, "name", None) or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or package not in EXPORT_PACKAGES:
        return None
    return RuntimeUnavailableError(f'{package} is not installed; install it with pip install "bert-onnx[export]".')


@contextmanager
def _export_packages() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if (known := missing_package(error)) is None:
            raise
        raise known from error


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    """One name, names with commas, or a sequence of names."""
    return tuple(part.strip() for part in given.split(",") if part.strip()) if isinstance(given, str) else tuple(given)
