"""Libraries of Python that know nothing of us open the folder as it was published, each variant by its file's name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from client_tools import LARGEST_DIFFERENCE, LEAST_COSINE, read

import bert_onnx

pytestmark = pytest.mark.clients

TEXTS = ["A man is eating food.", "what is love?", "x " * 300]
TARGETS = ("portable", "ort-cpu", "ort-cpu-unpadded", "web")


def _differences(artifact: Path, name: str, texts: list[str], found: np.ndarray) -> dict[str, Any]:
    """How far `found` is from what our own pipeline makes of the same variant, as a row of the table at the end."""
    (entry,) = [entry for entry in read(artifact, "manifest.json")["variants"] if entry["name"] == name]
    ours = bert_onnx.load(artifact, variant=name).embed(texts)
    cosines = (found * ours).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(ours, axis=1)
    row = {"variant": name, "precision": entry["precision"], "texts": len(texts)}
    return {**row, "difference": float(np.abs(found - ours).max()), "cosine": float(cosines.min())}


def _assert_same(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if row["precision"] == "fp32":
            assert row["difference"] <= LARGEST_DIFFERENCE, row
        else:
            assert row["cosine"] >= LEAST_COSINE, row


def test_the_onnx_backend_of_sentence_transformers(
    artifact: Path, measured: Callable[..., None], variants_for: Callable[..., list[str]]
) -> None:
    library = pytest.importorskip("sentence_transformers")
    pytest.importorskip("optimum.onnxruntime")
    rows = []
    for name in variants_for(*TARGETS):
        options = {"file_name": f"{name}.onnx", "provider": "CPUExecutionProvider"}
        model = library.SentenceTransformer(str(artifact), backend="onnx", model_kwargs=options, device="cpu")
        rows.append(_differences(artifact, name, TEXTS, model.encode(TEXTS)))
    measured("sentence-transf.", rows)
    _assert_same(rows)


def test_a_custom_model_of_fastembed(
    artifact: Path, measured: Callable[..., None], variants_for: Callable[..., list[str]]
) -> None:
    """Its rule: output 0, which is last_hidden_state, pooled and scaled by fastembed itself."""
    pytest.importorskip("fastembed")
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    rows = []
    for name in variants_for(*TARGETS):
        known = f"bert-onnx/{name}"
        TextEmbedding.add_custom_model(
            model=known, pooling=PoolingType.MEAN, normalization=True, sources=ModelSource(hf="bert-onnx/none"),
            dim=384, model_file=f"onnx/{name}.onnx",
        )  # fmt: skip
        embedding = TextEmbedding(known, specific_model_path=str(artifact), providers=["CPUExecutionProvider"])
        rows.append(_differences(artifact, name, TEXTS, np.stack(list(embedding.embed(TEXTS)))))
    measured("fastembed", rows)
    _assert_same(rows)
