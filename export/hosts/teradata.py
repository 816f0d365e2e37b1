"""Teradata's ONNXEmbeddings: a graph of opset 14 and IR 8, whose tensor a query names; tokenizer.json beside it."""

from __future__ import annotations

from pathlib import Path

from bert_onnx.sentence_modules import SENTENCE
from export.hosts.embedder import check_embedder
from export.hosts.host import Host, Made, Subject, prompt_notes, refuse
from export.hosts.tokenizer import write_tokenizer

_TITLE = "Teradata"
#: Targets without operators of ONNX Runtime's own, which follow no opset.
_TARGETS = ("portable",)


def _check(subject: Subject) -> None:
    check_embedder(_TITLE, subject)
    if subject.variant.target not in _TARGETS:
        rule = f"wants opset 14, which the operators of {subject.variant.target} do not follow"
        raise refuse(_TITLE, rule, f"choose a --variant for {' or '.join(_TARGETS)}")


def _write(subject: Subject, folder: Path) -> Made:
    """model.onnx, tokenizer.json, and a query that has the options which fit."""
    from export.hosts.compare import Comparison
    from export.hosts.graph import write_graph
    from export.hosts.opset import lower_opset
    from export.hosts.spread import keep_vector

    write_tokenizer(subject, folder, truncate=True, pad=False)
    difference = write_graph(
        _TITLE,
        subject,
        folder,
        lambda model: lower_opset(_TITLE, keep_vector(model, subject.width)),
        Comparison(SENTENCE, lambda vectors: vectors[:, : subject.width], lambda vectors, _: vectors),
    )
    query = f"""SELECT * FROM mldb.ONNXEmbeddings(
  ON (SELECT id, txt FROM texts) AS InputTable
  ON (SELECT model_id, model FROM embeddings_models) AS ModelTable DIMENSION
  ON (SELECT model AS tokenizer FROM embeddings_tokenizers) AS TokenizerTable DIMENSION
  USING
    Accumulate('id')
    ModelOutputTensor('sentence_embedding')
    EncodedMaxLength({subject.longest})
    OutputFormat('FLOAT32({subject.width})')
) AS t;
"""
    (folder / "embed.sql").write_text(query, encoding="utf-8", newline="\n")
    note = "Load model.onnx and tokenizer.json with teradataml's save_byom; embed.sql has the options that fit."
    return Made(difference, (note, *prompt_notes(_TITLE, subject)))


TERADATA = Host(
    name="teradata",
    title=_TITLE,
    source="https://huggingface.co/Teradata/nomic-embed-text-v1.5",
    rules="opset 14 and IR 8, one file; the query names the output, its size and the length that texts are cut to",
    check=_check,
    write=_write,
)
