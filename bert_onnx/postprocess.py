"""THE table of postprocessing: what a graph returns beside its scores, so that its user needs no maths.

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


def score_method(activation_fn: str) -> str:
    """Scores that an activation, one of SCORE_ACTIVATIONS, makes of logits."""
    return f"score: {activation_fn}"


#: How many tokens are given for each place, as far as the vocabulary has so many.
TOP_COUNT = 5
#: Most tokens of an answer span, as in the question-answering pipelines.
LONGEST_ANSWER = 15
#: An id where there is none: at padding, which has no class and no token.
NO_ID = -1
#: The segment that answer spans lie in: the context is the second text of a pair.
CONTEXT_TYPE = 1


@dataclass(frozen=True)
class PostprocessOutput:
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
class PostprocessStep:
    """Outputs that belong together.

    Args:
        method: how they are computed.
        scores: the head's outputs that they are computed from.
        outputs: in order.
    """

    method: str
    scores: tuple[str, ...]
    outputs: tuple[PostprocessOutput, ...]


def _class(method: str, axes: tuple[str, ...], classes: str | int, of: str, prefix: str = "") -> PostprocessStep:
    scores = f"{prefix}_logits" if prefix else "logits"
    prefix = f"{prefix}_" if prefix else ""
    padding = (", 0 at padding", f", {NO_ID} at padding") if "S" in axes else ("", "")
    return PostprocessStep(
        method,
        (scores,),
        (
            PostprocessOutput(
                f"{prefix}probabilities", "float32", (*axes, classes), f"probability of each {of}{padding[0]}"
            ),
            PostprocessOutput(f"{prefix}label_ids", "int64", axes, f"the likeliest {of}, by its number{padding[1]}"),
        ),
    )


_ORDER = "order (0: the second text follows the first, 1: it does not)"

_SEVERAL_CLASSES = PostprocessStep(
    CLASSES,
    ("logits",),
    (
        PostprocessOutput("probabilities", "float32", ("B", "N"), "probability of each label, by itself"),
        PostprocessOutput("label_ids", "int64", ("B", "N"), "1 for each label with a probability above 0.5, else 0"),
    ),
)

_CHOICE = PostprocessStep(
    CLASS,
    ("logits",),
    (
        PostprocessOutput("probabilities", "float32", ("B", "C"), "probability of each choice"),
        PostprocessOutput("choice_ids", "int64", ("B",), "the likeliest choice, by its number"),
    ),
)

_SPAN = PostprocessStep(
    SPAN,
    ("start_logits", "end_logits"),
    (
        PostprocessOutput("answer_start", "int64", ("B",), "first token of the answer, by its place in the row"),
        PostprocessOutput("answer_end", "int64", ("B",), "last token of the answer, by its place in the row"),
        PostprocessOutput("answer_score", "float32", ("B",), "probability of the answer; 0 where there is no context"),
        PostprocessOutput("no_answer_score", "float32", ("B",), "probability that the context holds no answer"),
    ),
)

_NEXT_TOKEN = PostprocessStep(
    NEXT_TOKEN,
    ("logits",),
    (
        PostprocessOutput(
            "next_token_ids", "int64", ("B",), "the likeliest token after the last one that the mask admits"
        ),
    ),
)


def _top_tokens(scores: str) -> PostprocessStep:
    axes = ("B", "S", "K")
    return PostprocessStep(
        TOP_TOKENS,
        (scores,),
        (
            PostprocessOutput(
                "top_ids", "int64", axes, f"the likeliest tokens for each place, best first; {NO_ID} at padding"
            ),
            PostprocessOutput("top_probabilities", "float32", axes, "their probabilities; 0 at padding"),
        ),
    )


def _score(activation_fn: str) -> PostprocessStep:
    meaning = "what the model's own activation makes of each logit"
    return PostprocessStep(
        score_method(activation_fn), ("logits",), (PostprocessOutput("scores", "float32", ("B", "N"), meaning),)
    )


#: By task; text-classification and text-ranking, where more than the task decides, are in `postprocess_of`.
_STEPS: dict[str, tuple[PostprocessStep, ...]] = {
    "fill-mask": (_top_tokens("logits"),),
    "next-sentence-prediction": (_class(CLASS, ("B",), 2, _ORDER),),
    "pretraining": (_top_tokens("prediction_logits"), _class(CLASS, ("B",), 2, _ORDER, "seq_relationship")),
    "text-classification": (_class(CLASS, ("B",), "N", "label"),),
    "text-ranking": (_score("Identity"),),
    "token-classification": (_class(TOKEN_CLASS, ("B", "S"), "N", "label"),),
    "question-answering": (_SPAN,),
    "multiple-choice": (_CHOICE,),
    "text-generation": (_NEXT_TOKEN,),
    "text-generation-with-past": (_NEXT_TOKEN,),
}

#: Why a task has none.
_EMBEDDED = "pooling and normalisation, as far as they are wanted, are in its graph already; leave --postprocess out"


def postprocess_of(task: str, config: BertConfig, activation_fn: str | None = None) -> tuple[PostprocessStep, ...]:
    """What can be appended to a graph of `task`.

    Args:
        activation_fn: what makes scores of the logits of text-ranking.

    Raises:
        UsageError: it has nothing to add to its outputs, or lacks what the outputs need.
    """
    if task == "text-ranking" and activation_fn is not None:
        return (_score(activation_fn),)
    if task not in _STEPS:
        raise UsageError(f"{task} returns vectors: {_EMBEDDED}.")
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
    return _STEPS[task]


def top_count(config: BertConfig) -> int:
    """How many tokens are given for each place."""
    return min(TOP_COUNT, config.vocab_size)


def output_meanings(task: str, ranks: Mapping[str, int]) -> dict[str, str]:
    """What the postprocess outputs of `task` mean, by name.

    Args:
        ranks: how many axes each output of the graph has; others than those of the table are not the table's outputs.
    """
    rows = [_STEPS.get(task, ())] + ([(_SEVERAL_CLASSES,)] if task == "text-classification" else [])
    return {
        output.name: output.meaning
        for row in rows
        for step in row
        for output in step.outputs
        if all(ranks.get(one.name) == len(one.axes) for one in step.outputs)
    }


def postprocess_names() -> frozenset[str]:
    """Names of every task's postprocess outputs."""
    rows = (*_STEPS.values(), (_SEVERAL_CLASSES,))
    return frozenset(output.name for row in rows for step in row for output in step.outputs)
