"""Packages for hosts: what each computes, written down here again from its source, gives the artifact's vectors."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import onnxruntime
import pytest
import torch
from artifact_builders import make_variant
from export_samples import WORDS, save_checkpoint
from repository import ROOT
from safetensors.torch import save_file
from tokenizers import Tokenizer
from toy_artifacts import publish_toy

import runtimes
from bert_onnx.artifact import Artifact
from bert_onnx.cli.main import main
from bert_onnx.errors import ArtifactError, UsageError, VerificationError
from bert_onnx.tasks import Port
from export.hosts.host import Embedder
from export.hosts.package import check_host, package
from export.hosts.table import HOSTS, find_host
from export.pipeline import export
from export.request import ExportRequest

_PLAIN = [word for word in WORDS if word.isalpha()]
#: One word, several, and more than the 20 tokens that the models read.
TEXTS = [_PLAIN[0], " ".join(_PLAIN[:7]), " ".join(_PLAIN * 5)]
QUERY, DOCUMENT = f"{_PLAIN[1]} {_PLAIN[2]}", _PLAIN[3]
#: A batch with padding is other matrix products than a text at a time.
TOLERANCE = 1e-5


def _save_chain(folder: Path) -> Path:
    """Mean pooling, a Dense layer, vectors cut to 12 values, and prompts: as sentence-transformers saves them."""
    save_checkpoint(folder, "feature-extraction")
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Dense": "Dense"}
    files: dict[str, Any] = {
        "modules.json": [
            {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for place, (path, kind) in enumerate(kinds.items())
        ],
        "sentence_bert_config.json": {"max_seq_length": 20, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "prompts": {"query": f"{QUERY} ", "document": f"{DOCUMENT} "},
            "similarity_fn_name": "cosine",
            "truncate_dim": 12,
        },
        "1_Pooling/config.json": {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True},
        "2_Dense/config.json": {
            "in_features": 32, "out_features": 16, "bias": True,
            "activation_function": "torch.nn.modules.activation.Tanh",
        },
    }  # fmt: skip
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    torch.manual_seed(0)
    save_file(
        {"linear.weight": torch.randn(16, 32), "linear.bias": torch.randn(16)}, folder / "2_Dense" / "model.safetensors"
    )
    return folder


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """`cls`: by CLS, scaled to length 1; `chain`: see `_save_chain`."""
    folder = tmp_path_factory.mktemp("hosts")
    plain = save_checkpoint(folder / "plain", "feature-extraction")
    asked = {
        "cls": ExportRequest(
            str(plain), "sentence-similarity", output=str(folder / "cls"), pooling="cls", normalize=True
        ),
        "chain": ExportRequest(str(_save_chain(folder / "st")), output=str(folder / "chain")),
    }
    return {name: export(request).artifact.folder for name, request in asked.items()}


def _session(folder: Path) -> onnxruntime.InferenceSession:
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["last_hidden_state"]
    return session


def _feed(session: onnxruntime.InferenceSession, rows: list[Any]) -> dict[str, np.ndarray]:
    given = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
    return {port.name: np.array([getattr(row, given[port.name]) for row in rows]) for port in session.get_inputs()}


def spring_ai(folder: Path, texts: list[str]) -> np.ndarray:
    """`call` and `meanPooling` of TransformersEmbeddingModel, with the tokenizer of application.properties."""
    properties = dict(
        line.split("=") for line in (folder / "application.properties").read_text().splitlines() if "=" in line
    )
    option = "spring.ai.embedding.transformer.tokenizer.options."
    assert properties[f"{option}padding"] == properties[f"{option}truncation"] == "true"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert tokenizer.truncation["max_length"] == int(properties[f"{option}maxLength"])
    session = _session(folder)
    inputs = _feed(session, tokenizer.encode_batch(texts))
    states = session.run([properties["spring.ai.embedding.transformer.onnx.modelOutputName"]], inputs)[0]
    mask = np.broadcast_to(inputs["attention_mask"][..., None], states.shape).astype(np.float32)
    return (states * mask).sum(1) / np.clip(mask.sum(1), 1e-9, None)


def langchain4j(folder: Path, texts: list[str], pooling: str) -> np.ndarray:
    """`embed` of OnnxBertBiEncoder: tokens, a text made of them again, the first output, pooled and scaled."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    session, vectors = _session(folder), []
    for text in texts:
        tokens = tokenizer.encode(text).tokens
        assert len(tokens) <= 512  # else it averages partitions
        again = " ".join(tokens[1:-1]).replace(" ##", "").strip()
        assert tokenizer.encode(again).tokens == tokens
        states = session.run(None, _feed(session, [tokenizer.encode(again)]))[0][0]
        pooled = states[0] if pooling == "CLS" else states.mean(0)
        vectors.append(pooled / np.sqrt((pooled * pooled).sum()))
    return np.array(vectors)


def vespa(folder: Path, texts: list[str], destination: str = "") -> np.ndarray:
    """`embed` of HuggingFaceEmbedder, with the options of the component."""
    component = ElementTree.fromstring((folder / "services-component.xml").read_text())
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    if tokenizer.truncation is None:
        tokenizer.enable_truncation(int(component.findtext("max-tokens") or 512))
    prompt = component.findtext(f"prepend/{destination}") if destination else None
    session, vectors = _session(folder), []
    assert len(session.get_inputs()) <= 3
    for text in texts:
        inputs = _feed(session, [tokenizer.encode(f"{prompt} {text}" if prompt else text)])
        states = session.run([component.findtext("transformer-output")], inputs)[0]
        assert states.ndim == 3
        vector = states[0, 0] if component.findtext("pooling-strategy") == "cls" else states[0].mean(0)
        vectors.append(vector / np.linalg.norm(vector) if component.findtext("normalize") == "true" else vector)
    return np.array(vectors)


HOST_CASES: dict[str, tuple[str, Callable[[Path, list[str]], np.ndarray]]] = {
    "spring-ai": ("spring-ai", spring_ai),
    "langchain4j, CLS": ("langchain4j", lambda folder, texts: langchain4j(folder, texts, "CLS")),
    "langchain4j, MEAN": ("langchain4j", lambda folder, texts: langchain4j(folder, texts, "MEAN")),
    "vespa": ("vespa", vespa),
}


@pytest.mark.parametrize("model", ["cls", "chain"])
@pytest.mark.parametrize("case", HOST_CASES)
def test_the_host_gives_the_vectors_of_the_artifact(
    artifacts: dict[str, Path], tmp_path: Path, case: str, model: str
) -> None:
    host, emulated = HOST_CASES[case]
    report = package(artifacts[model], host, tmp_path / "package")
    with runtimes.load(artifacts[model]) as opened:
        wanted = opened.embed(TEXTS)
    if find_host(host).scales:
        wanted = wanted / np.linalg.norm(wanted, axis=1, keepdims=True)
    got = emulated(report.folder, TEXTS)
    assert got.shape == wanted.shape == (3, 32 if model == "cls" else 12)
    assert np.abs(got - wanted).max() <= TOLERANCE
    assert report.difference <= TOLERANCE
    assert report.files == {path.name: path.stat().st_size for path in report.folder.iterdir()}
    assert [path.name for path in tmp_path.iterdir()] == ["package"]


def test_prompts_are_in_the_package_or_in_a_note(artifacts: dict[str, Path], tmp_path: Path) -> None:
    report = package(artifacts["chain"], "vespa", tmp_path / "vespa")
    with runtimes.load(artifacts["chain"]) as opened:
        for destination in ("query", "document"):
            wanted = opened.embed(TEXTS, prompt_name=destination)
            assert np.abs(vespa(report.folder, TEXTS, destination) - wanted).max() <= TOLERANCE
    for host in ("spring-ai", "langchain4j"):
        notes = " ".join(package(artifacts["chain"], host, tmp_path / host).notes)
        assert repr(f"{QUERY} ") in notes
        assert repr(f"{DOCUMENT} ") in notes


def _altered(artifact: Path, **changes: Any) -> Embedder:
    """What is known of an artifact whose manifest has other settings of sentences, or other fields."""
    manifest = Artifact.open(artifact).manifest
    fields = {name: value for name, value in changes.items() if hasattr(manifest, name)}
    settings = {name: value for name, value in changes.items() if name not in fields}
    altered = replace(manifest, sentence=replace(manifest.sentence, **settings), **fields)
    return Embedder(artifact, altered, altered.variant())


_IDS = Port("input_ids", "int64", ("batch_size", "sequence_length"))


@pytest.mark.parametrize(
    ("host", "changes", "rule"),
    [
        ("langchain4j", {"similarity_fn_name": "dot"}, "scales every vector to length 1"),
        ("vespa", {"prompts": {"query": "a:", "document": "b: "}}, "puts one space after a prompt"),
        ("vespa", {"prompts": {"document": "b: "}}, "puts the prompt of documents before queries"),
        ("spring-ai", {"outputs": (), "task": "fill-mask"}, "an artifact of fill-mask has none; export"),
        ("spring-ai", {"inputs": (_IDS, Port("prompt_length", "int64", ()))}, "reads prompt_length, too"),
        ("vespa", {"variants": (make_variant(),)}, None),
        ("vespa", {"variants": (replace(make_variant(), target="ort-cuda"),)}, "model is for ort-cuda; choose"),
    ],
)
def test_rules_that_a_model_breaks(
    artifacts: dict[str, Path], host: str, changes: dict[str, Any], rule: str | None
) -> None:
    with nullcontext() if rule is None else pytest.raises(UsageError, match=rule):
        check_host(find_host(host), _altered(artifacts["chain"], **changes))


def test_other_tokenizers_are_no_wordpiece(artifacts: dict[str, Path], tmp_path: Path) -> None:
    embedder = _altered(artifacts["cls"])
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "Unigram"}}')
    with pytest.raises(UsageError, match="this tokenizer is Unigram"):
        find_host("langchain4j").check(Embedder(tmp_path, embedder.manifest, embedder.variant))


def test_an_artifact_without_tokenizer_json_is_refused(tmp_path: Path) -> None:
    toy = publish_toy(tmp_path / "toy")
    for host in HOSTS:
        with pytest.raises(UsageError, match=r"reads tokenizer\.json, which this artifact lacks"):
            package(toy, host)
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]


def test_the_command(artifacts: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["package", str(artifacts["cls"]), "--for", "vespa", "--output", str(tmp_path / "new" / "out")]
    assert main([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["files"]) == {"model.onnx", "tokenizer.json", "services-component.xml"}
    assert main(words) == 8
    assert "exists; choose another --output" in capsys.readouterr().err
    assert main([*words[:3], "nowhere"]) == 2
    assert f"choose from {', '.join(HOSTS)}" in capsys.readouterr().err


def test_nothing_is_left_of_a_package_that_fails(
    artifacts: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.hosts.compare.TOLERANCE", -1.0)
    with pytest.raises(VerificationError, match="differs from the artifact's vectors"):
        package(artifacts["cls"], "spring-ai", tmp_path / "out")
    assert not [path for path in tmp_path.iterdir() if not path.name.endswith(".lock")]


def test_other_variants_are_refused_by_name(artifacts: dict[str, Path]) -> None:
    with pytest.raises(ArtifactError, match="no variant 'model_int9'"):
        package(artifacts["cls"], "spring-ai", variant="model_int9")


def test_the_page_and_the_help_have_every_host() -> None:
    page = (ROOT / "docs" / "package.md").read_text(encoding="utf-8")
    for host in HOSTS.values():
        assert f"| `{host.name}` | {host.rules} | [source]({host.source}) |" in page
    assert ", ".join(HOSTS) in (ROOT / "bert_onnx" / "cli" / "package.py").read_text(encoding="utf-8")
