"""Added and special tokens, which a checkpoint spreads over several files, joined as transformers joins them.

`PreTrainedTokenizerBase._from_pretrained` of transformers 4.57: where tokenizer_config.json lists added tokens
(`added_tokens_decoder`), they alone count; else special_tokens_map.json, added_tokens.json and the added tokens of
tokenizer.json do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bert_onnx.errors import TokenizerError
from bert_onnx.tokenization.classes import TokenizerClass
from bert_onnx.tokenization.files import (
    ADDED_TOKENS_FILE,
    CONFIG_FILE,
    SPECIAL_TOKENS_FILE,
    TOKENIZER_FILE,
    read_object,
)
from bert_onnx.tokenization.settings import ROLES, SpecialTokens, option, parse_token
from bert_onnx.tokenization.vocab import AddedToken

_LISTED = "added_tokens_decoder"
_ADDITIONAL = "additional_special_tokens"


def name_tokens(
    config: Mapping[str, Any], path: Path, overrides: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """`config` with what special_tokens_map.json of the folder `path` says over it, and warnings where they disagree.

    Additional tokens of both count; what is in `overrides` is not overruled.
    """
    listed = read_object(path / SPECIAL_TOKENS_FILE)
    named = dict(config)
    if _LISTED not in config:
        for name, value in listed.items():
            if overrides.get(name):
                continue
            if name == _ADDITIONAL and isinstance(value, list):
                known = config.get(name) if isinstance(config.get(name), list) else None
                marked = [_marked(token) for token in value]
                named[name] = [*(known or ()), *(token for token in marked if token not in (known or ()))]
            else:
                named[name] = _marked(value)
    return named, [
        f"{CONFIG_FILE} and {SPECIAL_TOKENS_FILE} in {path} name other tokens as {role} ({_shown(config[role])} and "
        f"{_shown(listed[role])}); {_shown(named[role])} counts."
        for role in ROLES
        if config.get(role) and listed.get(role) and _shown(config[role]) != _shown(listed[role])
    ]


def _marked(token: Any) -> Any:
    """A token of special_tokens_map.json, which is special whatever it says of itself."""
    return {**token, "special": True} if isinstance(token, dict) else token


def _shown(token: Any) -> str:
    return repr(token["content"] if isinstance(token, dict) and "content" in token else token)


def read_tokens(
    named: Mapping[str, Any], kind: TokenizerClass, path: Path
) -> tuple[SpecialTokens, dict[int, AddedToken]]:
    """Special tokens by role, and added tokens by id, of the folder `path`.

    Args:
        named: tokenizer_config.json with special_tokens_map.json over it (`name_tokens`).
        kind: what the tokenizer's class adds by itself.

    Raises:
        TokenizerError: a file holds what is no token, or no id.
    """
    listed = named.get(_LISTED)
    if listed is not None:
        where = f"{_LISTED} in {path / CONFIG_FILE}"
        if not isinstance(listed, dict):
            raise TokenizerError(f"{where} holds a {type(listed).__name__} where an object belongs.")
        added = {_id(key, where): parse_token(value, f"{where}, id {key},") for key, value in listed.items()}
        return _special_tokens(named, kind, path, added), added
    of_file = _of_tokenizer_file(path / TOKENIZER_FILE)
    special = _special_tokens(named, kind, path, of_file)
    contents = {token.content for token in special if token.content in _contents(named)}
    added_file = path / ADDED_TOKENS_FILE
    added = {
        _id(index, str(added_file)): parse_token(
            {"content": content, "special": content in contents}, f"A token of {added_file}"
        )
        for content, index in read_object(added_file).items()
    }
    return special, added | of_file


def _of_tokenizer_file(path: Path) -> dict[int, AddedToken]:
    """The added tokens of a tokenizer.json, none where there is none."""
    where, tokens = f"added_tokens in {path}", dict[int, AddedToken]()
    entries: list[Any] = option(read_object(path), "added_tokens", (list,), [], str(path))
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


def _contents(named: Mapping[str, Any]) -> set[str]:
    """What the tokens with a role and the additional ones are called that a file names."""
    tokens = [named[role] for role in ROLES if named.get(role) is not None]
    tokens += named.get(_ADDITIONAL) or []
    return {token["content"] if isinstance(token, dict) else token for token in tokens}


def _special_tokens(
    named: Mapping[str, Any], kind: TokenizerClass, path: Path, added: Mapping[int, AddedToken]
) -> SpecialTokens:
    """Special tokens by role. A token with a role has the flags of the one in `added`, where it is among those."""
    by_content = {token.content: token for token in added.values()}
    flagged: dict[str, bool] = {}

    def parse(value: Any, name: str) -> AddedToken:
        where, own = f"{name} of the tokenizer in {path}", kind.roles.get(name)
        token = parse_token(value, where, special=isinstance(value, str))
        has_flags = not isinstance(value, str)
        if name in ROLES and token.content in by_content:
            token, has_flags = by_content[token.content], True
        elif not has_flags and own is not None and own.lstrip:
            token, has_flags = replace(own, content=token.content), True
        flagged.setdefault(token.content, has_flags)
        return replace(token, special=True)

    roles: dict[str, AddedToken | None] = dict.fromkeys(ROLES)
    for role in ROLES:
        if role in named:
            roles[role] = None if named[role] is None else parse(named[role], role)
        elif role in kind.roles:
            roles[role] = kind.roles[role]
            flagged.setdefault(kind.roles[role].content, kind.roles[role].lstrip)
    extra = named.get("extra_special_tokens")
    further = [
        *_list(named.get(_ADDITIONAL, list(kind.additional)), _ADDITIONAL, path),
        *(extra.values() if isinstance(extra, dict) else _list(extra, "extra_special_tokens", path)),
    ]
    additional = tuple(parse(value, _ADDITIONAL) for value in further)
    own_flags = frozenset(content for content, has_flags in flagged.items() if has_flags)
    return SpecialTokens(**roles, additional=additional, flagged=own_flags)


def _list(value: Any, name: str, path: Path) -> list[Any]:
    if value is None or isinstance(value, list):
        return value or []
    raise TokenizerError(f"{name} of the tokenizer in {path} is {value!r}; it is a list of tokens.")
