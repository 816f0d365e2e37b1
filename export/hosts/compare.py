"""Whether a package gives the artifact's vectors once the host has done its arithmetic: both graphs are run here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from bert_onnx.errors import VerificationError
from bert_onnx.sentence_modules import SENTENCE
from export.hosts.host import Embedder, Host
from export.hosts.spread import STATES

#: Of the larger of 1 and the largest value. Both graphs have the same nodes, so that only a host's sum over tokens
#: rounds: over 512 equal float32 values that is below 512 * 6e-8.
TOLERANCE = 3e-5


def compare(graph: Path, embedder: Embedder, host: Host) -> float:
    """The largest difference between the host's vectors and the artifact's, both scaled where the host scales.

    Raises:
        VerificationError: it is larger than rounding.
    """
    inputs = _inputs(embedder)
    wanted = _run(embedder.folder / embedder.variant.file, inputs, SENTENCE)[:, : embedder.width]
    got = host.arithmetic(_run(graph, inputs, STATES), inputs["attention_mask"])
    if host.scales:
        wanted, got = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True) for vectors in (wanted, got))
    difference = float(np.abs(got - wanted).max())
    if not difference <= TOLERANCE * max(1.0, float(np.abs(wanted).max())):
        raise VerificationError(
            f"what {host.title} makes of {graph.name} differs from the artifact's vectors by {difference:.3g}."
        )
    return difference


def _inputs(embedder: Embedder) -> dict[str, np.ndarray]:
    """Three rows of drawn ids, padded on the right."""
    limits = embedder.manifest.config
    lengths = [min(length, embedder.longest) for length in (9, 4, 2)]
    real = np.arange(lengths[0]) < np.array(lengths)[:, None]
    drawn = np.random.default_rng(0).integers(0, limits.vocab_size, real.shape)
    arrays = {
        "input_ids": np.where(real, drawn, limits.pad_token_id or 0),
        "attention_mask": real.astype(np.int64),
        "token_type_ids": np.zeros(real.shape, np.int64),
    }
    return {port.name: arrays[port.name] for port in embedder.manifest.inputs}


def _run(graph: Path, inputs: dict[str, np.ndarray], output: str) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    return np.asarray(session.run([output], inputs)[0])
