"""From a checkpoint to the eager model of a task: the reference that everything is measured against."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

import bert_onnx
from bert_onnx.checkpoint import Checkpoint, Pooling, load_weights, read_pooling, tensor_names
from bert_onnx.config import BertConfig
from bert_onnx.errors import CheckpointError
from bert_onnx.modeling.initialisation import NoRandomNumbers, initialise_named
from bert_onnx.modeling.pretrained import BertPreTrainedModel
from bert_onnx.postprocess import postprocess_of
from bert_onnx.tasks import POOLINGS, Task, TaskOptions, find_task, infer_task, input_ports, output_ports
from export.reference.module import GraphModule

if TYPE_CHECKING:
    from export.request import ExportRequest

_POOLER = "pooler.dense.weight"


@dataclass(frozen=True)
class Eager:
    """A checkpoint as a function of tensors.

    Args:
        module: the eager model of the task, in evaluation mode, in float32.
        config: its config, as the artifact publishes it.
        task, options: what it computes.
        warnings: what the user should know about its weights.
    """

    module: GraphModule
    config: BertConfig
    task: Task
    options: TaskOptions
    warnings: tuple[str, ...]


def choose_task(request: ExportRequest, checkpoint: Checkpoint) -> tuple[Task, TaskOptions]:
    """The task and its options: what was asked for, else what the checkpoint says, else mean and normalised.

    Raises:
        UsageError: `auto` cannot tell, or the task has no postprocess outputs and they were asked for.
        CheckpointError: the checkpoint's pooling is damaged, or one that we do not compute.
    """
    from export.request import AUTO

    stated = _stated_pooling(request, checkpoint) if request.task in (AUTO, "sentence-similarity") else None
    pooled = stated is not None or request.pooling is not None
    task = infer_task(checkpoint.config, pooled) if request.task == AUTO else find_task(request.task)
    pooling = request.pooling or (stated.mode if stated else POOLINGS[0])
    if request.postprocess:
        postprocess_of(task.name, checkpoint.config)
    normalize = request.normalize if request.normalize is not None else (stated.normalize if stated else True)
    return task, TaskOptions(
        pooling=pooling,
        normalize=normalize,
        pooler=task.name == "feature-extraction" and _has_pooler(checkpoint),
        output_attentions=request.output_attentions,
        output_hidden_states=request.output_hidden_states,
        postprocess=request.postprocess,
    )


def load_eager(checkpoint: Checkpoint, task: Task, options: TaskOptions, *, allow_new_heads: bool = False) -> Eager:
    """The eager model of `task` with the weights of `checkpoint`, or with random ones where the source says so.

    Raises:
        CheckpointError: weights that are missing, unexpected, misshapen or damaged.
        ConfigError: a config that the task cannot use.
    """
    model_class = getattr(bert_onnx, task.model_class)
    config = checkpoint.config.replace(
        architectures=(task.model_class,),
        is_decoder=task.decoder or checkpoint.config.is_decoder,
        attn_implementation="eager",
        dtype="float32",
        output_attentions=False,
        output_hidden_states=False,
        return_dict=True,
    )
    build = partial(model_class, add_pooling_layer=options.pooler) if task.model_class == "BertModel" else model_class
    warnings: tuple[str, ...] = ()
    if checkpoint.source.kind == "random":
        torch.manual_seed(checkpoint.source.seed or 0)
        model: BertPreTrainedModel = build(config)
        warnings = (f"the weights are random (seed {checkpoint.source.seed}); the answers mean nothing.",)
    else:
        with NoRandomNumbers():  # the weights come from the checkpoint
            model = build(config)
        report = load_weights(model, checkpoint, allow_new_heads=allow_new_heads)
        torch.manual_seed(0)
        initialise_named(model, report.newly_initialised, config.initializer_range)
        warnings = report.messages()
    if task.decoder and not checkpoint.config.is_decoder:
        warnings += ("the config is not a decoder's; it was exported with is_decoder = true, which masks the future.",)
    inputs, outputs = input_ports(task, config), output_ports(task, config, options)
    module = GraphModule(model.eval(), task, options, inputs, outputs).eval()
    return Eager(module, config, task, options, warnings)


def _stated_pooling(request: ExportRequest, checkpoint: Checkpoint) -> Pooling | None:
    """What the checkpoint says of its pooling; a pooling that we do not compute matters only if it is to be used."""
    try:
        return read_pooling(checkpoint)
    except CheckpointError:
        if request.pooling is None:
            raise
        return None


def _has_pooler(checkpoint: Checkpoint) -> bool:
    """Whether the checkpoint has a trained pooler; a random model always has one."""
    if checkpoint.source.kind == "random":
        return True
    return any(name == _POOLER or name.endswith(f".{_POOLER}") for name in tensor_names(checkpoint))
