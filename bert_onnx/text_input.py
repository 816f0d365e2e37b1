"""What a graph takes and returns that takes text: strings in, the model's outputs and the tokens that it made out."""

from __future__ import annotations

from collections.abc import Sequence

from bert_onnx.tasks import BATCH, CHOICES, SEQUENCE, Port, Task

TEXT = "text"
PAIR = "text_pair"

#: Tasks whose rows always have a second text, and those where it may be left out.
PAIRED = ("next-sentence-prediction", "question-answering", "multiple-choice")
MAYBE_PAIRED = ("pretraining", "text-classification", "text-ranking")
#: Of a pair that is too long only the second text is cut, as the pipeline of the task does it.
CUTS_SECOND = ("question-answering",)
#: Tasks that have no such graph, and why.
WITHOUT_TEXT = {
    **dict.fromkeys(("text-generation", "text-generation-with-past"), "feeds its own tokens back"),
    "late-interaction": "puts other markers into queries than into documents",
}

TRUNCATED = "truncated"


def tells_pairs_apart(type_vocab_size: int, inputs: Sequence[Port]) -> bool:
    """Whether a graph with `inputs` can tell the texts of a pair apart.

    It does so by types, of which it needs two; without types as an input, by the tokens between them.
    """
    return type_vocab_size > 1 or all(port.name != "token_type_ids" for port in inputs)


def takes_pairs(task: Task, tells_apart: bool) -> bool:
    """Whether a graph for `task` takes second texts; `tells_apart`: its model can tell those of a pair apart."""
    return task.name in PAIRED or (task.name in MAYBE_PAIRED and tells_apart)


def text_inputs(task: Task, paired: bool) -> tuple[Port, ...]:
    """Inputs of a graph for `task` that takes text: strings, one a row; `text_pair` [B, C] for multiple choice.

    Where the task has pairs at times, `text_pair` has a default, and an empty string means that there is none.
    """
    ports = [Port(TEXT, "string", (BATCH,))]
    if paired:
        ports.append(Port(PAIR, "string", (BATCH, CHOICES) if task.choices else (BATCH,)))
    return tuple(ports)


def token_outputs(task: Task) -> tuple[Port, ...]:
    """What the graph returns after the outputs of the model: the tokens that it read, and whether texts were cut."""
    rows = (BATCH, CHOICES) if task.choices else (BATCH,)
    names = ("input_ids", "attention_mask", "token_type_ids")
    return (*(Port(name, "int64", (*rows, SEQUENCE)) for name in names), Port(TRUNCATED, "int64", rows))


def text_outputs(task: Task, outputs: Sequence[Port]) -> tuple[Port, ...]:
    """All outputs, where the model has `outputs`."""
    return (*outputs, *token_outputs(task))
