"""The kinds of checkpoints that people bring, most of them after public bug reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.compatibility import checkpoints, libraries
from benchmarks.compatibility.libraries import Library


@dataclass(frozen=True)
class Kind:
    """One kind of checkpoint.

    Args:
        name: what the table calls it.
        library: what people would run it with.
        make: writes it into a folder.
        change: what is done to it afterwards; the library is asked before, for it may not be able to open what comes
            of it, or fill it with random weights.
        task: what to export it for.
        trained: it knows the built-in texts; others know `WORDS` alone.
    """

    name: str
    library: Library
    make: Callable[[Path], None]
    change: Callable[[Path], None] | None = None
    task: str = "auto"
    trained: bool = False


def _chain(name: str, make_modules: Callable[[Any], Sequence[Any]] | None = None, **options: Any) -> Kind:
    return Kind(name, libraries.SENTENCES, partial(checkpoints.save_chain, make_modules=make_modules, **options))


def _changed(name: str, change: Callable[[Path], None]) -> Kind:
    return Kind(name, libraries.SENTENCES, checkpoints.save_chain, change)


def _head(name: str, library: Library, architecture: str, task: str = "auto", **config: Any) -> Kind:
    return Kind(name, library, partial(checkpoints.save, architecture=architecture, **config), task=task)


def _cross_encoder(name: str, **config: Any) -> Kind:
    return _head(f"cross-encoder, {name}", libraries.RANKS, checkpoints.CLASSIFIER, num_labels=1, **config)


def _projected(models: Any) -> Sequence[Any]:
    dense = models.Dense(32, 24, activation_function=torch.nn.Tanh())
    return [models.Pooling(32, "mean"), dense, models.Normalize()]


KINDS: tuple[Kind, ...] = (
    _head("feature-extraction", libraries.STATES, "BertModel"),
    _head("fill-mask", libraries.MASKS, "BertForMaskedLM"),
    _head("text-classification, 3 labels", libraries.LABELS, checkpoints.CLASSIFIER, num_labels=3),
    _head(
        "text-classification, several at once",
        libraries.LABELS,
        checkpoints.CLASSIFIER,
        num_labels=3,
        problem_type="multi_label_classification",
    ),
    _head(
        "zero-shot classification",
        libraries.TOPICS,
        checkpoints.CLASSIFIER,
        id2label=dict(enumerate(checkpoints.INFERENCE)),
        label2id={name: number for number, name in enumerate(checkpoints.INFERENCE)},
    ),
    _cross_encoder("nothing said of its scores"),
    _cross_encoder("activation in config.json", sentence_transformers={"activation_fn": checkpoints.IDENTITY}),
    _cross_encoder("activation under the old key", sbert_ce_default_activation_function=checkpoints.IDENTITY),
    Kind("cross-encoder, files of sentence-transformers 5", libraries.RANKS, checkpoints.save_cross_encoder),
    Kind("SPLADE, max", libraries.WEIGHTS, partial(checkpoints.save_splade, strategy="max", activation="relu")),
    Kind(
        "SPLADE, sum, two logarithms",
        libraries.WEIGHTS,
        partial(checkpoints.save_splade, strategy="sum", activation="log1p_relu"),
    ),
    _head("SPLADE of a masked language model", libraries.WEIGHTS, "BertForMaskedLM", task="sparse-embedding"),
    Kind("ColBERT of Stanford's library", libraries.TOKEN_VECTORS, checkpoints.save_colbert),
    _head("token-classification", libraries.ENTITIES, "BertForTokenClassification", num_labels=3),
    Kind(
        "token-classification, labels from 1",
        libraries.ENTITIES,
        partial(checkpoints.save, architecture="BertForTokenClassification", num_labels=3),
        checkpoints.labels_from_one,
    ),
    _head("question-answering", libraries.SPANS, "BertForQuestionAnswering"),
    _head("text-generation", libraries.CONTINUATIONS, "BertLMHeadModel", "text-generation-with-past", is_decoder=True),
    Kind("all-MiniLM-L6-v2, trained", libraries.SENTENCES, checkpoints.copy_sample, trained=True),
    _chain("mean pooling"),
    _chain("first token and mean, joined", lambda models: [models.Pooling(32, ("cls", "mean"))]),
    _chain("weighted mean", lambda models: [models.Pooling(32, "weightedmean")]),
    _chain("Dense and Normalize", _projected),
    _chain("a default prompt", prompts=checkpoints.PROMPTS, default_prompt_name="query"),
    _chain("truncate_dim", truncate_dim=8),
    _chain("24 layers", num_hidden_layers=24),
    _chain("activation mish", hidden_act="mish"),
    _changed("weights of torch.compile", lambda folder: checkpoints.rename(folder, "_orig_mod.{}".format)),
    _changed("weights of DataParallel", lambda folder: checkpoints.rename(folder, "module.{}".format)),
    _changed("LayerNorm.gamma and beta", lambda folder: checkpoints.rename(folder, checkpoints.old_norms)),
    _changed("pytorch_model.bin, after `convert-weights`", checkpoints.pickled_and_converted),
    Kind("weights in float16", libraries.SENTENCES, checkpoints.save_in_half),
    _changed("what a training loop left", checkpoints.with_leftovers),
    Kind("files of transformers 5", libraries.STATES, checkpoints.save, checkpoints.of_transformers_5),
    Kind("cased WordPiece", libraries.STATES, partial(checkpoints.save, lower=False)),
    Kind(
        "Unigram, as XLM-R",
        libraries.SENTENCES,
        partial(checkpoints.save_with, make_tokenizer=checkpoints.unigram, roles=checkpoints.XLM_R),
    ),
    Kind(
        "byte-level BPE",
        libraries.SENTENCES,
        partial(checkpoints.save_with, make_tokenizer=checkpoints.byte_level, roles=checkpoints.XLM_R),
    ),
)
