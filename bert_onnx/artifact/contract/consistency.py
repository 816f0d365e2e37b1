"""Rules between the fields of a manifest: what each record says must fit what the others say."""

from __future__ import annotations

from bert_onnx.artifact.contract.manifest import Manifest, Variant
from bert_onnx.artifact.contract.names import CARD_NAME, MANIFEST_NAME, check_name
from bert_onnx.artifact.contract.passes import operator_history
from bert_onnx.artifact.contract.quality import Quality, missed
from bert_onnx.artifact.contract.text_graph import TextGraph
from bert_onnx.errors import ArtifactError
from bert_onnx.tasks import TASKS, Port

_DTYPES = ("int64", "float32")
_TEXT_DTYPES = ("string", *_DTYPES)


def check_manifest(manifest: Manifest, where: str) -> None:
    """Check every rule; `where` names the document in messages.

    Raises:
        ArtifactError: naming the field that does not fit.
    """
    if manifest.task not in TASKS:
        raise ArtifactError(f"{where}.task is {manifest.task!r}, which is no task; choose one of {', '.join(TASKS)}.")
    for field, ports in (("inputs", manifest.inputs), ("outputs", manifest.outputs)):
        _check_distinct([port.name for port in ports], f"{where}.{field}")
        _check_ports(ports, _DTYPES, f"{where}.{field}")
    _check_distinct([variant.name for variant in manifest.variants], f"{where}.variants")
    _check_distinct([name.casefold() for name in manifest.files], f"{where}.files")
    for name in manifest.files:
        check_name(name, where)
    if MANIFEST_NAME in manifest.files:
        raise ArtifactError(f"{where}.files lists {MANIFEST_NAME} itself; the artifact is damaged.")
    if CARD_NAME not in manifest.files:
        raise ArtifactError(f"{where}.files lacks {CARD_NAME}; the artifact is damaged.")
    for variant in manifest.variants:
        _check_variant(variant, manifest, where)
    for graph in manifest.text_graphs:
        _check_text_graph(graph, manifest, where)


def _check_variant(variant: Variant, manifest: Manifest, where: str) -> None:
    for name in variant.paths:
        if name not in manifest.files:
            raise ArtifactError(
                f"{where}.files lacks {name!r} of the variant {variant.name!r}; the artifact is damaged."
            )
    if not variant.file.endswith(".onnx"):
        raise ArtifactError(f"{where}: the variant {variant.name!r} names {variant.file!r}, which is no .onnx file.")
    size = sum(manifest.files[name].size for name in variant.paths)
    if size != variant.size_bytes:
        raise ArtifactError(
            f"{where}: the variant {variant.name!r} says {variant.size_bytes} bytes but its files have {size}."
        )
    if sorted(output.name for output in variant.parity.outputs) != sorted(port.name for port in manifest.outputs):
        raise ArtifactError(f"{where}: the parity of the variant {variant.name!r} does not cover exactly the outputs.")
    history = operator_history(variant.passes, variant.operators)
    if any(min(step.before.values(), default=0) < 0 for step in history):
        raise ArtifactError(
            f"{where}: passes of the variant {variant.name!r} took away operators that it did not have."
        )
    if variant.quality is not None:
        _check_quality(variant.quality, f"{where}: the quality of the variant {variant.name!r}")


def _check_text_graph(graph: TextGraph, manifest: Manifest, where: str) -> None:
    what = f"{where}: the text graph {graph.name!r}"
    _check_ports(graph.inputs, _TEXT_DTYPES, f"{what}: inputs")
    _check_ports(graph.outputs, _TEXT_DTYPES, f"{what}: outputs")
    if graph.file not in manifest.files or not graph.file.endswith(".onnx"):
        raise ArtifactError(f"{what} names {graph.file!r}, which is no .onnx file that it lists.")
    if graph.size_bytes != manifest.files[graph.file].size:
        raise ArtifactError(f"{what} says {graph.size_bytes} bytes but has {manifest.files[graph.file].size}.")
    if graph.variant not in [v.name for v in manifest.variants]:
        raise ArtifactError(f"{what} stands before {graph.variant!r}, which is no variant.")
    if graph.data_file != manifest.variant(graph.variant).data_file:
        raise ArtifactError(f"{what} names the data file {graph.data_file!r}, which is not that of its variant.")
    if graph.file in [v.file for v in manifest.variants]:
        raise ArtifactError(f"{what} and a variant name the same file, {graph.file!r}.")
    if graph.conformance.identical > graph.conformance.count:
        raise ArtifactError(f"{what} says that more texts are identical than were compared.")
    if sorted(output.name for output in graph.parity.outputs) != sorted(port.name for port in manifest.outputs):
        raise ArtifactError(f"{what} has a parity that does not cover exactly the outputs of the model.")


def _check_quality(quality: Quality, what: str) -> None:
    """The verdict is what the figures say, and what missed is published on purpose only."""
    if quality.passed == bool(missed(quality.figures, quality.thresholds)):
        raise ArtifactError(f"{what} says passed = {quality.passed}, but its figures do not; the artifact is damaged.")
    if quality.degraded == quality.passed:
        raise ArtifactError(f"{what} is marked degraded = {quality.degraded} with passed = {quality.passed}.")


def _check_ports(ports: tuple[Port, ...], dtypes: tuple[str, ...], where: str) -> None:
    for index, port in enumerate(ports):
        if port.dtype not in dtypes:
            raise ArtifactError(f"{where}[{index}].dtype is {port.dtype!r} but must be one of {', '.join(dtypes)}.")
        if not all(axis if isinstance(axis, str) else axis > 0 for axis in port.axes):
            raise ArtifactError(f"{where}[{index}].axes is {list(port.axes)} but must hold names and lengths above 0.")


def _check_distinct(names: list[str], where: str) -> None:
    if not names:
        raise ArtifactError(f"{where} is empty; the artifact is damaged.")
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ArtifactError(f"{where} has {name!r} twice; the artifact is damaged.")
        seen.add(name)
