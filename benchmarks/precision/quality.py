"""How much of the eager model's meaning is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.graphs.engines import Run
from benchmarks.graphs.models import sample_folder
from benchmarks.precision.competitors import Competitor
from bert_onnx.tokenization import load_tokenizer
from export.evaluation.metrics import cosines, neighbour_agreement, pair_similarities, spearman

_BATCH = 16
_LONGEST = 128
#: Texts that are looked at alone, in their batch, and beside a long one.
_PROBES = 24


@dataclass(frozen=True)
class Quality:
    """Against eager float32.

    Args:
        mean, least: cosine of a text's embedding.
        neighbours: share of texts with the same nearest neighbour.
        rank: Spearman's correlation of the similarities of all pairs.
        company: largest change of an embedding, of length 1, with the other texts of its batch.
    """

    mean: float
    least: float
    neighbours: float
    rank: float
    company: float


def measure_quality(found: Sequence[Competitor], reference: Run, texts: Sequence[str]) -> dict[str, Quality]:
    """Quality by competitor."""
    tokenizer = load_tokenizer(sample_folder())
    rows = [
        np.array(ids, np.int64) for ids in tokenizer(list(texts), truncation=True, max_length=_LONGEST)["input_ids"]
    ]
    expected = _embed(reference, rows)
    similarities = pair_similarities(expected)
    results = {}
    for one in found:
        vectors = _embed(one.engine.run, rows)
        alike = cosines(expected, vectors)
        results[one.name] = Quality(
            mean=float(alike.mean()),
            least=float(alike.min()),
            neighbours=neighbour_agreement(expected, vectors),
            rank=spearman(similarities, pair_similarities(vectors)),
            company=_company(one.engine.run, rows),
        )
    return results


def _embed(run: Run, rows: Sequence[np.ndarray]) -> np.ndarray:
    """Mean of the real tokens' states, of length 1, [N, D]; texts in the order they came in, `_BATCH` at a time."""
    return np.concatenate([_vectors(run, rows[start : start + _BATCH]) for start in range(0, len(rows), _BATCH)])


def _company(run: Run, rows: Sequence[np.ndarray]) -> float:
    longest = max(rows, key=len)
    worst = 0.0
    for row in rows[:: max(1, len(rows) // _PROBES)][:_PROBES]:
        alone, beside = _vectors(run, [row])[0], _vectors(run, [row, longest])[0]
        worst = max(worst, float(np.abs(alone - beside).max()))
    return worst


def _vectors(run: Run, rows: Sequence[np.ndarray]) -> np.ndarray:
    length = max(len(row) for row in rows)
    ids, mask = np.zeros((len(rows), length), np.int64), np.zeros((len(rows), length), np.int64)
    for place, row in enumerate(rows):
        ids[place, : len(row)], mask[place, : len(row)] = row, 1
    states = run({"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)})
    means = (states * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
    vectors: np.ndarray = means / np.linalg.norm(means, axis=1, keepdims=True)
    return vectors
