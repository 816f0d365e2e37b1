"""`--postprocess` in PyTorch: what `export.postprocess` writes in ONNX operators, said as plainly as it can be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from bert_onnx import postprocess
from bert_onnx.config import BertConfig
from bert_onnx.postprocess import (
    CONTEXT_TYPE,
    LONGEST_ANSWER,
    NO_ID,
    PostprocessStep,
    postprocess_of,
    score_method,
    top_count,
)
from bert_onnx.sentence_modules import SCORE_ACTIVATIONS
from bert_onnx.tasks import TaskOptions

Inputs = Mapping[str, Tensor]


@dataclass(frozen=True)
class Postprocessing:
    """Makes the postprocess outputs of one task.

    Args:
        steps: rows of the table; none where none were asked for.
        count: how many tokens are given for each place.
    """

    steps: tuple[PostprocessStep, ...]
    count: int

    @classmethod
    def of(cls, task: str, config: BertConfig, options: TaskOptions) -> Postprocessing:
        """What `options` ask for.

        Raises:
            UsageError: the task has nothing to append.
        """
        steps = postprocess_of(task, config, options.activation_fn) if options.postprocess else ()
        return cls(steps, top_count(config))

    @property
    def names(self) -> frozenset[str]:
        """Names of the outputs."""
        return frozenset(output.name for step in self.steps for output in step.outputs)

    def tensors(self, scores: Mapping[str, Tensor], inputs: Inputs) -> dict[str, Tensor]:
        """Postprocess outputs by name.

        Args:
            scores: the head's outputs, by name.
            inputs: the graph's inputs; the attention mask is [B, S] or [B, C, S], with a cache [B, P+S].
        """
        found: dict[str, Tensor] = {}
        for step in self.steps:
            given = tuple(scores[name].float() for name in step.scores)
            values = _METHODS[step.method](given, inputs, self.count)
            found.update(zip((output.name for output in step.outputs), values, strict=True))
        return found

    def arrays(self, scores: Mapping[str, np.ndarray], inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The same for arrays, such as the outputs of a runtime and its inputs."""
        needed = {name for step in self.steps for name in step.scores}
        with torch.inference_mode():
            given = {name: torch.tensor(scores[name]) for name in needed}
            masks = {name: torch.tensor(array) for name, array in inputs.items() if array.dtype == np.int64}
            found = self.tensors(given, masks)
        return {name: tensor.numpy() for name, tensor in found.items()}


def _class(scores: tuple[Tensor, ...], inputs: Inputs, count: int) -> tuple[Tensor, ...]:
    """Probabilities [B, N] and the best class [B]."""
    (logits,) = scores
    return logits.softmax(dim=-1), logits.argmax(dim=-1)


def _token_class(scores: tuple[Tensor, ...], inputs: Inputs, count: int) -> tuple[Tensor, ...]:
    """Probabilities [B, S, N] and the best class [B, S]; nothing at padding."""
    (logits,) = scores
    real = inputs["attention_mask"] > 0  # [B, S]
    return _nothing_at_padding(logits.softmax(dim=-1), logits.argmax(dim=-1), real)


def _classes(scores: tuple[Tensor, ...], inputs: Inputs, count: int) -> tuple[Tensor, ...]:
    """Probabilities [B, N], and 1 where one is above one half, [B, N]."""
    (logits,) = scores
    return logits.sigmoid(), (logits > 0).to(torch.int64)


def _top_tokens(scores: tuple[Tensor, ...], inputs: Inputs, count: int) -> tuple[Tensor, ...]:
    """The `count` best ids and their probabilities, [B, S, K]; nothing at padding."""
    (logits,) = scores
    ids = logits.topk(count, dim=-1).indices
    best = logits.softmax(dim=-1).gather(-1, ids)
    probabilities, ids = _nothing_at_padding(best, ids, inputs["attention_mask"] > 0)
    return ids, probabilities


def _nothing_at_padding(probabilities: Tensor, ids: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """0 and NO_ID where `real` [B, S] is false."""
    outside = ~real.reshape(*real.shape, *[1] * (ids.ndim - real.ndim))
    return probabilities.masked_fill(~real.unsqueeze(-1), 0.0), ids.masked_fill(outside, NO_ID)


def _span(scores: tuple[Tensor, ...], inputs: Inputs, count: int) -> tuple[Tensor, ...]:
    """First and last token of the best span, its probability, and that of no answer, each [B].

    Every pair of a start and an end is scored. A span lies in the context: the real tokens of the second segment but
    its last, which is [SEP]. Probabilities are softmax over the context and the first real token, [CLS], which stands
    for "no answer" (Devlin et al. 2019, section 4.3). Without a context the answer is token 0 with probability 0.
    """
    start, end = scores  # [B, S] each
    length = start.shape[1]
    real = inputs["attention_mask"] > 0
    places = torch.arange(length)
    context = real & (inputs["token_type_ids"] == CONTEXT_TYPE)  # [B, S]
    closing = torch.where(context, places, -1).amax(dim=1, keepdim=True)  # [B, 1]
    context = context & (places != closing)
    opening = real.to(torch.int64).argmax(dim=1, keepdim=True)  # [B, 1]
    legal = context | (places == opening)
    starts, ends = (_masked(one, legal).softmax(dim=1) for one in scores)
    span = places[None, :] - places[:, None]  # [start, end]
    possible = context[:, :, None] & context[:, None, :] & (span >= 0) & (span < LONGEST_ANSWER)
    best = _masked(start[:, :, None] + end[:, None, :], possible).flatten(1).argmax(dim=1, keepdim=True)  # [B, 1]
    some = context.any(dim=1)
    first, last = best // length, best % length
    score = (starts.gather(1, first) * ends.gather(1, last)).squeeze(1)
    nothing = (starts.gather(1, opening) * ends.gather(1, opening)).squeeze(1)
    zero = torch.zeros_like(some, dtype=torch.int64)
    ends_of_span = (torch.where(some, place.squeeze(1), zero) for place in (first, last))
    return (*ends_of_span, score * some, nothing)


def _masked(scores: Tensor, admitted: Tensor) -> Tensor:
    return scores.masked_fill(~admitted, -torch.inf)


def _next_token(scores: tuple[Tensor, ...], inputs: Inputs, count: int) -> tuple[Tensor, ...]:
    """The best token [B] after the last real one among those that have scores."""
    (logits,) = scores  # [B, S, V]
    batch, length, _ = logits.shape
    real = inputs["attention_mask"][:, -length:] > 0
    last = torch.where(real, torch.arange(length), 0).amax(dim=1)
    return (logits[torch.arange(batch), last].argmax(dim=-1),)


def _score(activation_fn: str, scores: tuple[Tensor, ...], inputs: Inputs, count: int) -> tuple[Tensor, ...]:
    """What the class of torch.nn makes of logits [B, N]; [B, N]."""
    (logits,) = scores
    over_labels = {"dim": -1} if activation_fn in ("LogSoftmax", "Softmax", "Softmin") else {}
    return (getattr(nn, activation_fn)(**over_labels)(logits),)


_METHODS: dict[str, Callable[[tuple[Tensor, ...], Inputs, int], tuple[Tensor, ...]]] = {
    **{score_method(name): partial(_score, name) for name in SCORE_ACTIVATIONS},
    postprocess.CLASS: _class,
    postprocess.TOKEN_CLASS: _token_class,
    postprocess.CLASSES: _classes,
    postprocess.TOP_TOKENS: _top_tokens,
    postprocess.SPAN: _span,
    postprocess.NEXT_TOKEN: _next_token,
}
