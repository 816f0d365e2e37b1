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
ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")

_UNK, _SEP, _PAD, _CLS, _MASK = map(special_token, ("[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"))

Value = TypeVar("Value")


@dataclass(frozen=True)
class SpecialTokens:
    """The tokens with a role, any of which may be absent, and further ones that are special without one.

    `flagged` holds the contents of those that were named with flags of their own; of the others those count that the
    tokenizer has already.
    """

    bos_token: AddedToken | None = None
    eos_token: AddedToken | None = None
    unk_token: AddedToken | None = _UNK
    sep_token: AddedToken | None = _SEP
    pad_token: AddedToken | None = _PAD
    cls_token: AddedToken | None = _CLS
    mask_token: AddedToken | None = _MASK
    additional: tuple[AddedToken, ...] = ()
    flagged: frozenset[str] = field(default=frozenset(), compare=False)

    def __iter__(self) -> Iterator[AddedToken]:
        """Every special token once, in the order in which tokens missing from the vocabulary get their ids."""
        seen: set[str] = set()
        for token in (*(getattr(self, role) for role in ROLES), *self.additional):
            if token is not None and token.content not in seen:
                seen.add(token.content)
                yield token


def special_tokens(
    unk_token: str | AddedToken | None,
    sep_token: str | AddedToken | None,
    pad_token: str | AddedToken | None,
    cls_token: str | AddedToken | None,
    mask_token: str | AddedToken | None,
    additional: Sequence[str | AddedToken],
) -> SpecialTokens:
    """Special tokens as a caller names them."""
    named = (unk_token, sep_token, pad_token, cls_token, mask_token, *additional)
    return SpecialTokens(
        flagged=frozenset(token.content for token in named if isinstance(token, AddedToken)),
        unk_token=_or_none(unk_token),
        sep_token=_or_none(sep_token),
        pad_token=_or_none(pad_token),
        cls_token=_or_none(cls_token),
        mask_token=_or_none(mask_token),
        additional=tuple(special_token(token) for token in additional),
    )


def _or_none(token: str | AddedToken | None) -> AddedToken | None:
    return None if token is None else special_token(token)


@dataclass(frozen=True)
class TokenizerSettings:
    """Every option of a tokenizer; where one is read only by BertTokenizer or only by the fast one, it says so."""

    do_lower_case: bool = True
    do_basic_tokenize: bool = True  # BertTokenizer
    never_split: tuple[str, ...] = ()  # BertTokenizer
    tokenize_chinese_chars: bool = True
    strip_accents: bool | None = None
    clean_up_tokenization_spaces: bool = True
    model_max_length: int = NO_LIMIT
    padding_side: str = "right"
    truncation_side: str = "right"
    split_special_tokens: bool = False
    add_prefix_space: bool = False  # of byte-level tokenizers
    trim_offsets: bool = True  # of byte-level tokenizers
    type_ids: bool = True  # whether calls return token_type_ids unless told otherwise
    special: SpecialTokens = field(default_factory=SpecialTokens)
    added_tokens: Mapping[int, AddedToken] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("padding_side", "truncation_side"):
            check_side(name, getattr(self, name))


def check_side(name: str, side: str) -> None:
    """Raise UsageError unless `side` is left or right."""
    if side not in SIDES:
        raise UsageError(f"{name} is {side!r}; it is 'right' or 'left'.")


def doubtful_special_tokens(vocabulary: Vocabulary, settings: TokenizerSettings) -> list[str]:
    """A warning for every token with a role that `vocabulary` lacks or holds more than once.

    Of a token that stands there twice the last line counts; one that is missing gets the next free id.
    """
    added = {token.content for token in settings.added_tokens.values()}
    warnings = missing_roles(settings.special, vocabulary.ids.keys() | added, vocabulary.source)
    for role in ROLES:
        token = getattr(settings.special, role)
        if token is not None and token.content in vocabulary.duplicates:
            warnings.append(
                f"The vocabulary {vocabulary.source} holds the {role} {token.content!r} more than once; its last line "
                "counts."
            )
    return warnings


def missing_roles(special: SpecialTokens, known: Collection[str], source: str) -> list[str]:
    """A warning that names the tokens with a role that are not in `known`; none where all are."""
    missing = [
        f"{role} {token.content!r}"
        for role in ROLES
        if (token := getattr(special, role)) is not None and token.content not in known
    ]
    if not missing:
        return []
    return [f"{source} lacks the {', '.join(missing)}, so that it gets an id beyond the vocabulary."]


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
    """`config[name]` where present and not null, checked to be one of `kinds`. Raises TokenizerError."""
    value: Value | None = config.get(name)
    if value is None:
        return default
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise TokenizerError(f"{where} has {name} {value!r}; it is of type {' or '.join(k.__name__ for k in kinds)}.")
    return value
