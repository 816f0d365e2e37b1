"""How a row is built around its texts: which special tokens stand where, and which type ids everything gets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RowTemplate:
    """The slots of a row, in their order: a special token, or one of the texts.

    Args:
        sequences: 0 where the first text stands, 1 for the second, None for a special token.
        ids: of the special tokens; what stands for a text is never read.
        tokens: the special tokens.
        type_ids: of special tokens and of the tokens of texts.
        window_types: type ids of a text's tokens in its second window and later ones, where the tokenizers library
            does not apply its templates; None means that they are no others.
    """

    sequences: tuple[int | None, ...]
    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    type_ids: tuple[int, ...]
    window_types: tuple[int, ...] | None = None

    @property
    def special_tokens(self) -> int:
        """How many special tokens a row gets."""
        return self.sequences.count(None)

    @property
    def special_mask(self) -> tuple[int, ...]:
        """1 for special tokens, 0 for texts."""
        return tuple(int(sequence is None) for sequence in self.sequences)


def bert_template(pair: bool, special: bool, cls: tuple[str, int], sep: tuple[str, int]) -> RowTemplate:
    """`[CLS] A [SEP]` and `[CLS] A [SEP] B [SEP]`, type ids 0 and 1; `cls` and `sep` are (token, id).

    Without special tokens all type ids are 0: the plain-Python reference tells the texts of a pair apart no more.
    """
    if not special:
        texts = (0, 1) if pair else (0,)
        return RowTemplate(texts, (0,) * len(texts), ("",) * len(texts), (0,) * len(texts))
    slots = [(None, *cls, 0), (0, "", 0, 0), (None, *sep, 0), (1, "", 0, 1), (None, *sep, 1)]
    sequences, tokens, ids, types = zip(*slots[: 5 if pair else 3], strict=True)
    return RowTemplate(sequences, ids, tokens, types)
