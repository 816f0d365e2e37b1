"""What a tokenizer is configured with: options and special tokens, validated once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bert_onnx.errors import TokenizerError, UsageError
from bert_onnx.tokenization.vocab import AddedToken, Vocabulary, special_token

#: What stands for "no limit" where a checkpoint names none; the value that the ecosystem writes into its files.
NO_LIMIT = int(1e30)
SIDES = ("right", "left")
ROLES = ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")

_UNK, _SEP, _PAD, _CLS, _MASK = map(special_token, ("[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"))

Value = TypeVar("Value")


@dataclass(frozen=True)
class SpecialTokens:
    """The tokens with a role, and further ones that are special without one. Only the mask may be absent."""

    unk_token: AddedToken = _UNK
    sep_token: AddedToken = _SEP
    pad_token: AddedToken = _PAD
    cls_token: AddedToken = _CLS
    mask_token: AddedToken | None = _MASK
    additional: tuple[AddedToken, ...] = ()

    def __iter__(self) -> Iterator[AddedToken]:
        """Every special token once, in the order in which tokens missing from the vocabulary get their ids."""
        seen: set[str] = set()
        for token in (*(getattr(self, role) for role in ROLES), *self.additional):
            if token is not None and token.content not in seen:
                seen.add(token.content)
                yield token


def special_tokens(
    unk_token: str | AddedToken,
    sep_token: str | AddedToken,
    pad_token: str | AddedToken,
    cls_token: str | AddedToken,
    mask_token: str | AddedToken | None,
    additional: Sequence[str | AddedToken],
) -> SpecialTokens:
    """Special tokens as a caller names them."""
    return SpecialTokens(
        unk_token=special_token(unk_token),
        sep_token=special_token(sep_token),
        pad_token=special_token(pad_token),
        cls_token=special_token(cls_token),
        mask_token=None if mask_token is None else special_token(mask_token),
        additional=tuple(special_token(token) for token in additional),
    )


@dataclass(frozen=True)
class TokenizerSettings:
    """Every option of a tokenizer; where one is read only by BertTokenizer or only by the fast one, it says so."""

    do_lower_case: bool = True
    do_basic_tokenize: bool = True  # BertTokenizer
    never_split: tuple[str, ...] = ()  # BertTokenizer
    tokenize_chinese_chars: bool = True
    strip_accents: bool | None = None
    clean_text: bool = True  # BertTokenizerFast
    wordpieces_prefix: str = "##"  # BertTokenizerFast
    clean_up_tokenization_spaces: bool = True
    model_max_length: int = NO_LIMIT
    padding_side: str = "right"
    truncation_side: str = "right"
    special: SpecialTokens = field(default_factory=SpecialTokens)
    added_tokens: Mapping[int, AddedToken] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("padding_side", "truncation_side"):
            check_side(name, getattr(self, name))


def check_side(name: str, side: str) -> None:
    """Raise UsageError unless `side` is left or right."""
    if side not in SIDES:
        raise UsageError(f"{name} is {side!r}; it is 'right' or 'left'.")


def check_special_tokens(vocabulary: Vocabulary, settings: TokenizerSettings) -> None:
    """Check that each token with a role stands in the vocabulary exactly once.

    Tokens that settings.added_tokens bring along count as present. Raises TokenizerError.
    """
    added = {token.content for token in settings.added_tokens.values()}
    check_roles(settings.special, vocabulary.ids.keys() | added, vocabulary.source)
    for role in ROLES:
        token = getattr(settings.special, role)
        if token is not None and token.content in vocabulary.duplicates:
            raise TokenizerError(
                f"The vocabulary {vocabulary.source} holds the {role} {token.content!r} more than once, so its id is "
                "not certain; mend the file or fetch it again."
            )


def check_roles(special: SpecialTokens, known: Collection[str], source: str) -> None:
    """Check that every token with a role is in `known`. Raises TokenizerError naming the missing ones and `source`."""
    missing = [
        f"{role} {token.content!r}"
        for role in ROLES
        if (token := getattr(special, role)) is not None and token.content not in known
    ]
    if missing:
        raise TokenizerError(
            f"{source} lacks the {', '.join(missing)}; name the tokens that it has in tokenizer_config.json, or use "
            "the vocabulary of the checkpoint."
        )


def parse_token(value: Any, where: str, *, special: bool = False) -> AddedToken:
    """A token as the JSON files write it: a string, or an object with `content` and flags.

    `special` makes it a special token whatever the object says. Raises TokenizerError, naming `where`.
    """
    if isinstance(value, str):
        return special_token(value) if special else AddedToken(value)
    if not isinstance(value, dict) or not isinstance(value.get("content"), str):
        raise TokenizerError(f"{where} is {value!r}; a token is a string or an object with a string 'content'.")
    flags = {name: value[name] for name in _FLAGS if name in value}
    for name, flag in flags.items():
        if not isinstance(flag, bool):
            raise TokenizerError(f"{where} has {name} {flag!r}; it is true or false.")
    if special:
        flags["special"] = True
    flags.setdefault("normalized", not flags.get("special", False))
    return AddedToken(value["content"], **flags)


def token_to_json(token: AddedToken) -> dict[str, Any]:
    """`token` as the `added_tokens_decoder` of a tokenizer_config.json holds it."""
    return {"content": token.content} | {name: getattr(token, name) for name in _FLAGS}


def option(config: Mapping[str, Any], name: str, kinds: tuple[type, ...], default: Value, where: str) -> Value:
    """`config[name]` where present, checked to be one of `kinds`. Raises TokenizerError."""
    if name not in config:
        return default
    value: Value = config[name]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        wanted = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
        raise TokenizerError(f"{where} has {name} {value!r}; it is of type {wanted}.")
    return value
