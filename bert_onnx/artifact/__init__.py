"""The contract: an artifact folder, its manifest, opening with every check, publishing atomically.

Here is what readers need, cheap to import; `publish` writes artifacts and `card` their model cards.
"""

from __future__ import annotations

from bert_onnx.artifact.contract.manifest import (
    SCHEMA_VERSION,
    FileRecord,
    Manifest,
    ModelLimits,
    Variant,
)
from bert_onnx.artifact.contract.names import CARD_NAME, MANIFEST_NAME
from bert_onnx.artifact.contract.opening import Artifact
from bert_onnx.artifact.contract.parity import OutputParity, Parity
from bert_onnx.artifact.contract.passes import PassRecord, Step, operator_history
from bert_onnx.artifact.contract.quality import Quality
from bert_onnx.artifact.contract.quantization import Quantization
from bert_onnx.artifact.contract.text_graph import Conformance, TextGraph

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
    "Step",
    "TextGraph",
    "Variant",
    "operator_history",
]
