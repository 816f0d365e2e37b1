"""The contract: an artifact folder, its manifest, opening with every check, publishing atomically.

Reading is cheap to import; the names that write are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bert_onnx.artifact.manifest import (
    SCHEMA_VERSION,
    FileRecord,
    Manifest,
    ModelLimits,
    OutputParity,
    Parity,
    PassRecord,
    Variant,
)
from bert_onnx.artifact.names import CARD_NAME, MANIFEST_NAME
from bert_onnx.artifact.opening import Artifact
from bert_onnx.artifact.quality import Quality
from bert_onnx.artifact.quantization import Quantization
from bert_onnx.artifact.text_graph import Conformance, TextGraph

if TYPE_CHECKING:
    from bert_onnx.artifact.card import model_card
    from bert_onnx.artifact.destination import check_destination
    from bert_onnx.artifact.publishing import publish
    from bert_onnx.artifact.sealing import seal
    from bert_onnx.artifact.staging import staging_folder

__all__ = [
    "CARD_NAME",
    "MANIFEST_NAME",
    "SCHEMA_VERSION",
    "Artifact",
    "Conformance",
    "FileRecord",
    "Manifest",
    "ModelLimits",
    "OutputParity",
    "Parity",
    "PassRecord",
    "Quality",
    "Quantization",
    "TextGraph",
    "Variant",
    "check_destination",
    "model_card",
    "publish",
    "seal",
    "staging_folder",
]

_WRITERS = {
    "check_destination": "destination",
    "model_card": "card",
    "publish": "publishing",
    "seal": "sealing",
    "staging_folder": "staging",
}


def __getattr__(name: str) -> Any:
    if name not in _WRITERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_WRITERS[name]}"), name)
