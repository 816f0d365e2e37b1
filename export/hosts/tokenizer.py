"""The package's tokenizer.json: the artifact's, with the truncation and padding that a host leaves to the file."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from export.hosts.host import Subject

TOKENIZER_NAME = "tokenizer.json"


def write_tokenizer(subject: Subject, folder: Path, *, truncate: bool, pad: bool) -> None:
    """Write `folder`/tokenizer.json; without `truncate` or `pad` it says nothing of the two, and the host decides."""
    tokenizer = Tokenizer.from_file(str(subject.folder / TOKENIZER_NAME))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if truncate:
        tokenizer.enable_truncation(subject.longest)
    if pad:
        index = subject.manifest.config.pad_token_id or 0
        tokenizer.enable_padding(pad_id=index, pad_token=tokenizer.id_to_token(index) or "[PAD]")
    tokenizer.save(str(folder / TOKENIZER_NAME))
