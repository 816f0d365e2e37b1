"""LangChain4j's OnnxEmbeddingModel: first output, first token or mean, always scaled to length 1; a text at a time."""

from __future__ import annotations

import json
from pathlib import Path

from export.hosts.embedder import check_embedder, first_token, write_embedder
from export.hosts.host import Host, Made, Subject, prompt_notes, refuse
from export.hosts.tokenizer import TOKENIZER_NAME, write_tokenizer

_TITLE = "LangChain4j"
#: Tokens that the tokenizer of DJL, which it uses, cuts to at most.
_LONGEST = 512


def _check(subject: Subject) -> None:
    check_embedder(_TITLE, subject)
    similarity = subject.manifest.sentence.similarity_fn_name
    if not subject.has_length_one and similarity != "cosine":
        raise refuse(
            _TITLE,
            f"scales every vector to length 1, and this model compares its own by {similarity}, lengths included",
            "use a host that keeps them, such as vespa or spring-ai",
        )
    model = json.loads((subject.folder / TOKENIZER_NAME).read_text(encoding="utf-8"))["model"]
    if model.get("type") != "WordPiece" or model.get("continuing_subword_prefix") != "##":
        raise refuse(
            _TITLE,
            f"puts texts together again from WordPiece tokens, and this tokenizer is {model.get('type')}",
            "use a host that does not, such as vespa or spring-ai",
        )


def _write(subject: Subject, folder: Path) -> Made:
    write_tokenizer(subject, folder, truncate=True, pad=False)
    code = 'new OnnxEmbeddingModel("model.onnx", "tokenizer.json", PoolingMode.CLS)'
    notes = [f"Open it with {code}; MEAN gives the same."]
    if not subject.has_length_one:
        notes.append(
            f"{_TITLE} scales vectors to length 1, which this model does not: cosine similarities are the same."
        )
    if subject.longest > _LONGEST:
        notes.append(f"{_TITLE} cuts texts at {_LONGEST} tokens, where the model reads {subject.longest}.")
    difference = write_embedder(_TITLE, subject, folder, first_token, scales=True)
    return Made(difference, (*notes, *prompt_notes(_TITLE, subject)))


LANGCHAIN4J = Host(
    name="langchain4j",
    title=_TITLE,
    source=(
        "https://github.com/langchain4j/langchain4j/blob/main/embeddings/langchain4j-embeddings/src/main/java/"
        "dev/langchain4j/model/embedding/onnx/OnnxBertBiEncoder.java"
    ),
    rules="one file; the first output, pooled by CLS or MEAN as the caller says, always scaled to length 1; WordPiece",
    check=_check,
    write=_write,
)
