"""What hosts that pool the states of tokens themselves have in common: one file, whose states are the vector."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from bert_onnx.sentence_modules import SENTENCE
from export.hosts.host import Subject, refuse
from export.hosts.tokenizer import TOKENIZER_NAME

#: States [B, S, W] and attention mask [B, S] to the vectors [B, W] that a host pools of them.
Pooling = Callable[[np.ndarray, np.ndarray], np.ndarray]

GRAPH_NAME = "model.onnx"
#: What such a host feeds.
_FED = ("input_ids", "attention_mask", "token_type_ids")
#: Targets whose graphs run on the ONNX Runtime that hosts bring, on its CPU provider.
CPU_TARGETS = ("portable", "ort-cpu", "ort-cpu-unpadded")


def first_token(states: np.ndarray, _: np.ndarray) -> np.ndarray:
    """Pooling by CLS."""
    first: np.ndarray = states[:, 0]
    return first


def plain_mean(states: np.ndarray, _: np.ndarray) -> np.ndarray:
    """The mean over all places, padding included."""
    mean: np.ndarray = states.mean(1)
    return mean


def check_embedder(title: str, subject: Subject) -> None:
    """Raise UsageError where the model makes no vector of a text, or reads more than such a host feeds."""
    manifest = subject.manifest
    if SENTENCE not in {port.name for port in manifest.outputs}:
        raise refuse(
            title,
            f"takes one dense vector of a text, and an artifact of {manifest.task} has none",
            "export the checkpoint with --task sentence-similarity",
        )
    check_tokens(title, subject)


def check_tokens(title: str, subject: Subject) -> None:
    """Raise UsageError where the graph reads more than such a host feeds, or is for others, or lacks tokenizer.json."""
    manifest, variant = subject.manifest, subject.variant
    more = [port.name for port in manifest.inputs if port.name not in _FED]
    if more:
        raise refuse(
            title,
            f"feeds {', '.join(_FED)}, and this graph reads {more[0]}, too, since its pooling leaves out the prompt",
            "let bert-onnx serve run it",
        )
    if variant.target not in CPU_TARGETS:
        raise refuse(
            title,
            f"runs ONNX Runtime on the CPU, and {variant.name} is for {variant.target}",
            f"choose a --variant for {', '.join(CPU_TARGETS)}",
        )
    if TOKENIZER_NAME not in manifest.files:
        raise refuse(title, f"reads {TOKENIZER_NAME}, which this artifact lacks", "let bert-onnx serve run it")


def write_embedder(title: str, subject: Subject, folder: Path, pooling: Pooling, scales: bool = False) -> float:
    """Write `folder`/model.onnx, the vector at every token.

    Args:
        pooling: what the host makes of the states.
        scales: whether it scales every vector to length 1 afterwards.

    Returns, raises: as `export.hosts.graph.write_graph`.
    """
    from export.hosts.compare import Comparison
    from export.hosts.graph import write_graph
    from export.hosts.spread import spread

    def scaled(vectors: np.ndarray) -> np.ndarray:
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True) if scales else vectors

    comparison = Comparison(
        SENTENCE,
        lambda vectors: scaled(vectors[:, : subject.width]),
        lambda states, mask: scaled(pooling(states, mask)),
    )
    return write_graph(title, subject, folder, lambda model: spread(model, subject.width), comparison)
