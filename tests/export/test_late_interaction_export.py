"""ColBERT checkpoints: exported, and each variant against PyLate's procedure on transformers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from late_checkpoints import DOCUMENTS, QUERIES, WORDS, Reference, dense, save_bert, save_pylate, save_stanford

import runtimes
from bert_onnx.artifact import Artifact
from bert_onnx.errors import ArtifactError, CheckpointError, UsageError
from bert_onnx.late_interaction import LateInteraction
from export.check import check_export
from export.pipeline import export
from export.request import ExportRequest, PrecisionRequest
from runtimes.run_once import RunOptions, predict

pytestmark = pytest.mark.slow

TARGETS = ("portable", "ort-cpu", "ort-cpu-unpadded")
TOLERANCE = 2e-6


def linear(layer: tuple[dict[str, Any], dict[str, torch.Tensor]], x: torch.Tensor) -> torch.Tensor:
    config, weights = layer
    y = torch.nn.functional.linear(x, weights["linear.weight"], weights.get("linear.bias"))
    return torch.nn.functional.gelu(y) if "GELU" in config["activation_function"] else y


def score(query: np.ndarray, document: np.ndarray) -> float:
    return float((query @ document.T).max(axis=1).sum())


@pytest.fixture(scope="module")
def stanford(tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifact, Reference]:
    root = tmp_path_factory.mktemp("stanford")
    folder = save_stanford(
        root / "st", query_token_id="[unused0]", doc_token_id="[unused1]", query_maxlen=24, doc_maxlen=20,
        similarity="cosine", mask_punctuation=True, attend_to_mask_tokens=False, dim=12,
    )  # fmt: skip
    texts = [" ".join(np.random.default_rng(seed).choice(WORDS[7:14], 12)) for seed in range(80)]
    names = []
    for name, part in (("seen", texts[:40]), ("held_out", texts[40:])):
        names.append(str(root / f"{name}.txt"))
        Path(names[-1]).write_text("\n".join(part) + "\n")
    precision = PrecisionRequest(("fp32", "int8"), calibration=names[0], evaluation=names[1], allow_degraded=True)
    request = ExportRequest(str(folder), output=str(root / "out"), targets=TARGETS, precision=precision)
    project = torch.nn.functional.linear
    weight = dense(12, 32)[1]["linear.weight"]
    reference = Reference(folder, "[unused0]", "[unused1]", (24, 20), project=lambda x: project(x, weight))
    return export(request).artifact, reference


def check(artifact: Artifact, reference: Reference, tolerance: float = TOLERANCE) -> None:
    """Every float32 variant: all texts at once, as padded batches."""
    for variant in artifact.manifest.variants:
        limit = tolerance if variant.precision == "fp32" else 0.2
        with runtimes.load(artifact.folder, variant.name) as model:
            for texts, is_query in ((QUERIES, True), (DOCUMENTS, False)):
                found = model.encode_query(texts) if is_query else model.encode_document(iter(texts))
                for text, vectors in zip(texts, found, strict=True):
                    expected = reference.encode(text, is_query)
                    np.testing.assert_allclose(vectors, expected, atol=limit, err_msg=f"{variant.name} {text[:20]}")


def test_stanford_s_layout_in_every_variant(stanford: tuple[Artifact, Reference]) -> None:
    artifact, reference = stanford
    assert artifact.manifest.task == "late-interaction"
    assert [port.name for port in artifact.manifest.inputs] == ["input_ids", "attention_mask"]
    assert [port.to_dict()["axes"] for port in artifact.manifest.outputs] == [["batch_size", "sequence_length", 12]]
    assert artifact.manifest.model_max_length == 20
    assert {variant.precision for variant in artifact.manifest.variants} == {"fp32", "int8"}
    check(artifact, reference)


def test_rank_and_similarity(stanford: tuple[Artifact, Reference]) -> None:
    artifact, reference = stanford
    queries = [reference.encode(text, True) for text in QUERIES]
    documents = [reference.encode(text, False) for text in DOCUMENTS]
    expected = np.array([[score(query, document) for document in documents] for query in queries])
    with runtimes.load(artifact.folder) as model:
        found = model.similarity(model.encode_query(QUERIES), model.encode_document(DOCUMENTS))
        np.testing.assert_allclose(found, expected, atol=1e-4)
        ranked = model.rank(QUERIES[1], DOCUMENTS, top_k=3, return_documents=True)
        order = np.argsort(-expected[1])[:3]
        assert [one.corpus_id for one in ranked] == order.tolist()
        assert [one.text for one in ranked] == [DOCUMENTS[index] for index in order]
        np.testing.assert_allclose([one.score for one in ranked], expected[1][order], atol=1e-4)
        (long,) = model.rank("hello", ["a b " * 30])
        assert long.truncated
        (shown,) = model([DOCUMENTS[1]])
        assert shown.tokens == ("[CLS]", "[unused1]", "the", "town", "a", "river", "[SEP]")  # no punctuation
    printed = predict(artifact.folder, list(DOCUMENTS), RunOptions(query=QUERIES[1], top_k=2))
    assert [one.to_dict()["corpus_id"] for one in printed] == order[:2].tolist()
    with pytest.raises(UsageError, match="--top-k has no meaning for late-interaction"):
        predict(artifact.folder, ["a"], RunOptions(top_k=2))


def test_settings_are_pylate_s_and_must_be_there(stanford: tuple[Artifact, Reference], tmp_path: Path) -> None:
    artifact, _ = stanford
    path = artifact.folder / "config_sentence_transformers.json"
    values = json.loads(path.read_text())
    assert (values["query_length"], values["document_length"]) == (24, 20)
    assert (values["query_prefix"], values["model_type"]) == ("[unused0]", "ColBERT")
    assert not (artifact.folder / "modules.json").exists()
    shutil.copytree(artifact.folder, tmp_path / "copy")
    (tmp_path / "copy" / path.name).write_text("[]".ljust(path.stat().st_size))
    with pytest.raises(ArtifactError, match="does not say how queries and documents are read"):
        runtimes.load(tmp_path / "copy", check_hashes=False)


def test_pylate_with_residuals_expansion_that_is_seen_and_prompts(tmp_path: Path) -> None:
    layers = (
        dense(24, 32, 1, bias=True, activation_function="torch.nn.modules.activation.GELU", use_residual=True),
        dense(24, 24, 2, use_residual=True),
    )
    folder = save_pylate(
        tmp_path / "pylate", *layers, query_prefix="[unused0]", document_prefix="", query_length=16,
        document_length=30, attend_to_expansion_tokens=True, skiplist_words=["the", "nowhere"],
        prompts={"a": "find "}, default_prompt_name=None,
    )  # fmt: skip

    def project(x: torch.Tensor) -> torch.Tensor:
        first = linear(layers[0], x) + torch.nn.functional.linear(x, layers[0][1]["residual.weight"])
        return linear(layers[1], first) + first

    options = {"attend": True, "skip": ["the", "nowhere"], "project": project}
    reference = Reference(folder, "[unused0]", "", (16, 30), **options)
    artifact = export(ExportRequest(str(folder), output=str(tmp_path / "out"), targets=TARGETS)).artifact
    check(artifact, reference)
    with runtimes.load(artifact.folder) as model:
        (vectors,) = model.encode_query(["paris"], prompt_name="a")
        np.testing.assert_allclose(vectors, reference.encode("find paris", True), atol=TOLERANCE)


def test_what_has_no_trained_vectors_is_refused(tmp_path: Path) -> None:
    def refusal(kind: type[Exception], folder: Path, task: str = "auto", full: bool = False, **options: Any) -> str:
        request = ExportRequest(str(folder), task, str(tmp_path / "out"), **options)
        with pytest.raises(kind) as caught:
            export(request) if full else check_export(request)
        return str(caught.value)

    without = save_pylate(tmp_path / "without")
    assert "has no Dense" in refusal(CheckpointError, without)
    assert "no trained projection" in refusal(UsageError, save_bert(tmp_path / "bert"), "late-interaction")
    other = save_pylate(tmp_path / "other", dense(8, 32))
    assert "the marker '[Q] ' of other is no token" in refusal(CheckpointError, other, full=True)
    assert "--normalize" in refusal(UsageError, other, normalize=True)
    assert "is for late-interaction; leave --task out" in refusal(UsageError, other, "sentence-similarity")
    pytest.importorskip("onnxruntime_extensions")
    assert "other markers into queries" in refusal(UsageError, other, text_input=True)


def test_defaults_are_pylate_s() -> None:
    settings = LateInteraction.from_dict({"query_length": None, "unknown": 3})
    assert (settings.query_prefix, settings.query_length, settings.document_length) == ("[Q] ", 32, 180)
    assert LateInteraction.from_dict(settings.to_dict()) == settings
