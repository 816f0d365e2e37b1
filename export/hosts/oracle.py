"""Oracle Database: one file, a text in, its vector out; the tokenizer is an operator that the database brings."""

from __future__ import annotations

import json
import re
from pathlib import Path

from export.hosts.embedder import check_embedder
from export.hosts.host import Host, Made, Subject, prompt_notes, refuse
from export.hosts.tokenizer import TOKENIZER_NAME

_TITLE = "Oracle Database"
#: The newest opset and IR version of its ONNX Runtime, 1.15.
_OPSET, _IR_VERSION = 19, 9
#: Bytes of a file that it loads at most.
_LARGEST = 2**30
_WAY = "let bert-onnx serve run it, and call it from the database"


def _check(subject: Subject) -> None:
    check_embedder(_TITLE, subject)
    variant = subject.variant
    if variant.target != "portable" or variant.opset > _OPSET or variant.ir_version > _IR_VERSION:
        rule = f"runs standard operators up to opset {_OPSET} and IR {_IR_VERSION}, and {variant.name} has others"
        raise refuse(_TITLE, rule, "package a --variant for portable, exported with --opset 18")
    settings = json.loads((subject.folder / TOKENIZER_NAME).read_text(encoding="utf-8"))
    normalizer, model = settings.get("normalizer") or {}, settings["model"]
    if model.get("type") != "WordPiece" or normalizer.get("type") != "BertNormalizer":
        rule = "tokenizes by the operator BertTokenizer, which knows BERT's word pieces only"
        raise refuse(_TITLE, rule, _WAY)


def _write(subject: Subject, folder: Path) -> Made:
    """model.onnx, and load.sql, which loads it and asks for a vector."""
    from export.hosts.oracle_graph import compare_texts, write_text_graph

    path = write_text_graph(_TITLE, subject, folder)
    size = path.stat().st_size
    if size > _LARGEST:
        raise refuse(_TITLE, f"loads files up to 1 GB, and this one has {size / 1e9:.1f} GB", "package an int8 variant")
    found = compare_texts(_TITLE, subject, path)
    name = _identifier(subject.folder.resolve().name)
    metadata = json.dumps({"function": "embedding", "embeddingOutput": "embedding", "input": {"input": ["DATA"]}})
    statements = f"""BEGIN
  DBMS_VECTOR.LOAD_ONNX_MODEL('DM_DUMP', '{path.name}', '{name}', JSON('{metadata}'));
END;
/
SELECT VECTOR_EMBEDDING({name} USING 'a text' AS DATA) FROM dual;
"""
    (folder / "load.sql").write_text(statements, encoding="utf-8", newline="\n")
    notes = (
        f"Put model.onnx into the directory DM_DUMP; load.sql loads it as {name}.",
        f"Its tokenizer made the model's own tokens of {found.same} of {found.count} built-in texts in many scripts; "
        "special tokens in a text, and words that the vocabulary covers in part, come out otherwise.",
    )
    return Made(found.difference, (*notes, *prompt_notes(_TITLE, subject)))


def _identifier(name: str) -> str:
    """A name of SQL that needs no quotes."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII).upper()[:100]
    return plain if plain[0].isalpha() else f"M_{plain}"


ORACLE = Host(
    name="oracle",
    title=_TITLE,
    source=(
        "https://docs.oracle.com/en/database/oracle/machine-learning/oml4sql/23/dmprg/custom-onnx-runtime-operations.html"
    ),
    rules="one file, `input` text, `embedding` its vector; no custom operators but those of Oracle's own converter",
    check=_check,
    write=_write,
)
