"""The tokenizer files of a checkpoint folder: reading them into settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bert_onnx.errors import TokenizerError, UsageError
from bert_onnx.tokenization.classes import BERT_CLASS, CLASS_OF_MODEL_TYPE, MERGES, TokenizerClass, tokenizer_class
from bert_onnx.tokenization.settings import (
    NO_LIMIT,
    ROLES,
    SIDES,
    SpecialTokens,
    TokenizerSettings,
    option,
    parse_token,
)
from bert_onnx.tokenization.vocab import VOCAB_FILE, AddedToken

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"
ADDED_TOKENS_FILE = "added_tokens.json"
#: Files of tokenizers that only transformers can read.
_OTHER_FILES = ("sentencepiece.bpe.model", "spiece.model", "spm.model", "tokenizer.model", *MERGES)

#: What a caller may say instead of tokenizer_config.json.
OVERRIDES = (
    *ROLES,
    "additional_special_tokens",
    "extra_special_tokens",
    "do_lower_case",
    "do_basic_tokenize",
    "never_split",
    "tokenize_chinese_chars",
    "strip_accents",
    "clean_text",
    "wordpieces_prefix",
    "clean_up_tokenization_spaces",
    "split_special_tokens",
    "add_prefix_space",
    "trim_offsets",
    "model_max_length",
    "model_input_names",
    "padding_side",
    "truncation_side",
)
#: Settings that mean something when they are null.
_NULL_IS_A_VALUE = (*ROLES, "strip_accents", "never_split", "model_max_length", "max_len", "additional_special_tokens")


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


def read_folder(
    folder: str | Path, *, legacy_added_tokens: bool, overrides: Mapping[str, Any] | None = None
) -> TokenizerFolder:
    """Read tokenizer_config.json and its neighbours.

    `legacy_added_tokens`: take the added tokens of tokenizer.json too when tokenizer_config.json lists none; a
    tokenizer that does not open tokenizer.json needs them. `overrides` win over tokenizer_config.json. Raises
    TokenizerError for a folder that is not there, has no file that a tokenizer can be made of, or holds damaged JSON;
    UsageError for an override that does not exist.
    """
    path = Path(folder)
    if not path.is_dir():
        raise TokenizerError(f"There is no folder {folder}; give the folder of a checkpoint with its {VOCAB_FILE}.")
    warnings: list[str] = []
    config = {**_read_json(path / CONFIG_FILE), **_checked(overrides or {})}
    nulls = [name for name in (*OVERRIDES, "added_tokens_decoder") if name in config and config[name] is None]
    nulls = [name for name in nulls if name not in _NULL_IS_A_VALUE]
    if nulls:
        warnings.append(f"{path / CONFIG_FILE} has null for {', '.join(nulls)}, which counts as not set.")
    config = {name: value for name, value in config.items() if name not in nulls}
    name = _class_name(config, path)
    kind = tokenizer_class(name)
    missing = missing_files(path, kind)
    if missing is not None:
        raise TokenizerError(missing)
    has_vocabulary = _reads_vocabulary(path, kind)
    vocab_file = path / kind.reads[0] if has_vocabulary else None
    whole = _existing(path / TOKENIZER_FILE)
    # An old setting: the tokenizer is made of the vocabulary, with the added tokens of tokenizer.json.
    from_slow = has_vocabulary and bool(config.get("from_slow"))
    lists_added = "added_tokens_decoder" in config
    # special_tokens_map.json wins, but only where tokenizer_config.json lists no added tokens.
    listed = _read_json(path / SPECIAL_TOKENS_FILE)
    named = config if lists_added else _joined(config, listed, overrides or {})
    warnings += [
        f"{CONFIG_FILE} and {SPECIAL_TOKENS_FILE} in {path} name other tokens as {role} ({_shown(config[role])} and "
        f"{_shown(listed[role])}); {_shown(named[role])} counts."
        for role in ROLES
        if config.get(role) and listed.get(role) and _shown(config[role]) != _shown(listed[role])
    ]
    settings = _settings(config, named, kind, path, whole if legacy_added_tokens or from_slow else None)
    warnings += _doubtful(config, settings, path)
    return TokenizerFolder(
        path=path,
        settings=settings,
        config=config,
        class_name=name,
        kind=kind,
        named=frozenset(role for role in ROLES if role in named),
        nulls=tuple(nulls),
        vocab_file=vocab_file,
        tokenizer_file=None if from_slow else whole,
        warnings=tuple(warnings),
    )


def _doubtful(config: Mapping[str, Any], settings: TokenizerSettings, path: Path) -> list[str]:
    """Warnings of settings whose meaning here a user may not expect."""
    found = []
    limit = config.get("model_max_length")
    if isinstance(limit, (int, float)) and not limit >= 1:
        found.append(f"{path / CONFIG_FILE} has model_max_length {limit!r}, which counts as no limit.")
    if settings.padding_side == "left":
        found.append(
            f"{path / CONFIG_FILE} pads on the left. A model that counts positions from the left reads a shorter text "
            "of a batch at other positions than alone; bert-onnx gives every text the result that it has alone."
        )
    return found


def missing_files(path: Path, kind: TokenizerClass | None = None) -> str | None:
    """What a folder lacks for a tokenizer, and how to make it; None where it has what is needed."""
    if (path / TOKENIZER_FILE).is_file():
        return None
    if kind is None:
        kind = tokenizer_class(_class_name(_read_json(path / CONFIG_FILE), path))
    if _reads_vocabulary(path, kind):
        return None
    others = [name for name in (*_OTHER_FILES, VOCAB_FILE) if (path / name).is_file()]
    if not others:
        return f"The folder {path} has neither {TOKENIZER_FILE} nor {VOCAB_FILE}; copy one into it."
    name = _class_name(_read_json(path / CONFIG_FILE), path)
    if others == [VOCAB_FILE]:
        return (
            f"The tokenizer of {path} is a {name}, which needs a {TOKENIZER_FILE}; copy it from where the checkpoint "
            f"came from, or, if its {VOCAB_FILE} is BERT's, write {BERT_CLASS} as tokenizer_class into {CONFIG_FILE}."
        )
    return (
        f"The folder {path} has {' and '.join(others)} of a {name}, but no {TOKENIZER_FILE}, which bert-onnx reads; "
        f"make it with transformers: from transformers import AutoTokenizer; "
        f"AutoTokenizer.from_pretrained({str(path)!r}).save_pretrained({str(path)!r})"
    )


def _reads_vocabulary(path: Path, kind: TokenizerClass) -> bool:
    return bool(kind.reads) and all((path / name).is_file() for name in kind.reads)


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None


def _checked(overrides: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in overrides:
        if name not in OVERRIDES:
            raise UsageError(f"A tokenizer has no setting {name!r}; it has {', '.join(OVERRIDES)}.")
    return overrides


def _shown(token: Any) -> str:
    return repr(token["content"] if isinstance(token, dict) and "content" in token else token)


def _class_name(config: Mapping[str, Any], path: Path) -> str:
    """The class that tokenizer_config.json names, else config.json, else that of its model_type."""
    name = config.get("tokenizer_class")
    if name is None:
        model = _read_json(path / "config.json")
        name = model.get("tokenizer_class") or CLASS_OF_MODEL_TYPE.get(str(model.get("model_type")))
    if name is not None and not isinstance(name, str):
        raise TokenizerError(f"{path / CONFIG_FILE} has tokenizer_class {name!r}; it is the name of a class.")
    return name or BERT_CLASS


def _joined(config: Mapping[str, Any], listed: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with special_tokens_map.json over it; the additional tokens of both count."""
    joined = dict(config)
    for name, value in listed.items():
        if overrides.get(name):
            continue
        if name == "additional_special_tokens" and isinstance(value, list) and isinstance(config.get(name), list):
            value = [*config[name], *(token for token in value if token not in config[name])]
        joined[name] = value
    return joined


def _read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty when there is no such file."""
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise TokenizerError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise TokenizerError(f"{path} is damaged: it is not JSON ({error}); fetch the file again.") from None
    if not isinstance(data, dict):
        raise TokenizerError(f"{path} is damaged: it holds a {type(data).__name__} where an object belongs.")
    return data


def _settings(
    config: Mapping[str, Any], named: Mapping[str, Any], kind: TokenizerClass, path: Path, tokenizer_file: Path | None
) -> TokenizerSettings:
    where = str(path / CONFIG_FILE)
    added = _added_tokens(config, path, tokenizer_file, _special_tokens(named, kind, path, {}))
    flag, number = (bool,), (int, float)
    never_split: list[str] = option(config, "never_split", (list,), [], where)
    # As transformers reads them: the older key counts where the newer one is absent, not where it is null.
    limit = "model_max_length" if "model_max_length" in config else "max_len"
    inputs: list[str] = option(config, "model_input_names", (list,), ["token_type_ids"] if kind.type_ids else [], where)
    return TokenizerSettings(
        do_lower_case=option(config, "do_lower_case", flag, kind.lower, where),
        do_basic_tokenize=option(config, "do_basic_tokenize", flag, True, where),
        never_split=tuple(str(word) for word in never_split),
        tokenize_chinese_chars=option(config, "tokenize_chinese_chars", flag, True, where),
        strip_accents=option(config, "strip_accents", flag, None, where),
        clean_text=option(config, "clean_text", flag, True, where),
        wordpieces_prefix=option(config, "wordpieces_prefix", (str,), "##", where),
        clean_up_tokenization_spaces=option(config, "clean_up_tokenization_spaces", flag, True, where),
        model_max_length=_limit(option(config, limit, number, None, where)),
        padding_side=_side(config, "padding_side", where),
        truncation_side=_side(config, "truncation_side", where),
        split_special_tokens=option(config, "split_special_tokens", flag, False, where),
        add_prefix_space=option(config, "add_prefix_space", flag, False, where),
        trim_offsets=option(config, "trim_offsets", flag, True, where),
        type_ids="token_type_ids" in inputs,
        special=_special_tokens(named, kind, path, added),
        added_tokens=added,
    )


def _side(config: Mapping[str, Any], name: str, where: str) -> str:
    side = config.get(name, SIDES[0])
    if side not in SIDES:
        raise TokenizerError(f"{where} has {name} {side!r}; it is 'right' or 'left'.")
    return str(side)


def _limit(value: float | None) -> int:
    """A number of tokens; what leaves no room for one is no limit."""
    return NO_LIMIT if value is None or not value >= 1 else int(min(value, NO_LIMIT))


def _added_tokens(
    config: Mapping[str, Any], path: Path, tokenizer_file: Path | None, special: SpecialTokens
) -> dict[int, AddedToken]:
    """Added tokens by id: from tokenizer_config.json, or as older files spread them over several."""
    listed = config.get("added_tokens_decoder")
    if listed is not None:
        where = f"added_tokens_decoder in {path / CONFIG_FILE}"
        if not isinstance(listed, dict):
            raise TokenizerError(f"{where} holds a {type(listed).__name__} where an object belongs.")
        tokens = {_id(key, where): parse_token(value, f"{where}, id {key},") for key, value in listed.items()}
        return dict(sorted(tokens.items()))  # of a token that stands there twice the last id counts
    added_file = path / ADDED_TOKENS_FILE
    contents = {token.content for token in special}
    tokens = {
        _id(index, str(added_file)): parse_token(
            {"content": content, "special": content in contents}, f"A token of {added_file}"
        )
        for content, index in _read_json(added_file).items()
    }
    if tokenizer_file is not None:
        where = f"added_tokens in {tokenizer_file}"
        entries: list[Any] = option(_read_json(tokenizer_file), "added_tokens", (list,), [], str(tokenizer_file))
        for entry in entries:
            if not isinstance(entry, dict):
                raise TokenizerError(f"{where} holds {entry!r} where an object belongs.")
            tokens[_id(entry.get("id"), where)] = parse_token(entry, where)
    return tokens


def _id(value: Any, where: str) -> int:
    text = str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    if not text.isdecimal() or len(text) > 18:
        raise TokenizerError(f"{where} has the token id {value!r}; an id is a whole number.")
    return int(text)


def _special_tokens(
    named: Mapping[str, Any], kind: TokenizerClass, path: Path, added: Mapping[int, AddedToken]
) -> SpecialTokens:
    """Special tokens by role, with the flags of the added tokens where they are among those."""
    by_content = {token.content: token for token in added.values()}

    def parse(value: Any, name: str) -> AddedToken:
        token = parse_token(value, f"{name} of the tokenizer in {path}", special=True)
        own = kind.roles.get(name)
        if isinstance(value, str) and own is not None and own.lstrip:
            token = replace(own, content=value)
        return by_content.get(token.content, token)

    roles: dict[str, AddedToken | None] = dict.fromkeys(ROLES) | {
        role: by_content.get(token.content, token) if not token.lstrip else token for role, token in kind.roles.items()
    }
    roles |= {role: None if named[role] is None else parse(named[role], role) for role in ROLES if role in named}
    extra = named.get("extra_special_tokens")
    further = [
        *_list(named.get("additional_special_tokens", list(kind.additional)), "additional_special_tokens", path),
        *(extra.values() if isinstance(extra, dict) else _list(extra, "extra_special_tokens", path)),
    ]
    return SpecialTokens(**roles, additional=tuple(parse(value, "additional_special_tokens") for value in further))


def _list(value: Any, name: str, path: Path) -> list[Any]:
    if value is None or isinstance(value, list):
        return value or []
    raise TokenizerError(f"{name} of the tokenizer in {path} is {value!r}; it is a list of tokens.")
