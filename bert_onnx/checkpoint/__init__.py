"""Checkpoints: finding them, reading safetensors into a model, writing them. Importing this loads no torch."""

from bert_onnx.checkpoint.checkpoint import Checkpoint
from bert_onnx.checkpoint.companions import companion_files
from bert_onnx.checkpoint.convert import convert_checkpoint, convert_weights
from bert_onnx.checkpoint.finding import find_checkpoint
from bert_onnx.checkpoint.loading import LoadReport, load_weights
from bert_onnx.checkpoint.reading import TensorInfo, tensor_names
from bert_onnx.checkpoint.saving import save_weights
from bert_onnx.checkpoint.sentence_config import read_modules
from bert_onnx.checkpoint.sentence_settings import read_settings
from bert_onnx.source import Source

__all__ = [
    "Checkpoint",
    "LoadReport",
    "Source",
    "TensorInfo",
    "companion_files",
    "convert_checkpoint",
    "convert_weights",
    "find_checkpoint",
    "load_weights",
    "read_modules",
    "read_settings",
    "save_weights",
    "tensor_names",
]
