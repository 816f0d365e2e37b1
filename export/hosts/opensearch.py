"""OpenSearch's ML Commons: a zip of graph and tokenizer, registered with its hash; a config pools and scales."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

from export.hosts.embedder import GRAPH_NAME, check_embedder, first_token, write_embedder
from export.hosts.host import Host, Made, Subject, prompt_notes
from export.hosts.tokenizer import TOKENIZER_NAME, write_tokenizer

_TITLE = "OpenSearch"
_ZIP_NAME = "model.zip"
#: Tokens that the tokenizer of DJL, which it uses, cuts to at most.
_LONGEST = 512
#: Of the same files the same zip, and so the same hash: the oldest time that a zip can hold.
_TIME = (1980, 1, 1, 0, 0, 0)


def _write(subject: Subject, folder: Path) -> Made:
    """model.zip, and register.json, the body of the request that registers it."""
    write_tokenizer(subject, folder, truncate=True, pad=True)
    difference = write_embedder(_TITLE, subject, folder, first_token)
    path = folder / _ZIP_NAME
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in (GRAPH_NAME, TOKENIZER_NAME):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            with open(folder / name, "rb") as source, archive.open(entry, "w", force_zip64=True) as target:
                while block := source.read(1 << 20):
                    target.write(block)
            (folder / name).unlink()
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    body = json.dumps(_request(subject, digest, path.stat().st_size), indent=2) + "\n"
    (folder / "register.json").write_text(body, encoding="utf-8", newline="\n")
    notes = ["POST register.json to /_plugins/_ml/models/_register, with your model_group_id and the url of model.zip."]
    if subject.longest > _LONGEST:
        notes.append(f"{_TITLE} cuts texts at {_LONGEST} tokens, where the model reads {subject.longest}.")
    return Made(difference, (*notes, *prompt_notes(_TITLE, subject)))


def _request(subject: Subject, digest: str, size: int) -> dict[str, object]:
    config = json.loads((subject.folder / "config.json").read_text(encoding="utf-8"))
    return {
        "name": subject.folder.resolve().name,
        "version": "1.0.0",
        "function_name": "TEXT_EMBEDDING",
        "model_format": "ONNX",
        "model_group_id": "<your group>",
        "model_content_size_in_bytes": size,
        "model_content_hash_value": digest,
        "model_config": {
            # not the architecture: it feeds token_type_ids where this says bert or albert, and only there
            "model_type": "bert" if subject.has_token_types else "distilbert",
            "embedding_dimension": subject.width,
            "framework_type": "sentence_transformers",
            "pooling_mode": "CLS",
            "normalize_result": subject.has_length_one,
            "all_config": json.dumps(config),
        },
        "url": "<where model.zip can be fetched>",
    }


OPENSEARCH = Host(
    name="opensearch",
    title=_TITLE,
    source=(
        "https://github.com/opensearch-project/ml-commons/blob/main/ml-algorithms/src/main/java/org/opensearch/ml/"
        "engine/algorithms/text_embedding/ONNXSentenceTransformerTextEmbeddingTranslator.java"
    ),
    rules="a zip with its sha256; tensors by position; pooling, scaling and token types by the registered config",
    check=lambda subject: check_embedder(_TITLE, subject),
    write=_write,
)
