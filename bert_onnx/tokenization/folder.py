"""The tokenizer files of a checkpoint folder: reading them into settings, writing settings into them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bert_onnx.errors import StorageError, TokenizerError
from bert_onnx.tokenization.settings import (
    NO_LIMIT,
    ROLES,
    SIDES,
    SpecialTokens,
    TokenizerSettings,
    option,
    parse_token,
    token_to_json,
)
from bert_onnx.tokenization.vocab import VOCAB_FILE, AddedToken

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"
ADDED_TOKENS_FILE = "added_tokens.json"

BERT_CLASSES = ("BertTokenizer", "BertTokenizerFast")
#: Says "whatever tokenizer.json holds"; the options are then in that file alone.
GENERIC_CLASS = "PreTrainedTokenizerFast"

_NO_ROLE = ("bos_token", "eos_token")  # written by some tools; BERT gives them no role, but they are never split


@dataclass(frozen=True)
class TokenizerFolder:
    """What a checkpoint folder says about its tokenizer."""

    path: Path
    settings: TokenizerSettings
    config: Mapping[str, Any]
    vocab_file: Path | None
    tokenizer_file: Path | None

    @property
    def is_generic(self) -> bool:
        """Whether tokenizer.json alone decides how text is normalised."""
        return self.config.get("tokenizer_class") == GENERIC_CLASS


def read_folder(folder: str | Path, *, legacy_added_tokens: bool) -> TokenizerFolder:
    """Read tokenizer_config.json and its neighbours.

    `legacy_added_tokens`: take the added tokens of tokenizer.json too when tokenizer_config.json lists none; a
    tokenizer that does not open tokenizer.json needs them. Raises TokenizerError for a folder that is not there, has
    neither vocab.txt nor tokenizer.json, holds damaged JSON, or a tokenizer that is not BERT's.
    """
    path = Path(folder)
    if not path.is_dir():
        raise TokenizerError(f"There is no folder {folder}; give the folder of a checkpoint with its {VOCAB_FILE}.")
    vocab_file, tokenizer_file = _existing(path / VOCAB_FILE), _existing(path / TOKENIZER_FILE)
    if vocab_file is None and tokenizer_file is None:
        raise TokenizerError(f"The folder {folder} has neither {TOKENIZER_FILE} nor {VOCAB_FILE}; copy one into it.")
    config = _read_json(path / CONFIG_FILE)
    _check_class(config, path, tokenizer_file)
    settings = _settings(config, path, tokenizer_file if legacy_added_tokens else None)
    return TokenizerFolder(path, settings, config, vocab_file, tokenizer_file)


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None


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


def _check_class(config: Mapping[str, Any], path: Path, tokenizer_file: Path | None) -> None:
    name = config.get("tokenizer_class")
    if name is None or name in BERT_CLASSES:
        return
    if name != GENERIC_CLASS:
        raise TokenizerError(
            f"{path / CONFIG_FILE} names the tokenizer class {name!r}, which is not a BERT tokenizer; supported are "
            f"{', '.join(BERT_CLASSES)} and {GENERIC_CLASS}."
        )
    if tokenizer_file is None:
        raise TokenizerError(
            f"{path / CONFIG_FILE} names the tokenizer class {name!r}, which needs a {TOKENIZER_FILE}; there is none."
        )


def _settings(config: Mapping[str, Any], path: Path, tokenizer_file: Path | None) -> TokenizerSettings:
    where = str(path / CONFIG_FILE)
    # special_tokens_map.json wins, but only where tokenizer_config.json lists no added tokens.
    named = config if "added_tokens_decoder" in config else {**config, **_read_json(path / SPECIAL_TOKENS_FILE)}
    added = _added_tokens(config, path, tokenizer_file, _special_tokens(named, path, {}))
    flag, flag_or_null, number = (bool,), (bool, type(None)), (int, float, type(None))
    never_split: list[str] | None = option(config, "never_split", (list, type(None)), None, where)
    limit: float | None = option(config, "max_len", number, None, where)
    return TokenizerSettings(
        do_lower_case=option(config, "do_lower_case", flag, True, where),
        do_basic_tokenize=option(config, "do_basic_tokenize", flag, True, where),
        never_split=tuple(str(word) for word in never_split or ()),
        tokenize_chinese_chars=option(config, "tokenize_chinese_chars", flag, True, where),
        strip_accents=option(config, "strip_accents", flag_or_null, None, where),
        clean_text=option(config, "clean_text", flag, True, where),
        wordpieces_prefix=option(config, "wordpieces_prefix", (str,), "##", where),
        clean_up_tokenization_spaces=option(config, "clean_up_tokenization_spaces", flag, True, where),
        model_max_length=_limit(option(config, "model_max_length", number, limit, where), where),
        padding_side=_side(config, "padding_side", where),
        truncation_side=_side(config, "truncation_side", where),
        special=_special_tokens(named, path, added),
        added_tokens=added,
    )


def _side(config: Mapping[str, Any], name: str, where: str) -> str:
    side = config.get(name, SIDES[0])
    if side not in SIDES:
        raise TokenizerError(f"{where} has {name} {side!r}; it is 'right' or 'left'.")
    return str(side)


def _limit(value: float | None, where: str) -> int:
    if value is None:
        return NO_LIMIT
    if not value >= 1:
        raise TokenizerError(f"{where} has model_max_length {value!r}; it is a number of tokens, at least 1.")
    return int(min(value, NO_LIMIT))


def _added_tokens(
    config: Mapping[str, Any], path: Path, tokenizer_file: Path | None, special: SpecialTokens
) -> dict[int, AddedToken]:
    """Added tokens by id: from tokenizer_config.json, or as older files spread them over several."""
    listed = config.get("added_tokens_decoder")
    if listed is not None:
        where = f"added_tokens_decoder in {path / CONFIG_FILE}"
        if not isinstance(listed, dict):
            raise TokenizerError(f"{where} holds a {type(listed).__name__} where an object belongs.")
        return {_id(key, where): parse_token(value, f"{where}, id {key},") for key, value in listed.items()}
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


def _special_tokens(named: Mapping[str, Any], path: Path, added: Mapping[int, AddedToken]) -> SpecialTokens:
    """Special tokens by role, with the flags of the added tokens where they are among those."""
    by_content = {token.content: token for token in added.values()}

    def parse(value: Any, name: str) -> AddedToken:
        token = parse_token(value, f"{name} of the tokenizer in {path}", special=True)
        return by_content.get(token.content, token)

    tokens = {role: parse(named[role], role) for role in ROLES if named.get(role) is not None}
    roles = SpecialTokens(mask_token=None) if named.get("mask_token", "") is None else SpecialTokens()
    extra = named.get("extra_special_tokens")
    further = [
        *(named[name] for name in _NO_ROLE if named.get(name) is not None),
        *_list(named.get("additional_special_tokens"), "additional_special_tokens", path),
        *(extra.values() if isinstance(extra, dict) else _list(extra, "extra_special_tokens", path)),
    ]
    return SpecialTokens(
        **{role: tokens.get(role, by_content.get(_content(roles, role), getattr(roles, role))) for role in ROLES},
        additional=tuple(parse(value, "additional_special_tokens") for value in further),
    )


def _list(value: Any, name: str, path: Path) -> list[Any]:
    if value is None or isinstance(value, list):
        return value or []
    raise TokenizerError(f"{name} of the tokenizer in {path} is {value!r}; it is a list of tokens.")


def _content(roles: SpecialTokens, role: str) -> str:
    token = getattr(roles, role)
    return "" if token is None else token.content


def write_folder(
    folder: str | Path, settings: TokenizerSettings, added: Mapping[int, AddedToken], vocab_size: int
) -> list[Path]:
    """Write tokenizer_config.json, special_tokens_map.json and, where there are tokens beyond V, added_tokens.json.

    The same settings give the same bytes. Returns the paths; raises StorageError when the disk refuses.
    """
    path = Path(folder)
    special = settings.special
    roles = {role: token for role in ROLES if (token := getattr(special, role)) is not None}
    names: dict[str, Any] = {role: token.content for role, token in roles.items()}
    names["mask_token"] = names.get("mask_token")
    config = names | {
        "added_tokens_decoder": {str(index): token_to_json(token) for index, token in sorted(added.items())},
        "additional_special_tokens": [token.content for token in special.additional],
        "clean_up_tokenization_spaces": settings.clean_up_tokenization_spaces,
        "do_basic_tokenize": settings.do_basic_tokenize,
        "do_lower_case": settings.do_lower_case,
        "model_max_length": settings.model_max_length,
        "never_split": list(settings.never_split) or None,
        "padding_side": settings.padding_side,
        "strip_accents": settings.strip_accents,
        "tokenize_chinese_chars": settings.tokenize_chinese_chars,
        "tokenizer_class": BERT_CLASSES[0],
        "truncation_side": settings.truncation_side,
    }
    files: dict[str, dict[str, Any]] = {CONFIG_FILE: config, SPECIAL_TOKENS_FILE: _special_map(special, roles)}
    beyond = {token.content: index for index, token in added.items() if index >= vocab_size}
    if beyond:
        files[ADDED_TOKENS_FILE] = beyond
    return [_write_json(path / name, data) for name, data in files.items()]


def _special_map(special: SpecialTokens, roles: Mapping[str, AddedToken]) -> dict[str, Any]:
    def entry(token: AddedToken) -> dict[str, Any]:
        return {name: value for name, value in token_to_json(token).items() if name != "special"}

    data: dict[str, Any] = {role: entry(token) for role, token in roles.items()}
    if special.additional:
        data["additional_special_tokens"] = [entry(token) for token in special.additional]
    return data


def _write_json(path: Path, data: Mapping[str, Any]) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}.") from None
    return path
