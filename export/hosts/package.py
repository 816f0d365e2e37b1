"""Makes a package of an artifact for a host: checked, written aside, compared, renamed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

from bert_onnx.artifact import Artifact
from bert_onnx.artifact.publish.staging import staging_folder
from bert_onnx.errors import ArtifactError
from bert_onnx.sentence_modules import SENTENCE
from export.external_graph.read import read_graph
from export.hosts.compare import compare
from export.hosts.host import Embedder, Host, refuse
from export.hosts.spread import spread
from export.hosts.table import find_host
from export.hosts.tokenizer import TOKENIZER_NAME
from export.onnx_file.check import check_file
from export.onnx_file.limits import EXTERNAL_DATA_THRESHOLD
from export.onnx_file.save import save, weight_bytes

#: What every host feeds.
_FED = ("input_ids", "attention_mask", "token_type_ids")
#: Targets whose graphs run on the ONNX Runtime that hosts bring, on its CPU provider.
_TARGETS = ("portable", "ort-cpu", "ort-cpu-unpadded")


@dataclass(frozen=True)
class PackageReport:
    """What was made.

    Args:
        host: its row's name.
        folder: the package.
        variant: the graph that it was made from.
        files: bytes of each file, by name.
        difference: largest, between the host's vectors and the artifact's.
        notes: what a user must know.
    """

    host: str
    folder: Path
    variant: str
    files: dict[str, int]
    difference: float
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON form for programs."""
        return {**vars(self), "folder": str(self.folder), "notes": list(self.notes)}


def package(
    folder: str | os.PathLike[str], host: str, output: str | os.PathLike[str] | None = None, variant: str | None = None
) -> PackageReport:
    """Make what `host` takes of the artifact in `folder`.

    Args:
        host: a name of the table of hosts.
        output: the package's folder, which must not exist; None: NAME.HOST beside the artifact.
        variant: the graph to package; None: the artifact's first.

    Raises:
        UsageError: no such host, or one that cannot carry the model; the message names the rule.
        ArtifactError: the artifact is missing or damaged, has no such variant, or something is at `output`.
        VerificationError: the package would give other vectors; nothing was written.
        StorageError: the disk refuses.
    """
    row = find_host(host)
    artifact = Artifact.open(folder)
    destination = Path(output) if output is not None else _beside(artifact.folder, row)
    if os.path.lexists(destination):
        raise ArtifactError(f"{destination} exists; choose another --output, or remove it.")
    embedder = Embedder(artifact.folder, artifact.manifest, artifact.variant(variant))
    check_host(row, embedder)
    model = read_graph(artifact.path(embedder.variant))
    if weight_bytes(model) > EXTERNAL_DATA_THRESHOLD:
        raise refuse(row.title, "takes one file, which ends at 2 GB", "package a variant in int8 (--variant)")
    with staging_folder(destination) as stage:
        ir.external_data.load_to_model(model)
        spread(model, embedder.width)
        graph = stage / "model.onnx"
        save(model, graph)
        check_file(graph)
        difference = compare(graph, embedder, row)
        notes = row.write(embedder, stage)
        files = {path.name: path.stat().st_size for path in sorted(stage.iterdir())}
        os.rename(stage, destination)
    return PackageReport(row.name, destination, embedder.variant.name, files, difference, notes)


def _beside(artifact: Path, host: Host) -> Path:
    whole = artifact.absolute()
    return whole.with_name(f"{whole.name}.{host.name}")


def check_host(host: Host, embedder: Embedder) -> None:
    """Raise UsageError where `host` cannot carry the model; the message names the rule and a way on."""
    manifest, variant = embedder.manifest, embedder.variant
    if SENTENCE not in {port.name for port in manifest.outputs}:
        raise refuse(
            host.title,
            f"takes one dense vector of a text, and an artifact of {manifest.task} has none",
            "export the checkpoint with --task sentence-similarity",
        )
    more = [port.name for port in manifest.inputs if port.name not in _FED]
    if more:
        raise refuse(
            host.title,
            f"feeds {', '.join(_FED)}, and this graph reads {more[0]}, too, since its pooling leaves out the prompt",
            "let bert-onnx serve run it",
        )
    if variant.target not in _TARGETS:
        raise refuse(
            host.title,
            f"runs ONNX Runtime on the CPU, and {variant.name} is for {variant.target}",
            f"choose a --variant for {', '.join(_TARGETS)}",
        )
    if TOKENIZER_NAME not in manifest.files:
        raise refuse(host.title, f"reads {TOKENIZER_NAME}, which this artifact lacks", "let bert-onnx serve run it")
    host.check(embedder)
