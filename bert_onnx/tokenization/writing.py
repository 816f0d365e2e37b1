"""Writing a tokenizer's settings into the files that a checkpoint folder has of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bert_onnx.errors import StorageError
from bert_onnx.tokenization.classes import BERT_CLASS
from bert_onnx.tokenization.files import ADDED_TOKENS_FILE, CONFIG_FILE, SPECIAL_TOKENS_FILE
from bert_onnx.tokenization.settings import ROLES, SpecialTokens, TokenizerSettings, token_to_json
from bert_onnx.tokenization.vocab import AddedToken

_BERT_ROLES = ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


def write_folder(
    folder: str | Path,
    settings: TokenizerSettings,
    added: Mapping[int, AddedToken],
    vocab_size: int,
    class_name: str,
    further: Mapping[str, Any],
) -> list[Path]:
    """Write tokenizer_config.json, special_tokens_map.json and, where there are tokens beyond V, added_tokens.json.

    `class_name` is the class of transformers that reads them, `further` what only that class has. The same settings
    give the same bytes. Returns the paths; raises StorageError when the disk refuses.
    """
    path = Path(folder)
    special = settings.special
    roles = {role: token for role in ROLES if (token := getattr(special, role)) is not None}
    config: dict[str, Any] = {role: token.content for role, token in roles.items()} | {
        "added_tokens_decoder": {str(index): token_to_json(token) for index, token in sorted(added.items())},
        "additional_special_tokens": [token.content for token in special.additional],
        "clean_up_tokenization_spaces": settings.clean_up_tokenization_spaces,
        "model_max_length": settings.model_max_length,
        "padding_side": settings.padding_side,
        "tokenizer_class": class_name,
        "truncation_side": settings.truncation_side,
    }
    config |= further
    if class_name == BERT_CLASS:
        config |= bert_config(settings)
    else:
        config["add_prefix_space"] = settings.add_prefix_space
    if settings.split_special_tokens:
        config["split_special_tokens"] = True
    if not settings.type_ids:
        config["model_input_names"] = ["input_ids", "attention_mask"]
    files: dict[str, dict[str, Any]] = {CONFIG_FILE: config, SPECIAL_TOKENS_FILE: _special_map(special, roles)}
    beyond = {token.content: index for index, token in added.items() if index >= vocab_size}
    if beyond:
        files[ADDED_TOKENS_FILE] = beyond
    return [_write_json(path / name, data) for name, data in files.items()]


def bert_config(settings: TokenizerSettings) -> dict[str, Any]:
    """What only BERT's class has; a role that is absent is null, or the class would take its own token."""
    return {role: None for role in _BERT_ROLES if getattr(settings.special, role) is None} | {
        "do_basic_tokenize": settings.do_basic_tokenize,
        "do_lower_case": settings.do_lower_case,
        "never_split": list(settings.never_split) or None,
        "strip_accents": settings.strip_accents,
        "tokenize_chinese_chars": settings.tokenize_chinese_chars,
    }


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
