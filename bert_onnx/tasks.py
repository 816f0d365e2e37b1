"""THE table of tasks: which model class serves a task, what its graph takes and what it returns.

Everything that names an input, an output or a dynamic axis reads it here: the exporter, the verifier, the
manifest, the runtimes and the pipelines. This module loads no torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from bert_onnx.config import BertConfig
from bert_onnx.errors import UsageError
from bert_onnx.family import canonical_class
from bert_onnx.postprocess import postprocess_of, top_count
from bert_onnx.sentence_modules import (
    SCORE_ACTIVATIONS,
    SENTENCE,
    SPARSE,
    TOKENS,
    Module,
    embedding_width,
    excludes_prompt,
    pooled,
)

#: An array of whichever library, or what describes one.
Array = TypeVar("Array")

# Names of dynamic axes. PAST_PLUS_SEQUENCE is their sum; a runtime checks it against both.
BATCH = "batch_size"
SEQUENCE = "sequence_length"
CHOICES = "num_choices"
PAST = "past_sequence_length"
PAST_PLUS_SEQUENCE = "past_sequence_length + sequence_length"
ENCODER_SEQUENCE = "encoder_sequence_length"

#: Key of a graph's metadata that says what its inputs must keep to beside their ports, and what it may say:
#: padding stands after the text in every row.
REQUIRES = "bert_onnx.requires"
RIGHT_PADDING = "right_padding"

#: Number of tokens of the prompt that stands before each text, the special one at its beginning included.
PROMPT_LENGTH = "prompt_length"
#: Inputs that a caller need not give, and what they are then.
INPUT_DEFAULTS = {PROMPT_LENGTH: 0}

#: What --pooling takes: a mode, or no sentence_embedding at all.
POOLINGS = ("mean", "cls", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken", "none")


@dataclass(frozen=True)
class Port:
    """One input or output of a graph.

    Args:
        name: its name in the graph.
        dtype: numpy name of its element type (`int64`, `float32`).
        axes: one entry an axis, a name where the length is free, a number where it is fixed.
    """

    name: str
    dtype: str
    axes: tuple[str | int, ...]

    def shape(self, lengths: Mapping[str, int]) -> tuple[int, ...]:
        """Its shape where the named axes have `lengths`.

        Raises:
            KeyError: `lengths` lacks an axis.
        """
        return tuple(axis_length(axis, lengths) for axis in self.axes)

    def to_dict(self) -> dict[str, Any]:
        """JSON form, as the manifest keeps it."""
        return {"name": self.name, "dtype": self.dtype, "axes": list(self.axes)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Port:
        """Inverse of `to_dict`."""
        return cls(str(values["name"]), str(values["dtype"]), tuple(values["axes"]))


@dataclass(frozen=True)
class TaskOptions:
    """What a user may choose about the outputs of a graph.

    Args:
        modules: how the tasks of embeddings make vectors; with none sentence-similarity has no sentence_embedding.
        pooler: feature-extraction also returns `pooler_output`; true where the checkpoint has a trained pooler.
        output_attentions: also return the attention probabilities of every layer.
        output_hidden_states: also return the hidden states before the first and after every layer.
        postprocess: also return outputs made of the scores: see `bert_onnx.postprocess`.
        activation_fn: what makes scores of the logits of text-ranking, one of SCORE_ACTIVATIONS; None for other tasks.

    Raises:
        UsageError: an activation that there is not.
    """

    modules: tuple[Module, ...] = pooled("mean")
    pooler: bool = False
    output_attentions: bool = False
    output_hidden_states: bool = False
    postprocess: bool = False
    activation_fn: str | None = None

    def __post_init__(self) -> None:
        if self.activation_fn not in (None, *SCORE_ACTIVATIONS):
            raise UsageError(f"the activation {self.activation_fn!r} is not one of {', '.join(SCORE_ACTIVATIONS)}.")


@dataclass(frozen=True)
class Task:
    """One row of the table.

    Args:
        name: what a user types, a name that the model hubs know.
        model_class: the class of `bert_onnx.modeling` that computes it.
        outputs: names of the head's own outputs and their axes; letters stand for sizes of the config
            (D hidden_size, V vocab_size, N num_labels, E what the modules of a chain leave).
        decoder: needs `is_decoder`.
        cached: takes and returns keys and values of earlier tokens.
        choices: inputs are [B, C, S] rather than [B, S].
        reads: what its modules read of the model, where it has modules.
        typed: takes token_type_ids of models that have several types. Those of late interaction read one text, whose
            tokens are of type 0: clients insert a marker into the ids and the mask alone.
    """

    name: str
    model_class: str
    outputs: tuple[tuple[str, tuple[str | int, ...]], ...]
    decoder: bool = False
    cached: bool = False
    choices: bool = False
    reads: str = "last_hidden_state"
    typed: bool = True

    @property
    def embedding(self) -> str | None:
        """The output that modules make; None for tasks without modules."""
        return next((name for name, _ in self.outputs if name in (SENTENCE, SPARSE, TOKENS)), None)


_LAST_HIDDEN_STATE = ("last_hidden_state", (BATCH, SEQUENCE, "D"))
_SENTENCE_EMBEDDING = (SENTENCE, (BATCH, "E"))
_POOLER_OUTPUT = ("pooler_output", (BATCH, "D"))
_TOKEN_LOGITS = ("logits", (BATCH, SEQUENCE, "V"))

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("feature-extraction", "BertModel", (_LAST_HIDDEN_STATE, _POOLER_OUTPUT)),
        Task("sentence-similarity", "BertModel", (_LAST_HIDDEN_STATE, _SENTENCE_EMBEDDING)),
        Task("sparse-embedding", "BertForMaskedLM", (_TOKEN_LOGITS, (SPARSE, (BATCH, "E"))), reads="logits"),
        Task("late-interaction", "BertModel", ((TOKENS, (BATCH, SEQUENCE, "E")),), typed=False),
        Task("fill-mask", "BertForMaskedLM", (_TOKEN_LOGITS,)),
        Task("next-sentence-prediction", "BertForNextSentencePrediction", (("logits", (BATCH, 2)),)),
        Task(
            "pretraining",
            "BertForPreTraining",
            (("prediction_logits", (BATCH, SEQUENCE, "V")), ("seq_relationship_logits", (BATCH, 2))),
        ),
        Task("text-classification", "BertForSequenceClassification", (("logits", (BATCH, "N")),)),
        Task("text-ranking", "BertForSequenceClassification", (("logits", (BATCH, "N")),)),
        Task("token-classification", "BertForTokenClassification", (("logits", (BATCH, SEQUENCE, "N")),)),
        Task(
            "question-answering",
            "BertForQuestionAnswering",
            (("start_logits", (BATCH, SEQUENCE)), ("end_logits", (BATCH, SEQUENCE))),
        ),
        Task("multiple-choice", "BertForMultipleChoice", (("logits", (BATCH, CHOICES)),), choices=True),
        Task("text-generation", "BertLMHeadModel", (_TOKEN_LOGITS,), decoder=True),
        Task("text-generation-with-past", "BertLMHeadModel", (_TOKEN_LOGITS,), decoder=True, cached=True),
    )
}

#: What `--task auto` makes of `config.json: architectures`.
TASK_OF_ARCHITECTURE: dict[str, str] = {
    "BertModel": "feature-extraction",
    "BertForPreTraining": "pretraining",
    "BertLMHeadModel": "text-generation-with-past",
    "BertForMaskedLM": "fill-mask",
    "BertForNextSentencePrediction": "next-sentence-prediction",
    "BertForSequenceClassification": "text-classification",
    "BertForMultipleChoice": "multiple-choice",
    "BertForTokenClassification": "token-classification",
    "BertForQuestionAnswering": "question-answering",
}


#: Names that transformers and optimum have for a task beside the one here.
OTHER_NAMES: dict[str, str] = {
    "ner": "token-classification",
    "sentiment-analysis": "text-classification",
    "zero-shot-classification": "text-classification",
}


def find_task(name: str) -> Task:
    """The row for `name`, or for what OTHER_NAMES makes of it.

    Raises:
        UsageError: there is no such task; the message lists those that there are.
    """
    name = OTHER_NAMES.get(name, name)
    if name not in TASKS:
        raise UsageError(f"task {name!r} is unknown; choose auto or one of {', '.join(TASKS)}.")
    return TASKS[name]


def infer_task(config: BertConfig, pooled: bool = False) -> Task:
    """The task of a checkpoint, from its architectures; `pooled` says that it comes with a pooling config.

    Raises:
        UsageError: the config names no architecture, or one that has no task.
    """
    for architecture in map(canonical_class, config.architectures):
        if architecture in TASK_OF_ARCHITECTURE:
            task = TASKS[TASK_OF_ARCHITECTURE[architecture]]
            return TASKS["sentence-similarity"] if pooled and task.name == "feature-extraction" else task
    named = ", ".join(config.architectures) or "no architecture"
    raise UsageError(
        f"the config names {named}, from which no task follows; say --task, one of {', '.join(tasks_of(config))}."
    )


def tasks_of(config: BertConfig) -> tuple[str, ...]:
    """Names of the tasks that the family of `config` has a class for."""
    return tuple(name for name, task in TASKS.items() if task.model_class in config.family.classes)


def check_family(task: Task, config: BertConfig) -> None:
    """Raises UsageError where the family of `config` has no class for `task`."""
    if task.model_class not in config.family.classes:
        raise UsageError(
            f"{config.model_type} has no model for {task.name}; its tasks are {', '.join(tasks_of(config))}."
        )


def input_ports(task: Task, config: BertConfig, options: TaskOptions = TaskOptions()) -> tuple[Port, ...]:
    """Inputs of the graph of `task`, in order.

    Ids, mask, types where the model has several, then a prompt's length, encoder states, the cache.
    """
    axes: tuple[str | int, ...] = (BATCH, CHOICES, SEQUENCE) if task.choices else (BATCH, SEQUENCE)
    mask_axes = (BATCH, PAST_PLUS_SEQUENCE) if task.cached else axes
    ports = [Port("input_ids", "int64", axes), Port("attention_mask", "int64", mask_axes)]
    if task.typed and config.takes_token_types:
        ports.append(Port("token_type_ids", "int64", axes))
    if task.embedding and excludes_prompt(options.modules):
        ports.append(Port(PROMPT_LENGTH, "int64", (1,)))
    if task.decoder and config.add_cross_attention:
        ports.append(Port("encoder_hidden_states", "float32", (BATCH, ENCODER_SEQUENCE, config.hidden_size)))
        ports.append(Port("encoder_attention_mask", "int64", (BATCH, ENCODER_SEQUENCE)))
    if task.cached:
        ports.extend(_cache_ports("past_key_values", PAST, config))
    return tuple(ports)


def output_ports(task: Task, config: BertConfig, options: TaskOptions) -> tuple[Port, ...]:
    """Outputs of the graph of `task`, in order: the head's own, the cache, states, attentions, postprocess outputs.

    Raises:
        UsageError: postprocess outputs are wanted and there are none; modules that do not fit together.
    """
    sizes = {"D": config.hidden_size, "V": config.vocab_size, "N": config.num_labels}
    if task.embedding and options.modules:
        token_width = config.vocab_size if task.reads == "logits" else config.hidden_size
        sizes["E"] = embedding_width(options.modules, token_width)
    hidden = {"pooler_output": not options.pooler, SENTENCE: not options.modules}
    ports = [
        Port(name, "float32", tuple(sizes.get(axis, axis) if isinstance(axis, str) else axis for axis in axes))
        for name, axes in task.outputs
        if not hidden.get(name, False)
    ]
    if task.cached:
        ports.extend(_cache_ports("present", PAST_PLUS_SEQUENCE, config))
    batch = f"{BATCH} * {CHOICES}" if task.choices else BATCH
    if options.output_hidden_states:
        state_axes = (batch, SEQUENCE, config.hidden_size)
        ports.extend(Port(f"hidden_states.{i}", "float32", state_axes) for i in range(config.num_hidden_layers + 1))
    if options.output_attentions:
        keys = PAST_PLUS_SEQUENCE if task.cached else SEQUENCE
        ports.extend(_attention_ports("attentions", batch, keys, config))
        if task.decoder and config.add_cross_attention:
            ports.extend(_attention_ports("cross_attentions", batch, ENCODER_SEQUENCE, config))
    if options.postprocess:
        ports.extend(_postprocess_ports(task, config, options))
    return tuple(ports)


def _postprocess_ports(task: Task, config: BertConfig, options: TaskOptions) -> list[Port]:
    """The outputs of `bert_onnx.postprocess`, with its letters made names and lengths."""
    axes: dict[str | int, str | int] = {"B": BATCH, "S": SEQUENCE, "C": CHOICES}
    axes |= {"N": config.num_labels, "K": top_count(config)}
    return [
        Port(output.name, output.dtype, tuple(axes.get(axis, axis) for axis in output.axes))
        for step in postprocess_of(task.name, config, options.activation_fn)
        for output in step.outputs
    ]


def _cache_ports(prefix: str, length: str, config: BertConfig) -> list[Port]:
    """`prefix`.{layer}.key|value, each [B, H, length, K]."""
    return [
        Port(f"{prefix}.{layer}.{part}", "float32", (BATCH, config.heads_in_layer(layer), length, config.head_size))
        for layer in range(config.num_hidden_layers)
        for part in ("key", "value")
    ]


def _attention_ports(prefix: str, batch: str, keys: str, config: BertConfig) -> list[Port]:
    """`prefix`.{layer}, each [B, H, S, keys]."""
    return [
        Port(f"{prefix}.{index}", "float32", (batch, config.heads_in_layer(layer), SEQUENCE, keys))
        for index, layer in enumerate(config.layer_order)
    ]


def arrays_for(
    ports: Iterable[Port], lengths: Mapping[str, int], make: Callable[[Port, tuple[int, ...]], Array]
) -> dict[str, Array]:
    """What `make` gives for each of `ports` and its shape, by name: every array that a graph takes is made here.

    Args:
        lengths: of the named axes.

    Raises:
        KeyError: `lengths` lacks an axis.
    """
    return {port.name: make(port, port.shape(lengths)) for port in ports}


_AXIS_TERMS = re.compile(r"\s*([+*])\s*")


def axis_length(axis: str | int, lengths: Mapping[str, int]) -> int:
    """The length of `axis` where the named axes have `lengths`; sums and products of names are worked out.

    Raises:
        KeyError: `lengths` lacks a name.
    """
    if isinstance(axis, int):
        return axis
    first, *rest = _AXIS_TERMS.split(axis)
    total = lengths[first]
    for operator, name in zip(rest[::2], rest[1::2], strict=True):
        total = total + lengths[name] if operator == "+" else total * lengths[name]
    return total
