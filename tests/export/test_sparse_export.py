"""SPLADE models as SparseEncoder saves them: exported, each variant against its own encode(), opened there again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from export_samples import WORDS, save_checkpoint, write_texts

import runtimes
from bert_onnx.artifact import Artifact
from bert_onnx.errors import CheckpointError, UsageError
from bert_onnx.sentence_modules import SpladePooling
from export.check import check_export
from export.pipeline import export
from export.request import ExportRequest, PrecisionRequest

pytestmark = pytest.mark.slow

sentence_transformers = pytest.importorskip("sentence_transformers", reason="the bench extra has it")

_PLAIN = [word for word in WORDS if word.isalpha()]
TEXTS = [_PLAIN[0], " ".join(_PLAIN[:9]), " ".join(_PLAIN[3:6] * 4), " ".join(_PLAIN * 9)]
TARGETS = ("portable", "ort-cpu", "ort-cpu-unpadded")
TOLERANCE = 2e-5
PROMPTS = {"query": f"{_PLAIN[1]} ", "document": ""}


def save(folder: Path, strategy: str, activation: str, **options: Any) -> Path:
    """As the library of today saves one: a Transformer whose config says fill-mask."""
    from sentence_transformers.sparse_encoder import modules

    inner = save_checkpoint(folder / "inner", "fill-mask", vocab_size=len(WORDS))
    reader = modules.Transformer(str(inner), transformer_task="fill-mask", max_seq_length=24)
    chain = [reader, modules.SpladePooling(strategy, activation)]
    sentence_transformers.SparseEncoder(modules=chain, device="cpu", **options).save_pretrained(str(folder / "st"))
    return folder / "st"


def dense(encoded: Any) -> np.ndarray:
    return np.asarray(encoded.to_dense())


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return save(tmp_path_factory.mktemp("splade"), "max", "relu", prompts=PROMPTS)


@pytest.fixture(scope="module")
def artifact(saved: Path) -> Artifact:
    seen, held_out = (write_texts(saved.parent / f"{seed}.txt", 40, seed) for seed in (1, 2))
    precision = PrecisionRequest(("fp32", "int8"), calibration=seen, evaluation=held_out, allow_degraded=True)
    request = ExportRequest(str(saved), output=str(saved.parent / "out"), targets=TARGETS, precision=precision)
    return export(request).artifact


def test_every_variant_gives_what_encode_gives(artifact: Artifact, saved: Path) -> None:
    theirs = sentence_transformers.SparseEncoder(str(saved), device="cpu")
    expected = dense(theirs.encode(TEXTS))
    assert artifact.manifest.task == "sparse-embedding"
    assert artifact.manifest.model_max_length == 24
    assert [port.name for port in artifact.manifest.outputs] == ["logits", "sparse_embedding"]
    assert {variant.precision for variant in artifact.manifest.variants} == {"fp32", "int8"}
    for variant in artifact.manifest.variants:
        tolerance = TOLERANCE if variant.precision == "fp32" else 0.3
        with runtimes.load(artifact.folder, variant.name, precision=variant.precision) as model:
            np.testing.assert_allclose(model.embed(TEXTS), expected, atol=tolerance, err_msg=variant.name)


def test_queries_weights_tokens_and_similarity(artifact: Artifact, saved: Path) -> None:
    theirs = sentence_transformers.SparseEncoder(str(saved), device="cpu")
    with runtimes.load(artifact.folder) as model:
        queries, documents = theirs.encode_query(TEXTS), theirs.encode_document(TEXTS)
        np.testing.assert_allclose(model.encode_query(TEXTS), dense(queries), atol=TOLERANCE)
        np.testing.assert_allclose(model.encode_document(TEXTS), dense(documents), atol=TOLERANCE)
        found = model.similarity(model.embed_sparse(TEXTS, prompt_name="query"), model.encode_document(TEXTS))
        np.testing.assert_allclose(found, theirs.similarity(queries, documents), rtol=1e-5)
        expected = theirs.encode(TEXTS, max_active_dims=3)
        np.testing.assert_allclose(model.embed(TEXTS, max_active_dims=3), dense(expected), atol=TOLERANCE)
        for one, decoded in zip(model(TEXTS, top_k=3), theirs.decode(expected), strict=True):
            assert [token for token, _ in one.top()] == [token for token, _ in decoded]
            assert [weight for _, weight in one.top()] == pytest.approx([weight for _, weight in decoded], abs=1e-5)


def test_the_artifact_opens_in_sparse_encoder(artifact: Artifact, saved: Path) -> None:
    theirs = sentence_transformers.SparseEncoder(str(saved), device="cpu")
    options = {"provider": "CPUExecutionProvider", "file_name": "onnx/model.onnx"}
    opened = sentence_transformers.SparseEncoder(
        str(artifact.folder), device="cpu", backend="onnx", model_kwargs=options
    )
    assert opened.prompts == theirs.prompts
    assert opened.max_seq_length == theirs.max_seq_length
    np.testing.assert_allclose(dense(opened.encode(TEXTS)), dense(theirs.encode(TEXTS)), atol=TOLERANCE)


def test_the_other_pooling_with_its_settings(tmp_path: Path) -> None:
    folder = save(tmp_path, "sum", "log1p_relu", similarity_fn_name="cosine")
    path = folder / "1_SpladePooling" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "chunk_size": 4}))
    artifact = export(
        ExportRequest(str(folder), output=str(tmp_path / "out"), targets=("portable", "ort-cpu-unpadded"))
    ).artifact
    assert artifact.manifest.options.modules == (SpladePooling("sum", "log1p_relu", 4),)
    assert artifact.manifest.sentence.similarity_fn_name == "cosine"
    theirs = sentence_transformers.SparseEncoder(str(folder), device="cpu")
    options = {"provider": "CPUExecutionProvider", "file_name": "onnx/model.onnx"}
    opened = sentence_transformers.SparseEncoder(
        str(artifact.folder), device="cpu", backend="onnx", model_kwargs=options
    )
    assert opened.splade_pooling_chunk_size == 4
    expected = dense(theirs.encode(TEXTS))
    for variant in artifact.manifest.variants:
        with runtimes.load(artifact.folder, variant.name) as model:
            np.testing.assert_allclose(model.embed(TEXTS), expected, rtol=TOLERANCE, atol=TOLERANCE)


def test_a_masked_language_model_asked_by_name(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "plain", "fill-mask", vocab_size=len(WORDS))
    artifact = export(ExportRequest(str(folder), "sparse-embedding", str(tmp_path / "out"))).artifact
    assert artifact.manifest.sentence.similarity_fn_name == "dot"
    theirs = sentence_transformers.SparseEncoder(str(folder), device="cpu")
    with runtimes.load(artifact.folder) as model:
        np.testing.assert_allclose(model.embed(TEXTS), dense(theirs.encode(TEXTS)), atol=TOLERANCE)
        assert model.embed([]).shape == (0, len(WORDS))
        assert model.embed_sparse([]) == []


def test_what_does_not_fit_together_is_refused(saved: Path, tmp_path: Path) -> None:
    def refusal(kind: type[Exception], folder: Path, task: str = "auto", **options: Any) -> str:
        with pytest.raises(kind) as caught:
            check_export(ExportRequest(str(folder), task, str(tmp_path / "out"), **options))
        return str(caught.value)

    assert "is for sparse-embedding; leave" in refusal(UsageError, saved, "sentence-similarity")
    assert "no meaning for sparse-embedding" in refusal(UsageError, saved, normalize=True)
    encoder = save_checkpoint(tmp_path / "encoder", "feature-extraction")
    for name in ("modules.json", "1_SpladePooling"):
        (encoder / name).symlink_to(saved / name)
    assert "its transformer gives hidden states" in refusal(CheckpointError, encoder)
    chosen = check_export(ExportRequest(str(saved), "auto", str(tmp_path / "out"), pooling="mean"))
    assert chosen.load.task.name == "sentence-similarity"
