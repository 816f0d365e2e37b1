"""Clients that take texts: sentence-transformers over optimum, fastembed, and generation by optimum."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from benchmarks.compatibility import libraries
from benchmarks.compatibility.libraries import Library

_PROVIDERS = ["CPUExecutionProvider"]
_QUERY = "what is big ?"


@dataclass(frozen=True)
class TextClient:
    """A client, on one head.

    Args:
        name: what the table calls it.
        task: of the artifact.
        library: how the checkpoint is asked, and we are.
        ask: what the client gives for an artifact's folder and a file in it, as `library.ask` does.
        reads_padding: it reads outputs where the mask is 0, which targets that skip the padding do not compute.
    """

    name: str
    task: str
    library: Library
    ask: Callable[[Path, str], np.ndarray]
    reads_padding: bool = False


def _reopened(ask: Callable[..., np.ndarray]) -> Callable[[Path, str], np.ndarray]:
    """sentence-transformers' ONNX backend, told a file by its `file_name`."""

    def run(folder: Path, file: str) -> np.ndarray:
        options = {"provider": _PROVIDERS[0], "file_name": file}
        return ask(folder, backend="onnx", model_kwargs=options)

    return run


def _described(file: str, **fields: Any) -> dict[str, Any]:
    """What fastembed registers a model by: a name that is not taken, and where it would be downloaded from."""
    from fastembed.common.model_description import ModelSource

    return {"model": f"bert-onnx/{uuid4()}", "sources": ModelSource(hf="bert-onnx/none"), "model_file": file, **fields}


def _embed_by_fastembed(folder: Path, file: str) -> np.ndarray:
    from fastembed import TextEmbedding
    from fastembed.common.model_description import PoolingType

    described = _described(file, pooling=PoolingType.MEAN, normalization=True, dim=32)
    TextEmbedding.add_custom_model(**described)
    model = TextEmbedding(described["model"], specific_model_path=str(folder), providers=_PROVIDERS)
    return np.stack(list(model.embed(list(libraries.TEXTS))))


def _rank_by_fastembed(folder: Path, file: str) -> np.ndarray:
    """It gives logits; the sigmoid is CrossEncoder's own."""
    from fastembed.rerank.cross_encoder import TextCrossEncoder

    described = _described(file)
    TextCrossEncoder.add_custom_model(**described)
    model = TextCrossEncoder(described["model"], specific_model_path=str(folder), providers=_PROVIDERS)
    return 1 / (1 + np.exp(-np.array(list(model.rerank(_QUERY, libraries.TEXTS)))))


def _weigh_by_fastembed(folder: Path, file: str) -> np.ndarray:
    """It has no add_custom_model for sparse models (0.9.1, fastembed/sparse): the list of its class gets one more."""
    from fastembed import SparseTextEmbedding
    from fastembed.common.model_description import SparseModelDescription
    from fastembed.sparse.splade_pp import SpladePP

    size = json.loads((folder / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    described = _described(file, vocab_size=size, description="", license="", size_in_GB=0.0)
    SpladePP._list_supported_models().append(SparseModelDescription(**described))
    model = SparseTextEmbedding(described["model"], specific_model_path=str(folder), providers=_PROVIDERS)
    rows = np.zeros((len(libraries.TEXTS), size), np.float32)
    for row, found in zip(rows, model.embed(list(libraries.TEXTS)), strict=True):
        row[found.indices] = found.values
    return rows


def _interact_by_fastembed(folder: Path, file: str) -> np.ndarray:
    """No add_custom_model here either, and markers are ids of its class, which are those of BERT's own vocabulary."""
    from fastembed.common.model_description import DenseModelDescription
    from fastembed.late_interaction.colbert import Colbert
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    class Marked(Colbert):
        QUERY_MARKER_TOKEN_ID = tokenizer.token_to_id("[unused0]")
        DOCUMENT_MARKER_TOKEN_ID = tokenizer.token_to_id("[unused1]")

    described = _described(file, dim=16, description="", license="", size_in_GB=0.0)
    Marked._list_supported_models().append(DenseModelDescription(**described))
    model = Marked(described["model"], specific_model_path=str(folder), providers=_PROVIDERS)
    return np.concatenate([*model.query_embed(libraries.TEXTS[0]), *model.embed(list(libraries.TEXTS))])


def _generate_by_optimum(folder: Path, file: str) -> np.ndarray:
    from optimum.onnxruntime import ORTModelForCausalLM

    options = {"subfolder": "onnx", "file_name": Path(file).name, "provider": _PROVIDERS[0]}
    return libraries.continuations(folder, ORTModelForCausalLM.from_pretrained(folder, **options))


_SENTENCES, _RANKS, _WEIGHTS = "sentence-similarity", "text-ranking", "sparse-embedding"

TEXT_CLIENTS: tuple[TextClient, ...] = (
    TextClient("sentence-transformers", _SENTENCES, libraries.SENTENCES, _reopened(libraries.sentences)),
    TextClient("sentence-transformers", _RANKS, libraries.RANKS, _reopened(libraries.ranks)),
    TextClient("sentence-transformers", _WEIGHTS, libraries.WEIGHTS, _reopened(libraries.weights)),
    TextClient("fastembed", _SENTENCES, libraries.SENTENCES, _embed_by_fastembed),
    TextClient("fastembed", _RANKS, libraries.RANKS, _rank_by_fastembed),
    TextClient("fastembed", _WEIGHTS, libraries.WEIGHTS, _weigh_by_fastembed),
    TextClient("fastembed", "late-interaction", libraries.TOKEN_VECTORS, _interact_by_fastembed, reads_padding=True),
    TextClient("optimum, generate", "text-generation-with-past", libraries.CONTINUATIONS, _generate_by_optimum),
)
