"""A tokenizer's special tokens: by role, and where they stand in a row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from bert_onnx.errors import UsageError
from bert_onnx.tokenization.encoding import PlainTokens, Row
from bert_onnx.tokenization.settings import ROLES, TokenizerSettings
from bert_onnx.tokenization.template import RowTemplate
from bert_onnx.tokenization.vocab import AddedToken


class HasSpecialTokens(ABC):
    """What follows from a tokenizer's settings and its ids of single tokens."""

    settings: TokenizerSettings
    #: Ids that have no row in the model's embeddings; see `check_vocabulary`.
    unknown_to_model: frozenset[int] = frozenset()

    @abstractmethod
    def _find_id(self, token: str) -> int | None:
        """The id of `token`, None where there is none."""

    @abstractmethod
    def _template(self, pair: bool, special: bool) -> RowTemplate:
        """How a row of one text, or of a pair, is built, with special tokens or without."""

    def _token_id(self, token: str) -> int | None:
        """The id of `token`, or the unknown token's."""
        index = self._find_id(token)
        return self.unk_token_id if index is None else index

    def _role(self, role: str) -> str | None:
        token: AddedToken | None = getattr(self.settings.special, role)
        return None if token is None else token.content

    def _role_id(self, role: str) -> int | None:
        token = self._role(role)
        return None if token is None else self._find_id(token)

    @property
    def bos_token(self) -> str | None:
        return self._role("bos_token")

    @property
    def eos_token(self) -> str | None:
        return self._role("eos_token")

    @property
    def unk_token(self) -> str | None:
        return self._role("unk_token")

    @property
    def sep_token(self) -> str | None:
        return self._role("sep_token")

    @property
    def pad_token(self) -> str | None:
        return self._role("pad_token")

    @property
    def cls_token(self) -> str | None:
        return self._role("cls_token")

    @property
    def mask_token(self) -> str | None:
        return self._role("mask_token")

    @property
    def bos_token_id(self) -> int | None:
        return self._role_id("bos_token")

    @property
    def eos_token_id(self) -> int | None:
        return self._role_id("eos_token")

    @property
    def unk_token_id(self) -> int | None:
        return self._role_id("unk_token")

    @property
    def sep_token_id(self) -> int | None:
        return self._role_id("sep_token")

    @property
    def pad_token_id(self) -> int | None:
        return self._role_id("pad_token")

    @property
    def cls_token_id(self) -> int | None:
        return self._role_id("cls_token")

    @property
    def mask_token_id(self) -> int | None:
        return self._role_id("mask_token")

    @property
    def padding_id(self) -> int:
        """What fills rows up: the padding token, or 0 where there is none that the model knows; it is masked anyway."""
        index = self.pad_token_id
        return 0 if index is None or index in self.unknown_to_model else index

    @property
    def additional_special_tokens(self) -> list[str]:
        return [token.content for token in self.settings.special.additional]

    @property
    def all_special_tokens(self) -> list[str]:
        return [token.content for token in self.settings.special]

    @property
    def all_special_ids(self) -> list[int]:
        return [index for token in self.all_special_tokens if (index := self._token_id(token)) is not None]

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

    @property
    def pad_token_type_id(self) -> int:
        """The type id of padding."""
        return 0

    @property
    def model_input_names(self) -> list[str]:
        """The columns that a call returns unless told otherwise."""
        return ["input_ids", *(["token_type_ids"] if self.settings.type_ids else []), "attention_mask"]

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many special tokens a row gets: BERT's 2, and 3 for a pair."""
        return self._template(pair, True).special_tokens

    def build_inputs_with_special_tokens(
        self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
    ) -> list[int]:
        """The ids of a row: BERT's `[CLS] A [SEP]`, or `[CLS] A [SEP] B [SEP]` for a pair."""
        return self._row_of_ids(token_ids_0, token_ids_1).ids()

    def create_token_type_ids_from_sequences(
        self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
    ) -> list[int]:
        """The type ids of a row: BERT's are 0 for `[CLS] A [SEP]` and 1 for `B [SEP]`."""
        return self._row_of_ids(token_ids_0, token_ids_1).type_ids()

    def _row_of_ids(self, first: Sequence[int], second: Sequence[int] | None, special: bool = True) -> Row:
        texts = tuple(PlainTokens(list(ids)) for ids in (first, second) if ids is not None)
        windows = tuple((0, len(text.ids)) for text in texts)
        return Row(0, self._template(second is not None, special), texts, windows, windows)

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
        row = self._row_of_ids(token_ids_0, token_ids_1)
        return row.fill(row.template.special_mask)
