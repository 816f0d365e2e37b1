"""Writing an artifact: staging, sealing, the atomic exchange, locks."""

from bert_onnx.artifact.publish.destination import check_destination
from bert_onnx.artifact.publish.publishing import publish
from bert_onnx.artifact.publish.sealing import seal
from bert_onnx.artifact.publish.staging import staging_folder

__all__ = ["check_destination", "publish", "seal", "staging_folder"]
