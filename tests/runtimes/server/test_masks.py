"""Masks: of a whole vocabulary for every token only what stands at masks is held while a request waits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_runtimes import VOCABULARY, rule_pipeline
from served import Served, serving

from runtimes.server import queued_runtime
from runtimes.server.sparse_rows import KeptTokens

#: Several texts, and masks at other places in each.
TEXTS = [f"{'a ' * size}[MASK] b [MASK]{' c' * size}" for size in (0, 3, 1, 2)]


def _logits(inputs: Any) -> dict[str, np.ndarray]:
    """Other ones for every token, wherever it stands."""
    ids = inputs["input_ids"]
    places, words = np.arange(ids.shape[1])[:, None], np.arange(len(VOCABULARY))
    return {"logits": np.sin(ids[:, :, None] * 3.0 + places * 5.0 + words * 7.0).astype(np.float32)}


@pytest.fixture
def made(tmp_path: Path) -> Any:
    return rule_pipeline(tmp_path, "fill-mask", _logits)


@pytest.fixture
def masks(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "served").mkdir()
    with serving(pipelines={"fill": rule_pipeline(tmp_path / "served", "fill-mask", _logits)}) as served:
        yield served


def test_guesses_are_those_of_the_pipeline(masks: Served, made: Any) -> None:
    code, found, _ = masks.post("/fill-mask", {"inputs": TEXTS, "top_k": 3})
    assert code == 200
    for one, expected in zip(found, made(TEXTS, top_k=3), strict=True):
        assert one == [[guess.to_dict() for guess in mask] for mask in expected.masks]


def test_too_many_masks_at_once(masks: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queued_runtime, "_KEPT_NUMBERS", 3 * len(VOCABULARY))
    assert masks.post("/fill-mask", {"inputs": ["[MASK] a [MASK]", "[MASK]"]})[0] == 200
    code, answer, _ = masks.post("/fill-mask", {"inputs": TEXTS})
    assert (code, "have 8 masks, and may have 3" in answer["error"]) == (413, True)


def test_tensors_of_the_same_model_are_whole(masks: Served, made: Any) -> None:
    """KServe's rows are of every token, also beside rows of masks alone."""
    ids = np.array([[2, 5, 4, 6, 3]])
    names = ("input_ids", "attention_mask", "token_type_ids")
    arrays = dict(zip(names, (ids, np.ones_like(ids), np.zeros_like(ids)), strict=True))
    inputs = [
        {"name": name, "shape": [1, 5], "datatype": "INT64", "data": array[0].tolist()}
        for name, array in arrays.items()
    ]
    code, answer, _ = masks.post("/v2/models/fill/infer", {"inputs": inputs})
    assert code == 200
    found = np.array(answer["outputs"][0]["data"]).reshape(answer["outputs"][0]["shape"])
    np.testing.assert_allclose(found, made.runtime.run(arrays)["logits"], rtol=1e-6)


def test_a_kept_row_does_not_hold_the_whole() -> None:
    row = np.arange(12.0).reshape(4, 3)
    kept = KeptTokens.of(row, [7, 9, 7], 7)
    assert kept.values.base is None
    np.testing.assert_array_equal(kept.values, row[[0, 2]])
