"""OpenSearch's functions beside dense vectors: its translators, written down again, give the artifact's results."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from export_samples import WORDS, save_checkpoint
from tokenizers import Tokenizer

import runtimes
from bert_onnx.artifact import Artifact
from bert_onnx.errors import UsageError
from bert_onnx.tasks import Port
from export.hosts.host import Subject
from export.hosts.opensearch_graphs import sparse_notes
from export.hosts.package import package
from export.hosts.table import find_host
from export.pipeline import export
from export.request import ExportRequest

_PLAIN = [word for word in WORDS if word.isalpha()]
#: One word, several, and more than the 40 tokens that the models read.
TEXTS = [_PLAIN[0], " ".join(_PLAIN[:7]), " ".join(_PLAIN * 9)]
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("opensearch")
    made = {}
    for task, checkpoint in (("sparse-embedding", "fill-mask"), ("text-ranking", "text-ranking")):
        source = save_checkpoint(folder / f"{task}-checkpoint", checkpoint)
        made[task] = export(ExportRequest(str(source), task, output=str(folder / task))).artifact.folder
    return made


def _unzip(folder: Path, target: Path) -> tuple[dict[str, Any], Tokenizer, onnxruntime.InferenceSession]:
    """What it registers and loads: one graph, and the tokenizer, which cuts by itself at 512 tokens at most."""
    request = json.loads((folder / "register.json").read_text())
    content = (folder / "model.zip").read_bytes()
    assert hashlib.sha256(content).hexdigest() == request["model_content_hash_value"]
    with zipfile.ZipFile(folder / "model.zip") as archive:
        archive.extractall(target)
    tokenizer = Tokenizer.from_file(str(target / "tokenizer.json"))
    return request, tokenizer, onnxruntime.InferenceSession(str(target / "model.onnx"))


def _predict(session: onnxruntime.InferenceSession, arrays: list[list[int]]) -> np.ndarray:
    """DJL: arrays by their positions, stacked to a batch of one; the only output, without that batch."""
    ports = session.get_inputs()
    assert len(session.get_outputs()) == 1
    feed = {port.name: np.array([array]) for port, array in zip(ports, arrays, strict=True)}
    return session.run(None, feed)[0][0]


def test_sparse_weights_by_words(artifacts: dict[str, Path], tmp_path: Path) -> None:
    """`SparseEncodingTranslator`: two arrays in; indices that are not 0, decoded one at a time."""
    report = package(artifacts["sparse-embedding"], "opensearch", tmp_path / "package")
    request, tokenizer, session = _unzip(report.folder, tmp_path / "opened")
    assert request["function_name"] == "SPARSE_ENCODING"
    assert "model_config" not in request  # TextEmbeddingModel.warmUp would cast it to another class
    assert [port.name for port in session.get_inputs()] == ["input_ids", "attention_mask"]
    with runtimes.load(artifacts["sparse-embedding"]) as model:
        wanted = model.embed_sparse(TEXTS)
    unnamed = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", None}  # None: the vocabulary is smaller than the model's
    for text, embedding in zip(TEXTS, wanted, strict=True):
        encoding = tokenizer.encode(text)
        weights = _predict(session, [encoding.ids, encoding.attention_mask])
        words = {tokenizer.decode([int(index)]): weights[index] for index in np.flatnonzero(weights)}
        words.pop("", None)
        truth = {token: weight for token, weight in embedding.top() if token not in unnamed}
        assert words.keys() == truth.keys() != set()
        assert max(abs(words[word] - truth[word]) for word in truth) <= TOLERANCE
    assert "special tokens" in " ".join(report.notes)


def test_tokens_that_are_written_alike_are_counted(tmp_path: Path) -> None:
    vocabulary = [["<unk>", 0.0], ["▁the", -1.0], ["the", -2.0], ["▁a", -3.0]]
    document = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": None, "post_processor": None,
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "model": {"type": "Unigram", "unk_id": 0, "vocab": vocabulary, "byte_fallback": False},
    }  # fmt: skip
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    notes = sparse_notes("OpenSearch", tmp_path / "tokenizer.json")
    assert "1 tokens of this vocabulary are written like others" in notes[1]


@pytest.mark.parametrize("activation", ["Sigmoid", "Identity"])
def test_scores_of_pairs(artifacts: dict[str, Path], tmp_path: Path, activation: str) -> None:
    """`TextSimilarityTranslator`: three arrays in, the model's own score out, whatever makes it of the logit."""
    source = Artifact.open(artifacts["text-ranking"])
    manifest = source.manifest
    subject = Subject(
        source.folder,
        replace(manifest, options=replace(manifest.options, activation_fn=activation)),
        manifest.variant(),
    )
    find_host("opensearch").check(subject)
    made = find_host("opensearch").write(subject, tmp_path)
    assert made.difference is not None
    request, tokenizer, session = _unzip(tmp_path, tmp_path / "opened")
    assert request["function_name"] == "TEXT_SIMILARITY"
    assert request["model_config"]["framework_type"] == "huggingface_transformers"
    with runtimes.load(source.folder) as model:
        wanted = model.predict([(TEXTS[1], text) for text in TEXTS], activation_fn=activation)
    scores = []
    for text in TEXTS:
        encoding = tokenizer.encode(TEXTS[1], text)
        scores.append(_predict(session, [encoding.ids, encoding.attention_mask, encoding.type_ids]))
    assert np.abs(np.concatenate(scores) - np.ravel(wanted)).max() <= TOLERANCE


def test_one_score_a_pair(artifacts: dict[str, Path]) -> None:
    manifest = Artifact.open(artifacts["text-ranking"]).manifest
    classes = replace(manifest, outputs=(Port("logits", "float32", ("batch_size", 3)),))
    with pytest.raises(UsageError, match="reads one score of a pair, and this model has 3"):
        find_host("opensearch").check(Subject(artifacts["text-ranking"], classes, classes.variant()))
    typed = replace(manifest, inputs=(*manifest.inputs, Port("prompt_length", "int64", ())))
    with pytest.raises(UsageError, match="reads prompt_length, too"):
        find_host("opensearch").check(Subject(artifacts["text-ranking"], typed, typed.variant()))
