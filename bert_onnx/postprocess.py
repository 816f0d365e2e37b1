"""THE table of in-graph answers: what a graph says beside its scores, so that its user needs no maths.

`--postprocess` appends these outputs behind all others. What computes, writes or checks one of them dispatches on its
method: `bert_onnx.modeling.postprocess` in PyTorch, `export.postprocess` in ONNX, and
`export.verification.postprocess_parity` to compare. This module loads no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bert_onnx.config import BertConfig
from bert_onnx.errors import UsageError

#: The likeliest class of several: its probability by softmax, its index by argmax; of each text, or of each token.
CLASS, TOKEN_CLASS = "class", "token_class"
#: Classes that exclude nobody: probabilities by sigmoid, and 1 where a probability is above one half.
CLASSES = "classes"
#: The likeliest tokens for each place.
TOP_TOKENS = "top_tokens"
#: The span with the largest sum of its start and end scores.
SPAN = "span"
#: The likeliest token after the last one.
NEXT_TOKEN = "next_token"

#: How many tokens are given for each place, as far as the vocabulary has so many.
TOP_COUNT = 5
#: Most tokens of an answer, as in the question-answering pipelines.
LONGEST_ANSWER = 15
#: An id where there is none: at padding, which has no class and no token.
NO_ID = -1
#: The segment that answers lie in: the context is the second text of a pair.
CONTEXT_TYPE = 1


@dataclass(frozen=True)
class AnswerOutput:
    """One output.

    Args:
        name: its name in the graph.
        dtype: `int64` for ids and places, `float32` for probabilities.
        axes: letters: B batch, S sequence, C choices, N num_labels, K the number of likeliest tokens; or a length.
        meaning: what it says, for people.
    """

    name: str
    dtype: str
    axes: tuple[str | int, ...]
    meaning: str


@dataclass(frozen=True)
class Answer:
    """Outputs that belong together.

    Args:
        method: how they are computed.
        scores: the head's outputs that they are computed from.
        outputs: in order.
    """

    method: str
    scores: tuple[str, ...]
    outputs: tuple[AnswerOutput, ...]


def _class(method: str, axes: tuple[str, ...], classes: str | int, of: str, prefix: str = "") -> Answer:
    scores = f"{prefix}_logits" if prefix else "logits"
    prefix = f"{prefix}_" if prefix else ""
    padding = (", 0 at padding", f", {NO_ID} at padding") if "S" in axes else ("", "")
    return Answer(
        method,
        (scores,),
        (
            AnswerOutput(
                f"{prefix}probabilities", "float32", (*axes, classes), f"probability of each {of}{padding[0]}"
            ),
            AnswerOutput(f"{prefix}label_ids", "int64", axes, f"the likeliest {of}, by its number{padding[1]}"),
        ),
    )


_ORDER = "order (0: the second text follows the first, 1: it does not)"

_SEVERAL_CLASSES = Answer(
    CLASSES,
    ("logits",),
    (
        AnswerOutput("probabilities", "float32", ("B", "N"), "probability of each label, by itself"),
        AnswerOutput("label_ids", "int64", ("B", "N"), "1 for each label with a probability above 0.5, else 0"),
    ),
)

_CHOICE = Answer(
    CLASS,
    ("logits",),
    (
        AnswerOutput("probabilities", "float32", ("B", "C"), "probability of each choice"),
        AnswerOutput("choice_ids", "int64", ("B",), "the likeliest choice, by its number"),
    ),
)

_SPAN = Answer(
    SPAN,
    ("start_logits", "end_logits"),
    (
        AnswerOutput("answer_start", "int64", ("B",), "first token of the answer, by its place in the row"),
        AnswerOutput("answer_end", "int64", ("B",), "last token of the answer, by its place in the row"),
        AnswerOutput("answer_score", "float32", ("B",), "probability of the answer; 0 where there is no context"),
        AnswerOutput("no_answer_score", "float32", ("B",), "probability that the context holds no answer"),
    ),
)

_NEXT_TOKEN = Answer(
    NEXT_TOKEN,
    ("logits",),
    (AnswerOutput("next_token_ids", "int64", ("B",), "the likeliest token after the last one that the mask admits"),),
)


def _top_tokens(scores: str) -> Answer:
    axes = ("B", "S", "K")
    return Answer(
        TOP_TOKENS,
        (scores,),
        (
            AnswerOutput(
                "top_ids", "int64", axes, f"the likeliest tokens for each place, best first; {NO_ID} at padding"
            ),
            AnswerOutput("top_probabilities", "float32", axes, "their probabilities; 0 at padding"),
        ),
    )


#: By task; text-classification, whose kind the config decides, is in `answers_of`.
_ANSWERS: dict[str, tuple[Answer, ...]] = {
    "fill-mask": (_top_tokens("logits"),),
    "next-sentence-prediction": (_class(CLASS, ("B",), 2, _ORDER),),
    "pretraining": (_top_tokens("prediction_logits"), _class(CLASS, ("B",), 2, _ORDER, "seq_relationship")),
    "text-classification": (_class(CLASS, ("B",), "N", "label"),),
    "token-classification": (_class(TOKEN_CLASS, ("B", "S"), "N", "label"),),
    "question-answering": (_SPAN,),
    "multiple-choice": (_CHOICE,),
    "text-generation": (_NEXT_TOKEN,),
    "text-generation-with-past": (_NEXT_TOKEN,),
}

#: Why a task has none.
_EMBEDDED = "pooling and normalisation, as far as they are wanted, are in its graph already; leave --postprocess out"


def answers_of(task: str, config: BertConfig) -> tuple[Answer, ...]:
    """What a graph of `task` can answer.

    Raises:
        UsageError: it has nothing to add to its outputs, or lacks what the answer needs.
    """
    if task not in _ANSWERS:
        raise UsageError(f"{task} has vectors for answers: {_EMBEDDED}.")
    if task == "text-classification":
        if config.problem_type == "regression":
            raise UsageError(
                "this model predicts numbers (its problem_type is regression), and logits are those numbers already; "
                "leave --postprocess out."
            )
        if config.problem_type == "multi_label_classification" or config.num_labels == 1:
            return (_SEVERAL_CLASSES,)
    if task == "question-answering" and config.type_vocab_size <= CONTEXT_TYPE:
        raise UsageError(
            "this model has one segment (its type_vocab_size is 1), so that its graph cannot tell the context from the "
            "question; leave --postprocess out."
        )
    return _ANSWERS[task]


def top_count(config: BertConfig) -> int:
    """How many tokens are given for each place."""
    return min(TOP_COUNT, config.vocab_size)


def output_meanings(task: str, ranks: Mapping[str, int]) -> dict[str, str]:
    """What the answers of `task` mean, by name, among outputs with so many axes each; nothing where it has none."""
    rows = [_ANSWERS.get(task, ())] + ([(_SEVERAL_CLASSES,)] if task == "text-classification" else [])
    return {
        output.name: output.meaning
        for row in rows
        for answer in row
        for output in answer.outputs
        if all(ranks.get(one.name) == len(one.axes) for one in answer.outputs)
    }


def all_answer_names() -> frozenset[str]:
    """Names of the outputs of every task's answers."""
    rows = (*_ANSWERS.values(), (_SEVERAL_CLASSES,))
    return frozenset(output.name for row in rows for answer in row for output in answer.outputs)
