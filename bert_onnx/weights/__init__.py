"""Checkpoints: finding them, reading safetensors into a model, writing them. Importing this loads no torch."""

from bert_onnx.source import Source
from bert_onnx.weights.companions import Pooling, companion_files, read_pooling
from bert_onnx.weights.convert import convert_weights
from bert_onnx.weights.finding import Checkpoint, find_checkpoint
from bert_onnx.weights.loading import LoadReport, load_weights
from bert_onnx.weights.reading import TensorInfo, tensor_names
from bert_onnx.weights.saving import save_weights

__all__ = [
    "Checkpoint",
    "LoadReport",
    "Pooling",
    "Source",
    "TensorInfo",
    "companion_files",
    "convert_weights",
    "find_checkpoint",
    "load_weights",
    "read_pooling",
    "save_weights",
    "tensor_names",
]
