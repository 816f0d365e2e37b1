"""The model card, README.md of an artifact."""

from bert_onnx.artifact.card.render import model_card

__all__ = ["model_card"]
