"""The cache of keys and values for incremental decoding: a tuple a layer, nothing hidden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bert_onnx.config import BertConfig
from bert_onnx.errors import InputError


@dataclass(frozen=True)
class KeysValues:
    """Keys and values of one attention: each [B, H, R, K], R tokens."""

    keys: Tensor
    values: Tensor

    def extended_by(self, newer: KeysValues) -> KeysValues:
        """These tokens, then `newer` ones. Either may be of length 0."""
        return KeysValues(torch.cat((self.keys, newer.keys), dim=2), torch.cat((self.values, newer.values), dim=2))


@dataclass(frozen=True)
class LayerCache:
    """What one layer remembers: its own tokens, and the encoder's where it attends to them."""

    own: KeysValues
    cross: KeysValues | None = None

    @classmethod
    def from_tensors(cls, tensors: Sequence[Tensor]) -> LayerCache:
        """From (key, value) or (key, value, cross_key, cross_value)."""
        cross = KeysValues(tensors[2], tensors[3]) if len(tensors) == 4 else None
        return cls(KeysValues(tensors[0], tensors[1]), cross)

    def to_tensors(self) -> tuple[Tensor, ...]:
        """The inverse of `from_tensors`."""
        own = (self.own.keys, self.own.values)
        return own if self.cross is None else (*own, self.cross.keys, self.cross.values)


def read_cache(past_key_values: Sequence[Sequence[Tensor]] | None, config: BertConfig) -> list[LayerCache] | None:
    """The cache by layer, its structure checked.

    Raises:
        InputError: a cache for a model that is not a decoder, or of another number of layers or tensors.
    """
    if past_key_values is None:
        return None
    if not config.is_decoder:
        raise InputError("past_key_values was given to a model that is not a decoder; set is_decoder in its config.")
    if len(past_key_values) != config.num_hidden_layers:
        raise InputError(
            f"past_key_values has {len(past_key_values)} layers; the model has {config.num_hidden_layers}."
        )
    for index, tensors in enumerate(past_key_values):
        heads, size = config.heads_in_layer(index), config.head_size
        fits = len(tensors) in (2, 4) and all(tensor.dim() == 4 for tensor in tensors)
        if not fits or any(tuple(tensor.shape[1::2]) != (heads, size) for tensor in tensors[:2]):
            raise InputError(
                f"past_key_values[{index}] must be (key, value) or (key, value, cross_key, cross_value), each of the "
                f"shape [batch, {heads}, length, {size}]; it has {[tuple(tensor.shape) for tensor in tensors]}."
            )
    return [LayerCache.from_tensors(tensors) for tensors in past_key_values]


def past_length(cache: Sequence[LayerCache] | None) -> int:
    """P, the number of tokens that a cache holds; 0 without one."""
    return 0 if cache is None else cache[0].own.keys.shape[2]
