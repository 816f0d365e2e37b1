"""Texts to windows of token ids: one window a text where it fits or is cut, several where it is read in parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bert_onnx.errors import InputError, UsageError

if TYPE_CHECKING:
    from bert_onnx.tokenization import FastTokenizer

#: Which text of a pair is cut where both are too long together, by the names that transformers has.
LONGEST_FIRST, ONLY_FIRST, ONLY_SECOND, DO_NOT_TRUNCATE = TRUNCATIONS = (
    "longest_first", "only_first", "only_second", "do_not_truncate",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Window:
    """One row of a batch, without padding. Offsets, special, words and sequences are filled by `encode_spans` only.

    Args:
        sample: index of its text among the texts.
        ids: token ids [S], special tokens included.
        type_ids: 0 for the first text and 1 for the second [S].
        truncated: something of the text is in no window.
        offsets: first and past-the-last character of every token in its text; (0, 0) for special tokens.
        special: 1 where the tokenizer added a special token.
        words: index of the word that a token is a part of; None for special tokens.
        sequences: 0 for tokens of the first text, 1 for those of the second, None for special tokens.
        seen: how many tokens attention sees, the first ones; None for all.
    """

    sample: int
    ids: list[int]
    type_ids: list[int]
    truncated: bool = False
    offsets: Sequence[tuple[int, int]] = ()
    special: Sequence[int] = ()
    words: Sequence[int | None] = ()
    sequences: Sequence[int | None] = ()
    seen: int | None = None


def check_texts(texts: Any, what: str = "text") -> list[str]:
    """`texts` as a list; one text alone becomes a list of one.

    Raises:
        InputError: something among them is not a text.
    """
    checked = list(iterable_texts(texts, what))
    for index, text in enumerate(checked):
        if not isinstance(text, str):
            raise InputError(f"{what} {index} is a {type(text).__name__}; it must be a string.")
    return checked


def iterable_texts(texts: Any, what: str = "text") -> Iterable[Any]:
    """`texts` to be gone through once, whatever is among them; one text alone becomes a list of one.

    Raises:
        InputError: it is neither a text nor several things.
    """
    if isinstance(texts, str):
        return [texts]
    if texts is None or isinstance(texts, (bytes, Mapping)) or not isinstance(texts, Iterable):
        raise InputError(f"a {what} is a string, or several are a list of strings; this is a {type(texts).__name__}.")
    return texts


def check_pairs(texts: list[str], pairs: str | Sequence[str] | None, what: str) -> list[str] | None:
    """The second texts as a list of the same length; one text alone goes with each of `texts`.

    Raises:
        InputError: their number is another, or one is not a text.
    """
    if pairs is None:
        return None
    if isinstance(pairs, str):
        return [pairs] * len(texts)
    checked = check_texts(pairs, what)
    if len(checked) != len(texts):
        raise InputError(f"there are {len(texts)} texts but {len(checked)} of their {what}s; give one for each.")
    return checked


def read_pairs(texts: Any, pairs: Any, what: str) -> tuple[list[str], list[str | None] | None]:
    """Texts with an optional second one: two lists, or what the pipelines of transformers take as well.

    Those are a dict with `text` and `text_pair`, a list of such dicts, and an empty second text, which is none.

    Raises:
        InputError: something among them is not a text, or there are other numbers of texts and pairs.
    """
    items = [texts] if isinstance(texts, Mapping) else texts
    if isinstance(items, (list, tuple)) and items and all(isinstance(item, Mapping) for item in items):
        if pairs is not None or any(item.keys() - {"text", "text_pair"} or "text" not in item for item in items):
            raise InputError(f"texts as mappings have a text and a text_pair, and no {what}s beside them.")
        texts = [item["text"] for item in items]
        seconds = [item.get("text_pair") for item in items]
        given = check_texts([second or "" for second in seconds], what)
    else:
        texts = check_texts(texts)
        found = check_pairs(texts, pairs, what)
        if found is None:
            return texts, None
        given = found
    return check_texts(texts), [second or None for second in given] if any(given) else None


def check_truncation(truncation: bool | str) -> str:
    """One of TRUNCATIONS, also as transformers takes it: True for the longest first, False for none.

    Raises:
        UsageError: it is something else.
    """
    if isinstance(truncation, bool):
        return LONGEST_FIRST if truncation else DO_NOT_TRUNCATE
    if truncation not in TRUNCATIONS:
        raise UsageError(f"truncation is {truncation!r}; it must be True, False or one of {', '.join(TRUNCATIONS)}.")
    return truncation


def encode(
    tokenizer: FastTokenizer,
    texts: list[str],
    pairs: Sequence[str | None] | None,
    max_length: int | None,
    add_special_tokens: bool = True,
    truncation: str = LONGEST_FIRST,
) -> list[Window]:
    """One window for each text (or pair), cut to `max_length` tokens.

    Args:
        truncation: which text of a pair is cut, one of TRUNCATIONS.

    Raises:
        InputError: cutting that text alone does not make the pair short enough.
    """
    rows = _rows(tokenizer, texts, pairs, None, add_special_tokens)
    windows = [Window(index, ids, types) for index, (ids, types) in enumerate(rows)]
    # Few texts are too long: only those are encoded again, so that cutting is known from fitting exactly.
    cuts = max_length is not None and truncation != DO_NOT_TRUNCATE
    long = [w.sample for w in windows if cuts and len(w.ids) > (max_length or 0)]
    if long:
        cut_pairs = None if pairs is None else [pairs[i] for i in long]
        cut = _rows(tokenizer, [texts[i] for i in long], cut_pairs, max_length, add_special_tokens, truncation)
        for index, (ids, types) in zip(long, cut, strict=True):
            windows[index] = Window(index, ids, types, truncated=True)
    return windows


def prompt_length(tokenizer: FastTokenizer, prompt: str, max_length: int) -> int:
    """Tokens at the beginning of a text that belong to `prompt`, as sentence-transformers counts them: the special
    token before it is one of them, and the one after it is not. 0 without a prompt."""
    if not prompt:
        return 0
    (window,) = encode(tokenizer, [prompt], None, max_length)
    return len(window.ids) - int(window.ids[-1] in tokenizer.all_special_ids)


def _rows(
    tokenizer: FastTokenizer,
    texts: list[str],
    pairs: Sequence[str | None] | None,
    max_length: int | None,
    special: bool,
    truncation: str = LONGEST_FIRST,
) -> list[tuple[list[int], list[int]]]:
    if not texts:
        return []
    encoding = tokenizer(
        texts,
        None if pairs is None else list(pairs),
        add_special_tokens=special,
        truncation=DO_NOT_TRUNCATE if max_length is None else truncation,
        max_length=max_length,
        return_attention_mask=False,
    )
    return list(zip(encoding["input_ids"], _type_ids(encoding), strict=True))


def _type_ids(encoding: Any) -> list[list[int]]:
    """The type ids of every row: zeros where the tokenizer's class returns none, which is what a model then reads."""
    if "token_type_ids" in encoding:
        types: list[list[int]] = encoding["token_type_ids"]
        return types
    return [[0] * len(ids) for ids in encoding["input_ids"]]


def encode_spans(
    tokenizer: FastTokenizer,
    texts: Sequence[str | list[str]],
    pairs: list[str] | None,
    max_length: int,
    stride: int | None,
    first_sample: int = 0,
) -> list[Window]:
    """Windows of each text (or of its pair, where there is one), with offsets and words.

    Args:
        tokenizer: of the model.
        texts, pairs: with pairs, a text is repeated whole in every window of its pair. Texts may all be lists of words,
            in which offsets count from the beginning of each word.
        max_length: most tokens in a window, special ones included.
        stride: tokens that a window shares with the one before; None keeps the first window only.
        first_sample: the index that the first text has for the caller.
    """
    if not texts:
        return []
    encoding: Any = tokenizer(
        list(texts),
        pairs,
        is_split_into_words=isinstance(texts[0], list),
        truncation="only_first" if pairs is None else "only_second",
        max_length=max_length,
        stride=stride or 0,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
        return_attention_mask=False,
    )
    samples: list[int] = encoding["overflow_to_sample_mapping"]
    offsets, types = encoding["offset_mapping"], _type_ids(encoding)
    windows = []
    for row, sample in enumerate(samples):
        if stride is None and row > 0 and samples[row - 1] == sample:
            continue
        windows.append(
            Window(
                first_sample + sample,
                encoding["input_ids"][row],
                types[row],
                truncated=stride is None and row + 1 < len(samples) and samples[row + 1] == sample,
                offsets=offsets[row],
                special=encoding["special_tokens_mask"][row],
                words=encoding.word_ids(row),
                sequences=encoding.sequence_ids(row),
            )
        )
    return windows
