"""Whether a package gives the artifact's results once the host has done its arithmetic: both graphs are run here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bert_onnx.errors import VerificationError
from export.hosts.host import Subject
from runtimes.engines.ort.library import import_onnxruntime

#: Of the larger of 1 and the largest value. Both graphs have the same nodes, so that only a host's sum over tokens
#: rounds: over 512 equal float32 values that is below 512 * 6e-8.
TOLERANCE = 3e-5


@dataclass(frozen=True)
class Comparison:
    """What must be equal.

    Args:
        output: of the variant.
        wanted: what a user expects, of that output.
        made: what the host makes of the package's output and the attention mask [B, S].
    """

    output: str
    wanted: Callable[[np.ndarray], np.ndarray]
    made: Callable[[np.ndarray, np.ndarray], np.ndarray]


def check_difference(title: str, what: str, got: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference between what the host `title` makes and what a user expects of the artifact's `what`.

    Raises:
        VerificationError: it is larger than rounding.
    """
    difference = float(np.abs(got - wanted).max())
    if not difference <= TOLERANCE * max(1.0, float(np.abs(wanted).max())):
        raise VerificationError(f"what {title} makes of it differs from the artifact's {what} by {difference:.3g}.")
    return difference


def compare(title: str, graph: Path, subject: Subject, comparison: Comparison) -> float:
    """The largest difference between what the host `title` makes of `graph` and what a user expects of the variant.

    Raises:
        VerificationError: it is larger than rounding.
    """
    inputs = _inputs(subject)
    wanted = comparison.wanted(_run(subject.folder / subject.variant.file, inputs, comparison.output))
    got = comparison.made(_run(graph, inputs, None), inputs["attention_mask"])
    return check_difference(title, comparison.output, got, wanted)


def _inputs(subject: Subject) -> dict[str, np.ndarray]:
    """Three rows of drawn ids, padded on the right."""
    limits = subject.manifest.config
    lengths = [min(length, subject.longest) for length in (9, 4, 2)]
    real = np.arange(lengths[0]) < np.array(lengths)[:, None]
    drawn = np.random.default_rng(0).integers(0, limits.vocab_size, real.shape)
    return {
        "input_ids": np.where(real, drawn, limits.pad_token_id or 0),
        "attention_mask": real.astype(np.int64),
        "token_type_ids": np.zeros(real.shape, np.int64),
    }


def _run(graph: Path, inputs: dict[str, np.ndarray], output: str | None) -> np.ndarray:
    session = import_onnxruntime().InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    feed = {port.name: inputs[port.name] for port in session.get_inputs()}
    return np.asarray(session.run(None if output is None else [output], feed)[0])
