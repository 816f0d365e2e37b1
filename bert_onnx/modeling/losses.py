"""The training losses of the heads. Labels of -100 are left out of every mean over tokens."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from bert_onnx.config import BertConfig
from bert_onnx.errors import InputError

IGNORED_LABEL = -100


def classification_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of logits [..., classes] and labels [...], class ids; the leading axes are flattened."""
    flat = logits.view(-1, logits.shape[-1])
    if labels.numel() != flat.shape[0]:
        raise InputError(
            f"labels has the shape {tuple(labels.shape)}, which does not fit scores of the shape {tuple(logits.shape)}."
        )
    return F.cross_entropy(flat, labels.reshape(-1), ignore_index=IGNORED_LABEL)


def causal_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy in float32 of logits [B, S, V], each token predicting the next of labels [B, S]."""
    next_labels = F.pad(labels, (0, 1), value=IGNORED_LABEL)[..., 1:]
    return classification_loss(logits.float(), next_labels.contiguous())


def problem_type(config: BertConfig, labels: Tensor) -> str:
    """The config's problem type, or what the number and dtype of the labels suggest.

    One label means regression; whole numbers mean one class each; anything else means many classes each.
    """
    if config.problem_type is not None:
        return config.problem_type
    if config.num_labels == 1:
        return "regression"
    whole = labels.dtype in (torch.int64, torch.int32)
    return "single_label_classification" if whole else "multi_label_classification"


def sequence_loss(config: BertConfig, logits: Tensor, labels: Tensor) -> Tensor:
    """Loss of a sequence classifier with logits [B, number of labels].

    regression: mean squared error with labels of the logits' shape, or [B] where there is one label.
    single_label_classification: cross-entropy with class ids [B].
    multi_label_classification: binary cross-entropy with labels [B, number of labels] from 0 to 1.
    """
    kind = problem_type(config, labels)
    if kind == "single_label_classification":
        return classification_loss(logits, labels)
    if labels.numel() != logits.numel():
        raise InputError(
            f"labels has the shape {tuple(labels.shape)}; for {kind} it must be {tuple(logits.shape)}, "
            "one number a score."
        )
    targets = labels.to(logits.dtype).view_as(logits)
    if kind == "regression":
        return F.mse_loss(logits, targets)
    return F.binary_cross_entropy_with_logits(logits, targets)


def span_loss(start_logits: Tensor, end_logits: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Mean of the cross-entropies of start and end [B] against logits [B, S].

    A position beyond the sequence, as it comes of truncation, is left out of the mean; a negative one counts as 0.
    """
    ignored = start_logits.shape[1]
    losses = [
        F.cross_entropy(logits, positions.reshape(-1).clamp(0, ignored), ignore_index=ignored)
        for logits, positions in ((start_logits, start), (end_logits, end))
    ]
    return (losses[0] + losses[1]) / 2


def detection_loss(logits: Tensor, labels: Tensor, mask: Tensor | None) -> Tensor:
    """Mean binary cross-entropy of logits and labels [B, S], 1 or 0, over the tokens that `mask` [B, S] shows."""
    shown = torch.ones_like(logits, dtype=torch.bool) if mask is None else mask == 1
    return F.binary_cross_entropy_with_logits(logits[shown], labels[shown].to(logits.dtype))
