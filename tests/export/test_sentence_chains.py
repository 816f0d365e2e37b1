"""Chains of sentence-transformers, saved by the library: exported, and each variant against its own encode()."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from export_samples import WORDS, save_checkpoint, write_texts

import runtimes
from bert_onnx.artifact import Artifact
from bert_onnx.errors import UsageError
from export.pipeline import export
from export.request import ExportRequest, PrecisionRequest

pytestmark = pytest.mark.long

sentence_transformers = pytest.importorskip("sentence_transformers", reason="the bench extra has it")
models: Any = pytest.importorskip("sentence_transformers.models")

_PLAIN = [word for word in WORDS if word.isalpha()]
TEXTS = [_PLAIN[0], " ".join(_PLAIN[:9]), " ".join(_PLAIN[3:6] * 4), " ".join(_PLAIN * 9)]
PROMPTS = {"query": f"{_PLAIN[1]} {_PLAIN[2]} ", "task": " ".join(_PLAIN[:5])}
TARGETS = ("portable", "ort-cpu", "ort-cpu-unpadded")
TOLERANCE = 2e-5
ALL = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")


def pooling(*modes: str, **options: Any) -> Any:
    return models.Pooling(32, pooling_mode=modes if len(modes) > 1 else modes[0], **options)


def dense(size: int, into: int, activation: str, **options: Any) -> Any:
    return models.Dense(size, into, activation_function=getattr(torch.nn, activation)(), **options)


def norm(size: int) -> Any:
    layer = models.LayerNorm(size)
    torch.nn.init.normal_(layer.norm.weight, 1.0, 0.3)
    torch.nn.init.normal_(layer.norm.bias, 0.0, 0.3)
    return layer


CHAINS: dict[str, Callable[[], list[Any]]] = {
    "every mode": lambda: [pooling(*ALL), models.Normalize()],
    "joined in an order of its own": lambda: [pooling("mean", "cls")],
    "several": lambda: [pooling("mean"), dense(32, 24, "Tanh"), dense(24, 16, "GELU", bias=False), models.Normalize()],
    "between": lambda: [pooling("mean"), models.Normalize(), dense(32, 48, "GELU"), norm(48), models.Dropout(0.5)],
    "on tokens": lambda: [dense(32, 40, "SiLU", module_input_name="token_embeddings"), models.Pooling(40, "max")],
    "without the prompt": lambda: [pooling(*ALL, include_prompt=False), dense(192, 32, "PReLU"), models.Normalize()],
}


def save(folder: Path, chain: list[Any], **options: Any) -> Path:
    inner = save_checkpoint(folder / "inner", "feature-extraction")
    reader = models.Transformer(str(inner), max_seq_length=24)
    sentence_transformers.SentenceTransformer(modules=[reader, *chain], device="cpu", **options).save(
        str(folder / "st")
    )
    return folder / "st"


def largest(first: Any, second: Any) -> float:
    assert first.shape == second.shape
    return float(np.abs(np.asarray(first) - np.asarray(second)).max())


@pytest.mark.parametrize("name", CHAINS)
def test_every_variant_gives_what_encode_gives(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    folder = save(tmp_path, CHAINS[name](), prompts=PROMPTS)
    artifact = export(ExportRequest(str(folder), output=str(tmp_path / "out"), targets=TARGETS)).artifact
    theirs = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    for variant in artifact.manifest.variants:
        with runtimes.load(artifact.folder, variant.name) as model:
            assert largest(model.embed(TEXTS), theirs.encode(TEXTS)) < TOLERANCE
            assert largest(model.encode_query(TEXTS), theirs.encode_query(TEXTS)) < TOLERANCE
            assert largest(model.encode_document(TEXTS), theirs.encode_document(TEXTS)) < TOLERANCE
            for prompt in (PROMPTS["task"], _PLAIN[0] + " ", " ".join(_PLAIN * 9)):
                assert largest(model.embed(TEXTS, prompt=prompt), theirs.encode(TEXTS, prompt=prompt)) < TOLERANCE
    check_opened_by_the_library(artifact, theirs)


def check_opened_by_the_library(artifact: Artifact, theirs: Any) -> None:
    pytest.importorskip("optimum.onnxruntime")
    options = {"provider": "CPUExecutionProvider", "file_name": "onnx/model.onnx"}
    opened = sentence_transformers.SentenceTransformer(
        str(artifact.folder), backend="onnx", device="cpu", model_kwargs=options
    )
    assert opened.prompts == theirs.prompts
    assert opened.max_seq_length == theirs.max_seq_length == artifact.manifest.model_max_length
    for options in ({}, {"prompt_name": "task"}):
        assert largest(opened.encode(TEXTS, **options), theirs.encode(TEXTS, **options)) < TOLERANCE


def test_settings_of_the_checkpoint_are_applied(tmp_path: Path) -> None:
    torch.manual_seed(0)
    settings = {"prompts": PROMPTS, "default_prompt_name": "task", "similarity_fn_name": "manhattan", "truncate_dim": 7}
    folder = save(tmp_path, [pooling("mean"), models.Normalize()], **settings)
    artifact = export(ExportRequest(str(folder), output=str(tmp_path / "out"))).artifact
    theirs = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    with runtimes.load(artifact.folder) as model:
        ours = model.embed(TEXTS)
        assert largest(ours, theirs.encode(TEXTS)) < TOLERANCE
        assert ours.shape[1] == model.width() == 7
        assert largest(np.stack([one.vector for one in model(TEXTS)]), ours) < TOLERANCE
        assert largest(model.similarity(ours, ours[:2]), theirs.similarity(ours, ours[:2])) < TOLERANCE
        longer = model.embed(TEXTS, truncate_dim=20, normalize_embeddings=True)
        assert largest(longer, theirs.encode(TEXTS, truncate_dim=20, normalize_embeddings=True)) < TOLERANCE
        assert model.embed([]).shape == (0, 7)
    vectors = (artifact.folder / "vectors.json").read_text(encoding="utf-8")
    assert f'"prompt":"{PROMPTS["task"]}"' in vectors.partition("\n")[0]


def test_a_pooling_of_the_users_own_takes_the_place_of_the_chain(tmp_path: Path) -> None:
    torch.manual_seed(0)
    folder = save(tmp_path, [pooling("mean"), dense(32, 24, "Tanh")])
    request = ExportRequest(str(folder), output=str(tmp_path / "out"), pooling="lasttoken", normalize=True)
    artifact = export(request).artifact
    assert not list(artifact.folder.glob("*_Dense"))
    reader = models.Transformer(str(tmp_path / "inner"), max_seq_length=24)
    chain = [reader, pooling("lasttoken"), models.Normalize()]
    theirs = sentence_transformers.SentenceTransformer(modules=chain, device="cpu")
    with runtimes.load(artifact.folder) as model:
        assert largest(model.embed(TEXTS), theirs.encode(TEXTS)) < TOLERANCE
    opened = sentence_transformers.SentenceTransformer(str(artifact.folder), backend="onnx", device="cpu",
        model_kwargs={"provider": "CPUExecutionProvider", "file_name": "onnx/model.onnx"})  # fmt: skip
    assert largest(opened.encode(TEXTS), theirs.encode(TEXTS)) < TOLERANCE


def test_a_graph_that_takes_text_gets_the_prompt_from_the_pipeline(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime_extensions")
    torch.manual_seed(0)
    folder = save(tmp_path, [pooling("max", "mean")], prompts=PROMPTS, default_prompt_name="task", truncate_dim=50)
    artifact = export(ExportRequest(str(folder), output=str(tmp_path / "out"), text_input=True)).artifact
    assert [graph.prompt for graph in artifact.manifest.text_graphs] == [""]
    theirs = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    with runtimes.load(artifact.folder, text_input=True) as model:
        assert largest(model.embed(TEXTS), theirs.encode(TEXTS)) < TOLERANCE
        assert largest(model.encode_query(TEXTS), theirs.encode_query(TEXTS)) < TOLERANCE
        assert largest(np.stack([one.vector for one in model(TEXTS)]), theirs.encode(TEXTS)) < TOLERANCE


def test_a_graph_that_takes_text_cannot_leave_out_a_prompt(tmp_path: Path) -> None:
    folder = save(tmp_path, [pooling("mean", include_prompt=False)])
    with pytest.raises(UsageError, match=r"--text-input is not possible.*prompt"):
        export(ExportRequest(str(folder), output=str(tmp_path / "out"), text_input=True))


@pytest.mark.long
@pytest.mark.parametrize("name", ["on tokens", "without the prompt"])
def test_int8_and_openvino(name: str, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    torch.manual_seed(0)
    folder = save(tmp_path, CHAINS[name](), prompts=PROMPTS)
    texts = write_texts(tmp_path / "calibration.txt", 60, 1), write_texts(tmp_path / "held.txt", 60, 2)
    precision = PrecisionRequest(
        ("fp32", "int8"), isas=("avx2",), calibration=texts[0], evaluation=texts[1], allow_degraded=True
    )
    targets = ("ort-cpu", "ort-cpu-unpadded", "openvino", "openvino-unpadded")
    request = ExportRequest(str(folder), output=str(tmp_path / "out"), targets=targets, precision=precision)
    artifact = export(request).artifact
    theirs = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    for variant in artifact.manifest.variants:
        runtime = "openvino" if variant.target.startswith("openvino") else None
        with runtimes.load(artifact.folder, variant.name, runtime) as model:
            ours, expected = model.embed(TEXTS, prompt_name="task"), theirs.encode(TEXTS, prompt_name="task")
            if variant.precision == "fp32":
                assert largest(ours, expected) < 5 * TOLERANCE
            else:
                cosines = (ours * expected).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(expected, axis=1)
                assert cosines.min() > 0.9
