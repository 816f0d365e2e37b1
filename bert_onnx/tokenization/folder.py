"""The tokenizer files of a checkpoint folder: which of them count, and what they say together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bert_onnx.errors import TokenizerError
from bert_onnx.tokenization.classes import (
    BERT_CLASS,
    CLASS_OF_MODEL_TYPE,
    GENERIC_CLASS,
    MERGES,
    TokenizerClass,
    tokenizer_class,
)
from bert_onnx.tokenization.files import CONFIG_FILE, TOKENIZER_FILE, read_object
from bert_onnx.tokenization.options import check_overrides, doubtful_options, null_options, read_options
from bert_onnx.tokenization.settings import ROLES, TokenizerSettings
from bert_onnx.tokenization.token_files import name_tokens, read_tokens
from bert_onnx.tokenization.vocab import VOCAB_FILE

#: Files of tokenizers that only transformers can read.
_OTHER_FILES = ("sentencepiece.bpe.model", "spiece.model", "spm.model", "tokenizer.model", *MERGES)


@dataclass(frozen=True)
class TokenizerFolder:
    """What a checkpoint folder says about its tokenizer.

    Args:
        path: the folder.
        settings: what the files say together.
        config: tokenizer_config.json, with what the caller overrode.
        class_name: the tokenizer class of transformers, and `kind` what that decides.
        named: roles that a file names; the others are the class's own.
        nulls: settings that are null where a value belongs.
        vocab_file: the first of the vocabulary files that the class reads, None where they are not there.
        tokenizer_file: None where there is none, or where it does not count.
        warnings: what had to be left out or guessed.
    """

    path: Path
    settings: TokenizerSettings
    config: Mapping[str, Any]
    class_name: str
    kind: TokenizerClass
    named: frozenset[str]
    nulls: tuple[str, ...]
    vocab_file: Path | None
    tokenizer_file: Path | None
    warnings: tuple[str, ...]


def read_folder(folder: str | Path, overrides: Mapping[str, Any] | None = None) -> TokenizerFolder:
    """Read tokenizer_config.json and its neighbours.

    `overrides` win over tokenizer_config.json. Raises TokenizerError for a folder that is not there, has no file that a
    tokenizer can be made of, or holds damaged JSON; UsageError for an override that does not exist.
    """
    path, overrides = Path(folder), overrides or {}
    if not path.is_dir():
        raise TokenizerError(f"There is no folder {folder}; give the folder of a checkpoint with its {VOCAB_FILE}.")
    check_overrides(overrides)
    warnings: list[str] = []
    config = {**read_object(path / CONFIG_FILE), **overrides}
    nulls = null_options(config)
    if nulls:
        warnings.append(f"{path / CONFIG_FILE} has null for {', '.join(nulls)}, which counts as not set.")
    config = {name: value for name, value in config.items() if name not in nulls}
    name = _class_name(config, path)
    kind = tokenizer_class(name)
    missing = missing_files(path, kind)
    if missing is not None:
        raise TokenizerError(missing)
    has_vocabulary = _reads_vocabulary(path, kind)
    # An old setting: the tokenizer is made of the vocabulary, with the added tokens of tokenizer.json.
    from_slow = has_vocabulary and bool(config.get("from_slow"))
    named, disagreements = name_tokens(config, path, overrides)
    settings = read_options(config, kind, path, *read_tokens(named, kind, path))
    warnings += [*disagreements, *doubtful_options(config, settings, path)]
    return TokenizerFolder(
        path=path,
        settings=settings,
        config=config,
        class_name=name,
        kind=kind,
        named=frozenset(role for role in ROLES if role in named),
        nulls=tuple(nulls),
        vocab_file=path / kind.reads[0] if has_vocabulary else None,
        tokenizer_file=None if from_slow else _existing(path / TOKENIZER_FILE),
        warnings=tuple(warnings),
    )


def missing_files(path: Path, kind: TokenizerClass | None = None) -> str | None:
    """What a folder lacks for a tokenizer, and how to make it; None where it has what is needed."""
    if (path / TOKENIZER_FILE).is_file():
        return None
    if kind is None:
        kind = tokenizer_class(_class_name(read_object(path / CONFIG_FILE), path))
    if _reads_vocabulary(path, kind):
        return None
    others = [name for name in (*_OTHER_FILES, VOCAB_FILE) if (path / name).is_file()]
    if not others:
        return f"The folder {path} has neither {TOKENIZER_FILE} nor {VOCAB_FILE}; copy one into it."
    name = _class_name(read_object(path / CONFIG_FILE), path)
    made = (
        f"The folder {path} has {' and '.join(others)} of a {name}, but no {TOKENIZER_FILE}, which bert-onnx reads; "
        "make it with transformers: from transformers import AutoTokenizer; "
        f"AutoTokenizer.from_pretrained({str(path)!r}).save_pretrained({str(path)!r})"
    )
    if others != [VOCAB_FILE]:
        return made
    as_bert = f"if its {VOCAB_FILE} is BERT's, write {BERT_CLASS} as tokenizer_class into {CONFIG_FILE}."
    if name == GENERIC_CLASS:
        return (
            f"The tokenizer of {path} is a {name}, which needs a {TOKENIZER_FILE}; copy it from where the checkpoint "
            f"came from, or, {as_bert}"
        )
    return f"{made}; or, {as_bert}"


def _reads_vocabulary(path: Path, kind: TokenizerClass) -> bool:
    return bool(kind.reads) and all((path / name).is_file() for name in kind.reads)


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None


def _class_name(config: Mapping[str, Any], path: Path) -> str:
    """The class that tokenizer_config.json names, else config.json, else that of its model_type."""
    name = config.get("tokenizer_class")
    if name is None:
        model = read_object(path / "config.json")
        name = model.get("tokenizer_class") or CLASS_OF_MODEL_TYPE.get(str(model.get("model_type")))
    if name is not None and not isinstance(name, str):
        raise TokenizerError(f"{path / CONFIG_FILE} has tokenizer_class {name!r}; it is the name of a class.")
    return name or BERT_CLASS
