"""Typesense: the plain mean of the first output [B, S, W], padding included; uncased BERT's tokenizer."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from export.hosts.embedder import GRAPH_NAME, check_embedder, plain_mean, write_embedder
from export.hosts.host import Host, Made, Subject, prompt_notes, refuse
from export.hosts.tokenizer import TOKENIZER_NAME

_TITLE = "Typesense"
_VOCABULARY = "vocab.txt"
#: Tokens that it feeds at most, whatever the model.
_LONGEST = 512
#: What its tokenizer does, whatever the model's does.
_UNCASED = {"clean_text": True, "handle_chinese_chars": True, "lowercase": True}


def _check(subject: Subject) -> None:
    check_embedder(_TITLE, subject)
    settings = json.loads((subject.folder / TOKENIZER_NAME).read_text(encoding="utf-8"))
    normalizer = settings.get("normalizer") or {}
    uncased = all(normalizer.get(name) == value for name, value in _UNCASED.items())
    way = "use a host that reads tokenizer.json, such as vespa or opensearch"
    if settings["model"].get("type") != "WordPiece" or not uncased or normalizer.get("strip_accents") is False:
        raise refuse(_TITLE, "tokenizes as uncased BERT does, and this model's tokenizer is another", way)
    if _VOCABULARY not in subject.manifest.files:
        raise refuse(_TITLE, f"reads {_VOCABULARY}, which this artifact lacks", way)
    longest = subject.manifest.config.longest_sequence
    if longest < _LONGEST:
        raise refuse(_TITLE, f"feeds up to {_LONGEST} tokens, and this model has {longest} positions", way)


def _write(subject: Subject, folder: Path) -> Made:
    """config.json with the md5 of model.onnx and of vocab.txt."""
    difference = write_embedder(_TITLE, subject, folder, plain_mean)
    shutil.copyfile(subject.folder / _VOCABULARY, folder / _VOCABULARY)
    config = {
        "model_type": "bert" if subject.has_token_types else "distilbert",
        "vocab_file_name": _VOCABULARY,
        "model_md5": _md5(folder / GRAPH_NAME),
        "vocab_md5": _md5(folder / _VOCABULARY),
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8", newline="\n")
    notes = ["Copy the folder into <data-dir>/models/; a field's model_config names it by model_name."]
    if subject.longest < _LONGEST:
        notes.append(f"{_TITLE} cuts texts at {_LONGEST} tokens, and not at the model's {subject.longest}.")
    return Made(difference, (*notes, *prompt_notes(_TITLE, subject)))


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


TYPESENSE = Host(
    name="typesense",
    title=_TITLE,
    source="https://github.com/typesense/typesense/blob/main/src/text_embedder.cpp",
    rules="`model.onnx`, `vocab.txt`, md5s in `config.json`; the mean of the first output over all places, padding too",
    check=_check,
    write=_write,
)
