"""OpenSearch's ML Commons: a zip of graph and tokenizer, registered with its hash, for one function by the task."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

from export.hosts.embedder import GRAPH_NAME, check_embedder, check_tokens, first_token, write_embedder
from export.hosts.host import Host, Made, Subject, prompt_notes, refuse
from export.hosts.tokenizer import TOKENIZER_NAME, write_tokenizer

_TITLE = "OpenSearch"
_ZIP_NAME = "model.zip"
#: Its functions beside that of dense vectors, by the tasks of artifacts.
_FUNCTIONS = {"sparse-embedding": "SPARSE_ENCODING", "text-ranking": "TEXT_SIMILARITY"}
_DENSE = "TEXT_EMBEDDING"
#: Tokens that the tokenizer of DJL, which it uses, cuts to at most.
_LONGEST = 512
#: Of the same files the same zip, and so the same hash: the oldest time that a zip can hold.
_TIME = (1980, 1, 1, 0, 0, 0)


def _check(subject: Subject) -> None:
    if subject.manifest.task not in _FUNCTIONS:
        check_embedder(_TITLE, subject)
        return
    check_tokens(_TITLE, subject)
    labels = subject.manifest.outputs[0].axes[-1]
    if subject.manifest.task == "text-ranking" and labels != 1:
        raise refuse(_TITLE, f"reads one score of a pair, and this model has {labels}", "let bert-onnx serve run it")


def _write(subject: Subject, folder: Path) -> Made:
    """model.zip, and register.json, the body of the request that registers it."""
    function = _FUNCTIONS.get(subject.manifest.task, _DENSE)
    write_tokenizer(subject, folder, truncate=True, pad=True)
    difference, notes = _write_graph(function, subject, folder)
    path = folder / _ZIP_NAME
    _pack(folder, path)
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    request = {
        "name": subject.folder.resolve().name,
        "version": "1.0.0",
        "function_name": function,
        "model_format": "ONNX",
        "model_group_id": "<your group>",
        "model_content_size_in_bytes": path.stat().st_size,
        "model_content_hash_value": digest,
        **_model_config(function, subject),
        "url": "<where model.zip can be fetched>",
    }
    (folder / "register.json").write_text(json.dumps(request, indent=2) + "\n", encoding="utf-8", newline="\n")
    way = "POST register.json to /_plugins/_ml/models/_register, with your model_group_id and the url of model.zip."
    if subject.longest > _LONGEST:
        notes = (*notes, f"{_TITLE} cuts texts at {_LONGEST} tokens, where the model reads {subject.longest}.")
    return Made(difference, (way, *notes, *prompt_notes(_TITLE, subject)))


def _write_graph(function: str, subject: Subject, folder: Path) -> tuple[float, tuple[str, ...]]:
    from export.hosts import opensearch_graphs

    if function == "SPARSE_ENCODING":
        difference = opensearch_graphs.write_sparse(_TITLE, subject, folder)
        return difference, opensearch_graphs.sparse_notes(_TITLE, folder / TOKENIZER_NAME)
    if function == "TEXT_SIMILARITY":
        return opensearch_graphs.write_ranking(_TITLE, subject, folder), ()
    return write_embedder(_TITLE, subject, folder, first_token), ()


def _pack(folder: Path, path: Path) -> None:
    """Move graph and tokenizer into the zip `path`."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in (GRAPH_NAME, TOKENIZER_NAME):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            with open(folder / name, "rb") as source, archive.open(entry, "w", force_zip64=True) as target:
                while block := source.read(1 << 20):
                    target.write(block)
            (folder / name).unlink()


def _model_config(function: str, subject: Subject) -> dict[str, Any]:
    """model_config, as a part of the request: SPARSE_ENCODING must have none, the others need one."""
    if function == "SPARSE_ENCODING":  # it casts any to another class, and fails
        return {}
    config = json.loads((subject.folder / "config.json").read_text(encoding="utf-8"))
    common = {
        # not the architecture: it feeds token_type_ids where this says bert or albert, and only there
        "model_type": "bert" if subject.has_token_types else "distilbert",
        "all_config": json.dumps(config),
    }
    if function == "TEXT_SIMILARITY":
        own: dict[str, Any] = {"embedding_dimension": 1, "framework_type": "huggingface_transformers"}
    else:
        own = {
            "embedding_dimension": subject.width,
            "framework_type": "sentence_transformers",
            "pooling_mode": "CLS",
            "normalize_result": subject.has_length_one,
        }
    return {"model_config": common | own}


OPENSEARCH = Host(
    name="opensearch",
    title=_TITLE,
    source=(
        "https://github.com/opensearch-project/ml-commons/tree/main/ml-algorithms/src/main/java/org/opensearch/ml/"
        "engine/algorithms"
    ),
    rules="a zip with its sha256; tensors by position, two of them for sparse vectors; the config pools and scales",
    check=_check,
    write=_write,
)
