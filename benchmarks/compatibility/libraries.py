"""What the library of a checkpoint returns for its texts, and how our model is asked for the same."""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

TEXTS = ("hello world", "paris is big . the old a b c", "the", "HELLO World, what of the town?")
QUESTION = {"question": "what is big ?", "context": "the old town of paris is big . the river is old ."}
MASKED = ("the [MASK] is old .", "paris is [MASK]")
_PAIRS = [("what is big ?", text) for text in TEXTS]
_TOPICS = ("town", "river", "big world")
_PROMPTS = ("hello world", "the old town")
#: What the ONNX backend of sentence-transformers is told about an artifact.
_REOPENED = {"provider": "CPUExecutionProvider", "file_name": "onnx/model.onnx"}
#: Tokens of a query that is filled up with [MASK].
_QUERY_LENGTH = 32
#: Tokens that are generated.
_NEW_TOKENS = 8


@dataclass(frozen=True)
class Library:
    """A library's way to ask a checkpoint, and ours.

    Args:
        name: of the library.
        ask: what the library returns for a checkpoint folder: one array [..].
        ask_ours: the same numbers from a loaded artifact, in the same order.
        auto_class: transformers' (and transformers.js') AutoModel class for the head alone; None where tools cannot
            open such a graph.
        ort_class: optimum's class.
        reopen: asks an artifact through the library's own ONNX backend; None where it has none.
    """

    name: str
    ask: Callable[[Path], np.ndarray]
    ask_ours: Callable[[Any], np.ndarray]
    auto_class: str | None = None
    ort_class: str | None = None
    reopen: Callable[[Path], np.ndarray] | None = None


def _pipeline(task: str, folder: Path, **options: Any) -> Any:
    import transformers

    return transformers.pipeline(task, model=str(folder), device="cpu", **options)


def _states(folder: Path) -> np.ndarray:
    extract = _pipeline("feature-extraction", folder)
    return np.concatenate([np.asarray(extract(text)).reshape(-1) for text in TEXTS])


def _our_states(model: Any) -> np.ndarray:
    return np.concatenate([np.asarray(tokens.vectors).reshape(-1) for tokens in model(list(TEXTS))])


def _labels(folder: Path) -> np.ndarray:
    classify = _pipeline("text-classification", folder, top_k=None)
    rows = classify(list(TEXTS))
    return np.array([[one["score"] for one in sorted(row, key=lambda one: one["label"])] for row in rows])


def _our_labels(model: Any) -> np.ndarray:
    rows = [sorted(row.labels, key=lambda one: one.label) for row in model(list(TEXTS))]
    return np.array([[one.score for one in row] for row in rows])


def _topics(folder: Path) -> np.ndarray:
    rows = _pipeline("zero-shot-classification", folder)(list(TEXTS), list(_TOPICS))
    return np.array([[row["scores"][row["labels"].index(topic)] for topic in _TOPICS] for row in rows])


def _our_topics(model: Any) -> np.ndarray:
    rows = model.zero_shot(list(TEXTS), list(_TOPICS))
    return np.array([[row.scores[row.labels.index(topic)] for topic in _TOPICS] for row in rows])


def ranks(folder: Path, **options: Any) -> np.ndarray:
    """Scores of a query and each of `TEXTS` from a CrossEncoder with `options` [N]."""
    import sentence_transformers

    return np.asarray(sentence_transformers.CrossEncoder(str(folder), device="cpu", **options).predict(_PAIRS))


def _ranks_reopened(folder: Path) -> np.ndarray:
    return ranks(folder, backend="onnx", model_kwargs=_REOPENED)


def _our_ranks(model: Any) -> np.ndarray:
    return np.asarray(model.predict(_PAIRS))


def _entities(folder: Path) -> np.ndarray:
    find = _pipeline("token-classification", folder, aggregation_strategy="none", ignore_labels=[])
    return np.array([[one["start"], one["end"], one["score"]] for row in find(list(TEXTS)) for one in row])


def _our_entities(model: Any) -> np.ndarray:
    rows = model(list(TEXTS), aggregation="none", ignore_labels=())
    return np.array([[one.start, one.end, one.score] for row in rows for one in row.entities])


def _spans(folder: Path) -> np.ndarray:
    spans = _pipeline("question-answering", folder)(**QUESTION, top_k=3)
    return np.array([[one["start"], one["end"], one["score"]] for one in spans])


def _our_spans(model: Any) -> np.ndarray:
    (found,) = model(QUESTION["question"], QUESTION["context"], top_k=3)
    return np.array([[one.start, one.end, one.score] for one in found.answers])


def _masks(folder: Path) -> np.ndarray:
    rows = _pipeline("fill-mask", folder)(list(MASKED), top_k=5)
    return np.array([[[one["token"], one["score"]] for one in row] for row in rows])


def _our_masks(model: Any) -> np.ndarray:
    rows = model(list(MASKED), top_k=5)
    return np.array([[[one.token, one.score] for one in row.masks[0]] for row in rows])


def _continuations(folder: Path) -> np.ndarray:
    import transformers

    return continuations(folder, transformers.AutoModelForCausalLM.from_pretrained(folder))


def continuations(folder: Path, model: Any) -> np.ndarray:
    """Tokens that `model.generate` adds to two prompts [N, T]."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    rows = []
    for text in _PROMPTS:
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        made = model.generate(ids, max_new_tokens=_NEW_TOKENS, min_new_tokens=_NEW_TOKENS, do_sample=False)
        rows.append(made[0, ids.shape[1] :].numpy())
    return np.array(rows)


def _our_continuations(model: Any) -> np.ndarray:
    return np.array([model(text, max_new_tokens=_NEW_TOKENS, add_special_tokens=False)[0].tokens for text in _PROMPTS])


def sentences(folder: Path, **options: Any) -> np.ndarray:
    """Vectors of `TEXTS` from a SentenceTransformer with `options` [N, D]."""
    import sentence_transformers

    model = sentence_transformers.SentenceTransformer(str(folder), device="cpu", **options)
    return np.asarray(model.encode(list(TEXTS)))


def _sentences_reopened(folder: Path) -> np.ndarray:
    return sentences(folder, backend="onnx", model_kwargs=_REOPENED)


def _our_sentences(model: Any) -> np.ndarray:
    return np.asarray(model.embed(list(TEXTS)))


def weights(folder: Path, **options: Any) -> np.ndarray:
    """Weights of `TEXTS` from a SparseEncoder with `options` [N, V]."""
    import sentence_transformers

    encoded = sentence_transformers.SparseEncoder(str(folder), device="cpu", **options).encode(list(TEXTS))
    return np.asarray(encoded.to_dense())


def _weights_reopened(folder: Path) -> np.ndarray:
    return weights(folder, backend="onnx", model_kwargs=_REOPENED)


def _token_vectors(folder: Path) -> np.ndarray:
    """Vectors of the first text as a query and of all as documents, as PyLate makes them with its defaults."""
    import torch
    import transformers
    from safetensors.torch import load_file

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    weight = load_file(folder / "model.safetensors")["linear.weight"]
    skipped = set(tokenizer.convert_tokens_to_ids(list(string.punctuation)))
    vectors = []
    for text, marker, length in ((TEXTS[0], "[unused0]", _QUERY_LENGTH), *((t, "[unused1]", 0) for t in TEXTS)):
        ids = tokenizer(text)["input_ids"]
        ids.insert(1, tokenizer.convert_tokens_to_ids(marker))
        seen = len(ids)
        ids += [tokenizer.mask_token_id] * (length - seen)
        mask = [int(place < seen) for place in range(len(ids))]
        with torch.no_grad():
            states = model(torch.tensor([ids]), torch.tensor([mask])).last_hidden_state[0] @ weight.T
        kept = [place for place, token in enumerate(ids) if length or token not in skipped]
        vectors.append(torch.nn.functional.normalize(states, dim=-1)[kept].numpy())
    return np.concatenate(vectors)


def _our_token_vectors(model: Any) -> np.ndarray:
    return np.concatenate([*model.encode_query(TEXTS[0]), *model.encode_document(TEXTS)])


STATES = Library("transformers", _states, _our_states, "AutoModel", "ORTModelForFeatureExtraction")
MASKS = Library("transformers", _masks, _our_masks, "AutoModelForMaskedLM", "ORTModelForMaskedLM")
_CLASSIFIERS = "AutoModelForSequenceClassification", "ORTModelForSequenceClassification"
LABELS = Library("transformers", _labels, _our_labels, *_CLASSIFIERS)
TOPICS = Library("transformers", _topics, _our_topics, *_CLASSIFIERS)
RANKS = Library("sentence-transformers", ranks, _our_ranks, *_CLASSIFIERS, _ranks_reopened)
ENTITIES = Library(
    "transformers", _entities, _our_entities, "AutoModelForTokenClassification", "ORTModelForTokenClassification"
)
SPANS = Library("transformers", _spans, _our_spans, "AutoModelForQuestionAnswering", "ORTModelForQuestionAnswering")
CONTINUATIONS = Library("transformers", _continuations, _our_continuations)
SENTENCES = Library(
    "sentence-transformers",
    sentences,
    _our_sentences,
    "AutoModel",
    "ORTModelForFeatureExtraction",
    _sentences_reopened,
)
WEIGHTS = Library(
    "sentence-transformers",
    weights,
    _our_sentences,
    "AutoModelForMaskedLM",
    "ORTModelForMaskedLM",
    _weights_reopened,
)
TOKEN_VECTORS = Library("transformers, by PyLate's rules", _token_vectors, _our_token_vectors)
