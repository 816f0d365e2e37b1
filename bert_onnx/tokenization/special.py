"""A tokenizer's special tokens: by role, and where they stand in a row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from bert_onnx.errors import UsageError
from bert_onnx.tokenization.settings import ROLES, TokenizerSettings
from bert_onnx.tokenization.vocab import AddedToken


class HasSpecialTokens(ABC):
    """What follows from a tokenizer's settings and its ids of single tokens."""

    settings: TokenizerSettings

    @abstractmethod
    def _token_id(self, token: str) -> int:
        """The id of `token`, or the unknown token's."""

    def _role(self, role: str) -> str | None:
        token: AddedToken | None = getattr(self.settings.special, role)
        return None if token is None else token.content

    @property
    def unk_token(self) -> str:
        return self.settings.special.unk_token.content

    @property
    def sep_token(self) -> str:
        return self.settings.special.sep_token.content

    @property
    def pad_token(self) -> str:
        return self.settings.special.pad_token.content

    @property
    def cls_token(self) -> str:
        return self.settings.special.cls_token.content

    @property
    def mask_token(self) -> str | None:
        return self._role("mask_token")

    @property
    def unk_token_id(self) -> int:
        return self._token_id(self.unk_token)

    @property
    def sep_token_id(self) -> int:
        return self._token_id(self.sep_token)

    @property
    def pad_token_id(self) -> int:
        return self._token_id(self.pad_token)

    @property
    def cls_token_id(self) -> int:
        return self._token_id(self.cls_token)

    @property
    def mask_token_id(self) -> int | None:
        """None for a tokenizer without a mask token."""
        token = self.mask_token
        return None if token is None else self._token_id(token)

    @property
    def additional_special_tokens(self) -> list[str]:
        return [token.content for token in self.settings.special.additional]

    @property
    def all_special_tokens(self) -> list[str]:
        return [token.content for token in self.settings.special]

    @property
    def all_special_ids(self) -> list[int]:
        return [self._token_id(token) for token in self.all_special_tokens]

    @property
    def special_tokens_map(self) -> dict[str, str | list[str]]:
        """Special tokens by role."""
        tokens: dict[str, str | list[str]] = {role: token for role in ROLES if (token := self._role(role)) is not None}
        if self.additional_special_tokens:
            tokens["additional_special_tokens"] = self.additional_special_tokens
        return tokens

    @property
    def model_max_length(self) -> int:
        """Tokens that the model takes, special ones included; a very large number where the checkpoint names none."""
        return self.settings.model_max_length

    @property
    def padding_side(self) -> str:
        return self.settings.padding_side

    @property
    def truncation_side(self) -> str:
        return self.settings.truncation_side

    @property
    def do_lower_case(self) -> bool:
        return self.settings.do_lower_case

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many special tokens a row gets: 2, and 3 for a pair."""
        return 3 if pair else 2

    def build_inputs_with_special_tokens(
        self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
    ) -> list[int]:
        """`[CLS] A [SEP]`, or `[CLS] A [SEP] B [SEP]` for a pair."""
        sep = self.sep_token_id
        row = [self.cls_token_id, *token_ids_0, sep]
        return row if token_ids_1 is None else [*row, *token_ids_1, sep]

    def create_token_type_ids_from_sequences(
        self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
    ) -> list[int]:
        """0 for `[CLS] A [SEP]`, 1 for `B [SEP]`."""
        return [0] * (len(token_ids_0) + 2) + ([] if token_ids_1 is None else [1] * (len(token_ids_1) + 1))

    def get_special_tokens_mask(
        self,
        token_ids_0: Sequence[int],
        token_ids_1: Sequence[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """1 where a special token stands, 0 elsewhere.

        With `already_has_special_tokens`, `token_ids_0` is a finished row and its ids are looked up; otherwise it is
        the text's ids, and the mask is that of the row they will become.
        """
        if already_has_special_tokens:
            if token_ids_1 is not None:
                raise UsageError("A row that already has its special tokens is one list; token_ids_1 must be None.")
            special = set(self.all_special_ids)
            return [int(index in special) for index in token_ids_0]
        mask = [1, *([0] * len(token_ids_0)), 1]
        return mask if token_ids_1 is None else [*mask, *([0] * len(token_ids_1)), 1]
