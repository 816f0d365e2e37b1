"""Sealing a staging folder: the model card, and a manifest that covers every file."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

from bert_onnx.artifact.card.render import model_card
from bert_onnx.artifact.contract.consistency import check_manifest
from bert_onnx.artifact.contract.hashing import hash_file, hash_files
from bert_onnx.artifact.contract.manifest import FileRecord, Manifest, Variant
from bert_onnx.artifact.contract.names import CARD_NAME, MANIFEST_NAME, check_name
from bert_onnx.artifact.contract.text_graph import TextGraph
from bert_onnx.artifact.publish.storage import storing
from bert_onnx.config import CONFIG_NAME
from bert_onnx.errors import ArtifactError, VerificationError


def seal(staging: Path, manifest: Manifest) -> Manifest:
    """Write README.md and manifest.json of the folder `staging`; returns the manifest with files and sizes filled in.

    Raises:
        VerificationError: a variant's verdict is not `pass`.
        ArtifactError: a file with a name that artifacts do not have, a link, or a variant without its file.
        StorageError: the disk refuses.
    """
    for variant in manifest.variants:
        if not variant.parity.passed:
            raise VerificationError(
                f"the variant {variant.name!r} did not pass its verification; nothing is published."
            )
    for graph in manifest.text_graphs:
        if not graph.passed:
            raise VerificationError(
                f"the text graph {graph.name!r} did not pass its verification; nothing is published."
            )
    with storing(staging):
        for name in (CARD_NAME, MANIFEST_NAME):
            (staging / name).unlink(missing_ok=True)
        names = _file_names(staging)
        measured = hash_files([staging / name for name in names])
        files = {name: measured[staging / name] for name in names}
        variants = tuple(replace(variant, size_bytes=_size(variant, files)) for variant in manifest.variants)
        texts = tuple(replace(graph, size_bytes=_own_size(graph, files)) for graph in manifest.text_graphs)
        manifest = replace(manifest, variants=variants, text_graphs=texts, files=files)
        card = staging / CARD_NAME
        card.write_text(model_card(manifest, _model_type(staging)), "utf-8", errors="backslashreplace", newline="\n")
        manifest = replace(manifest, files={**files, CARD_NAME: hash_file(card)})
        check_manifest(manifest, MANIFEST_NAME)
        (staging / MANIFEST_NAME).write_text(manifest.to_json(), "utf-8", newline="\n")
    return manifest


def _model_type(staging: Path) -> str:
    """The family that config.json names; BERT where it names none."""
    try:
        values = json.loads((staging / CONFIG_NAME).read_bytes())
    except (OSError, ValueError, RecursionError):  # the last where lists are nested deeply
        return "bert"
    return str(values.get("model_type", "bert")) if isinstance(values, dict) else "bert"


def _file_names(staging: Path) -> list[str]:
    """Relative names of all files below `staging`, sorted."""
    names = []
    for base, folders, files in os.walk(staging):
        for entry in (*folders, *files):
            path = Path(base, entry)
            name = check_name(path.relative_to(staging).as_posix(), "the staging folder")
            mode = os.lstat(path).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise ArtifactError(f"{path} is neither a file nor a folder; an artifact holds nothing else.")
            if entry in files:
                names.append(name)
    return sorted(names)


def _own_size(graph: TextGraph, files: dict[str, FileRecord]) -> int:
    if graph.file not in files:
        raise ArtifactError(f"the text graph {graph.name!r} names {graph.file}, which was not written.")
    return files[graph.file].size


def _size(variant: Variant, files: dict[str, FileRecord]) -> int:
    for name in variant.paths:
        if name not in files:
            raise ArtifactError(f"the variant {variant.name!r} names {name}, which was not written.")
    return sum(files[name].size for name in variant.paths)
