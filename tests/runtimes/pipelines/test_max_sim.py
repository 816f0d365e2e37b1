"""MaxSim against its formula, pair by pair."""

from __future__ import annotations

import numpy as np
import pytest

from bert_onnx.errors import InputError
from runtimes.pipelines import max_sim as module
from runtimes.pipelines.max_sim import max_sim


def texts(count: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((rng.integers(1, 9), 5)).astype(np.float32) for _ in range(count)]


@pytest.mark.parametrize("block", [1, 7, 1 << 14])
def test_every_pair(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", block)
    queries, documents = texts(4, 0), texts(11, 1)
    expected = [[(query @ document.T).max(axis=1).sum() for document in documents] for query in queries]
    np.testing.assert_allclose(max_sim(queries, documents), expected, rtol=1e-5)
    assert max_sim([], documents).shape == (0, 11)
    assert max_sim(queries, []).shape == (4, 0)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (np.zeros((2, 4), np.float32), "of one width"),
        (np.zeros(5, np.float32), "of one width"),
        (np.zeros((0, 5), np.float32), "without any token"),
    ],
)
def test_what_cannot_be_compared(wrong: np.ndarray, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        max_sim(texts(2, 0), [*texts(2, 1), wrong])
