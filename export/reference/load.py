"""From a checkpoint to the eager model of a task: the reference that everything is measured against."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch

from bert_onnx.checkpoint import Checkpoint, load_weights
from bert_onnx.checkpoint.sentence_weights import elsewhere, load_module_weights
from bert_onnx.config import BertConfig
from bert_onnx.modeling.classes import model_class
from bert_onnx.modeling.embeddings import BertEmbeddings
from bert_onnx.modeling.initialisation import NoRandomNumbers, initialise_named
from bert_onnx.modeling.pretrained import BertPreTrainedModel
from bert_onnx.modeling.sentence_chain import SentenceChain
from bert_onnx.tasks import Task, TaskOptions, input_ports, output_ports
from export.reference.module import GraphModule


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


def load_eager(
    checkpoint: Checkpoint,
    task: Task,
    options: TaskOptions,
    *,
    allow_new_heads: bool = False,
    strict_weights: bool = False,
) -> Eager:
    """The eager model of `task` with the weights of `checkpoint`, or with random ones where the source says so.

    Raises:
        CheckpointError: weights that are missing, unexpected, misshapen or damaged.
        ConfigError: a config that the task cannot use.
    """
    built_class = model_class(task.model_class)
    config = checkpoint.config.replace(
        architectures=(checkpoint.config.family.classes[task.model_class],),
        is_decoder=task.decoder or checkpoint.config.is_decoder,
        attn_implementation="eager",
        dtype="float32",
        output_attentions=False,
        output_hidden_states=False,
        return_dict=True,
    )
    build = partial(built_class, add_pooling_layer=options.pooler) if task.model_class == "BertModel" else built_class
    warnings: tuple[str, ...] = ()
    if checkpoint.source.kind == "random":
        torch.manual_seed(checkpoint.source.seed or 0)
        model: BertPreTrainedModel = build(config)
        warnings = (f"the weights are random (seed {checkpoint.source.seed}); the outputs mean nothing.",)
    else:
        with NoRandomNumbers():  # the weights come from the checkpoint
            model = build(config)
        report = load_weights(
            model,
            checkpoint,
            allow_new_heads=allow_new_heads,
            strict=strict_weights,
            elsewhere=elsewhere(options.modules),
            mapped=True,  # of the second process, too
        )
        torch.manual_seed(0)
        initialise_named(model, report.newly_initialised, config.initializer_range)
        warnings = report.messages()
    if task.decoder and not checkpoint.config.is_decoder:
        warnings += ("the config is not a decoder's; it was exported with is_decoder = true, which masks the future.",)
    for part in model.modules():
        if isinstance(part, BertEmbeddings) and not task.typed:
            part.one_type = True  # its graph has no token_type_ids: type 0 is a part of the positions
    inputs, outputs = input_ports(task, config, options), output_ports(task, config, options)
    chain = _load_chain(checkpoint, options)
    module = GraphModule(model.eval(), task, options, inputs, outputs, chain).eval()
    return Eager(module, config, task, options, warnings)


def _load_chain(checkpoint: Checkpoint, options: TaskOptions) -> SentenceChain:
    """The modules behind the transformer, with their weights, or with random ones where the source says so."""
    if checkpoint.source.kind == "random":
        return SentenceChain(options.modules)
    with NoRandomNumbers():
        chain = SentenceChain(options.modules)
    load_module_weights(chain, checkpoint)
    return chain
