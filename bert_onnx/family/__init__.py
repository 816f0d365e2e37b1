"""THE table of families: models that are BERT with small differences, a row a model_type. Loads no torch."""

from bert_onnx.family.near import refusal
from bert_onnx.family.row import AFTER_PADDING, FROM_ZERO, Family, Summary
from bert_onnx.family.table import FAMILIES, canonical_class

__all__ = ["AFTER_PADDING", "FAMILIES", "FROM_ZERO", "Family", "Summary", "canonical_class", "refusal"]
