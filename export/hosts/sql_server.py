"""SQL Server 2025's local models: a folder with model.onnx and tokenizer.json; how it pools, Microsoft does not say."""

from __future__ import annotations

from pathlib import Path

from export.hosts.embedder import check_embedder, plain_mean, write_embedder
from export.hosts.host import Host, Made, Subject, prompt_notes
from export.hosts.tokenizer import write_tokenizer

_TITLE = "SQL Server"


def _write(subject: Subject, folder: Path) -> Made:
    """tokenizer.json, and the statement that names the folder; compared by the mean, one pooling of those possible."""
    write_tokenizer(subject, folder, truncate=True, pad=False)
    name = subject.folder.resolve().name.replace("'", "''")
    statement = f"""CREATE EXTERNAL MODEL embeddings
WITH (
    LOCATION = 'C:\\onnx_runtime\\model\\{name}',
    API_FORMAT = 'ONNX Runtime',
    MODEL_TYPE = EMBEDDINGS,
    MODEL = '{name}',
    PARAMETERS = '{{"valid":"JSON"}}',
    LOCAL_RUNTIME_PATH = 'C:\\onnx_runtime\\'
);
"""
    (folder / "create-model.sql").write_text(statement, encoding="utf-8", newline="\n")
    notes = (
        f"LOCATION in create-model.sql is where the folder lies on the server; vectors are VECTOR({subject.width}).",
        f"Microsoft does not say how {_TITLE} pools: mean, maximum and first token of the output are all the vector.",
    )
    return Made(write_embedder(_TITLE, subject, folder, plain_mean), (*notes, *prompt_notes(_TITLE, subject)))


SQL_SERVER = Host(
    name="sql-server",
    title=_TITLE,
    source="https://learn.microsoft.com/en-us/sql/t-sql/statements/create-external-model-transact-sql",
    rules="a folder with `model.onnx` and `tokenizer.json`; it pools by itself, in a way that is not documented",
    check=lambda subject: check_embedder(_TITLE, subject),
    write=_write,
)
