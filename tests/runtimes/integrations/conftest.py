"""Models for the adapters: an artifact of sentence embeddings, a cross-encoder and a sparse model by rules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_runtimes import VOCABULARY, rule_pipeline
from toy_artifacts import publish_toy

import bert_onnx

TEXTS = ["hello world", "good night .", "my world"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish_toy(tmp_path_factory.mktemp("toy") / "artifact")


@pytest.fixture
def vectors(folder: Path) -> np.ndarray:
    """What the artifact itself gives for TEXTS."""
    found: np.ndarray = bert_onnx.load(folder).embed(TEXTS)
    return found


@pytest.fixture
def ranker(tmp_path: Path) -> Any:
    """Scores a pair by the letters `z` that its document has."""

    def rule(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = (inputs["input_ids"] == VOCABULARY.index("z")) & (inputs["token_type_ids"] == 1)
        return {"logits": found.sum(axis=1, keepdims=True).astype(np.float32)}

    return rule_pipeline(tmp_path, "text-ranking", rule, id2label={0: "fit"}, label2id={"fit": 0})


@pytest.fixture
def sparse(tmp_path: Path) -> Any:
    """Weights are how often a letter stands in a text."""

    def rule(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        weights = np.zeros((len(ids), len(VOCABULARY)), np.float32)
        for row, tokens, real in zip(weights, ids, mask, strict=True):
            np.add.at(row, tokens[real > 0], 1)
        weights[:, : VOCABULARY.index("a")] = 0
        return {"sparse_embedding": weights, "logits": np.zeros((*ids.shape, len(VOCABULARY)), np.float32)}

    return rule_pipeline(tmp_path, "sparse-embedding", rule)
