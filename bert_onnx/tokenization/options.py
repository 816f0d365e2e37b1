"""Options of tokenizer_config.json, and what a caller may say instead."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bert_onnx.errors import TokenizerError, UsageError
from bert_onnx.tokenization.classes import TokenizerClass
from bert_onnx.tokenization.files import CONFIG_FILE
from bert_onnx.tokenization.settings import NO_LIMIT, ROLES, SIDES, SpecialTokens, TokenizerSettings, option
from bert_onnx.tokenization.vocab import AddedToken

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


def check_overrides(overrides: Mapping[str, Any]) -> None:
    """Raise UsageError for an override that does not exist."""
    for name in overrides:
        if name not in OVERRIDES:
            raise UsageError(f"A tokenizer has no setting {name!r}; it has {', '.join(OVERRIDES)}.")


def null_options(config: Mapping[str, Any]) -> list[str]:
    """Settings that are null where a value belongs."""
    nulls = [name for name in (*OVERRIDES, "added_tokens_decoder") if name in config and config[name] is None]
    return [name for name in nulls if name not in _NULL_IS_A_VALUE]


def read_options(
    config: Mapping[str, Any], kind: TokenizerClass, path: Path, special: SpecialTokens, added: Mapping[int, AddedToken]
) -> TokenizerSettings:
    """The settings of the folder `path`. Raises TokenizerError for one of another type."""
    where = str(path / CONFIG_FILE)
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
        clean_up_tokenization_spaces=option(config, "clean_up_tokenization_spaces", flag, True, where),
        model_max_length=_limit(option(config, limit, number, None, where)),
        padding_side=_side(config, "padding_side", where),
        truncation_side=_side(config, "truncation_side", where),
        split_special_tokens=option(config, "split_special_tokens", flag, False, where),
        add_prefix_space=option(config, "add_prefix_space", flag, False, where),
        trim_offsets=option(config, "trim_offsets", flag, True, where),
        type_ids="token_type_ids" in inputs,
        special=special,
        added_tokens=added,
    )


def doubtful_options(config: Mapping[str, Any], settings: TokenizerSettings, path: Path) -> list[str]:
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


def _side(config: Mapping[str, Any], name: str, where: str) -> str:
    side = config.get(name, SIDES[0])
    if side not in SIDES:
        raise TokenizerError(f"{where} has {name} {side!r}; it is 'right' or 'left'.")
    return str(side)


def _limit(value: float | None) -> int:
    """A number of tokens; what leaves no room for one is no limit."""
    return NO_LIMIT if value is None or not value >= 1 else int(min(value, NO_LIMIT))
