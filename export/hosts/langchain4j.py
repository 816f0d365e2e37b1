"""LangChain4j's OnnxEmbeddingModel: first output, first token or mean, always scaled to length 1; a text at a time."""

from __future__ import annotations

import json
from pathlib import Path

from export.hosts.host import Embedder, Host, first_token, prompt_notes, refuse
from export.hosts.tokenizer import TOKENIZER_NAME, write_tokenizer

_TITLE = "LangChain4j"
#: Tokens that the tokenizer of DJL, which it uses, cuts to at most.
_LONGEST = 512


def _check(embedder: Embedder) -> None:
    similarity = embedder.manifest.sentence.similarity_fn_name
    if not embedder.has_length_one and similarity != "cosine":
        raise refuse(
            _TITLE,
            f"scales every vector to length 1, and this model compares its own by {similarity}, lengths included",
            "use a host that keeps them, such as vespa or spring-ai",
        )
    model = json.loads((embedder.folder / TOKENIZER_NAME).read_text(encoding="utf-8"))["model"]
    if model.get("type") != "WordPiece" or model.get("continuing_subword_prefix") != "##":
        raise refuse(
            _TITLE,
            f"puts texts together again from WordPiece tokens, and this tokenizer is {model.get('type')}",
            "use a host that does not, such as vespa or spring-ai",
        )


def _write(embedder: Embedder, folder: Path) -> tuple[str, ...]:
    write_tokenizer(embedder, folder, truncate=True, pad=False)
    code = 'new OnnxEmbeddingModel("model.onnx", "tokenizer.json", PoolingMode.CLS)'
    notes = [f"Open it with {code}; MEAN gives the same."]
    if not embedder.has_length_one:
        notes.append(
            f"{_TITLE} scales vectors to length 1, which this model does not: cosine similarities are the same."
        )
    if embedder.longest > _LONGEST:
        notes.append(f"{_TITLE} cuts texts at {_LONGEST} tokens, where the model reads {embedder.longest}.")
    return (*notes, *prompt_notes(_TITLE, embedder))


LANGCHAIN4J = Host(
    name="langchain4j",
    title=_TITLE,
    source=(
        "https://github.com/langchain4j/langchain4j/blob/main/embeddings/langchain4j-embeddings/src/main/java/"
        "dev/langchain4j/model/embedding/onnx/OnnxBertBiEncoder.java"
    ),
    rules="one file; the first output, pooled by CLS or MEAN as the caller says, always scaled to length 1; WordPiece",
    arithmetic=first_token,
    scales=True,
    check=_check,
    write=_write,
)
