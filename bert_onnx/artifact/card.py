"""The model card: README.md of an artifact, written from its manifest."""

from __future__ import annotations

from bert_onnx.artifact.manifest import Manifest


def model_card(manifest: Manifest) -> str:
    """README.md for `manifest`."""
    return f"# {manifest.source.model}\n"
