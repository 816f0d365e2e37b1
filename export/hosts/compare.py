"""Whether a package gives the artifact's vectors once the host has done its arithmetic: both graphs are run here."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bert_onnx.errors import VerificationError
from bert_onnx.sentence_modules import SENTENCE
from export.hosts.embedder import Pooling
from export.hosts.host import Subject
from runtimes.engines.ort.library import import_onnxruntime

#: Of the larger of 1 and the largest value. Both graphs have the same nodes, so that only a host's sum over tokens
#: rounds: over 512 equal float32 values that is below 512 * 6e-8.
TOLERANCE = 3e-5


def compare(title: str, graph: Path, subject: Subject, pooling: Pooling, scales: bool) -> float:
    """The largest difference between the vectors of the host `title` and the artifact's, both scaled where it `scales`.

    Raises:
        VerificationError: it is larger than rounding.
    """
    inputs = _inputs(subject)
    wanted = _run(subject.folder / subject.variant.file, inputs, SENTENCE)[:, : subject.width]
    got = pooling(_run(graph, inputs, None), inputs["attention_mask"])
    if scales:
        wanted, got = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True) for vectors in (wanted, got))
    difference = float(np.abs(got - wanted).max())
    if not difference <= TOLERANCE * max(1.0, float(np.abs(wanted).max())):
        raise VerificationError(
            f"what {title} makes of {graph.name} differs from the artifact's vectors by {difference:.3g}."
        )
    return difference


def _inputs(subject: Subject) -> dict[str, np.ndarray]:
    """Three rows of drawn ids, padded on the right."""
    limits = subject.manifest.config
    lengths = [min(length, subject.longest) for length in (9, 4, 2)]
    real = np.arange(lengths[0]) < np.array(lengths)[:, None]
    drawn = np.random.default_rng(0).integers(0, limits.vocab_size, real.shape)
    arrays = {
        "input_ids": np.where(real, drawn, limits.pad_token_id or 0),
        "attention_mask": real.astype(np.int64),
        "token_type_ids": np.zeros(real.shape, np.int64),
    }
    return {port.name: arrays[port.name] for port in subject.manifest.inputs}


def _run(graph: Path, inputs: dict[str, np.ndarray], output: str | None) -> np.ndarray:
    session = import_onnxruntime().InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None if output is None else [output], inputs)[0])
