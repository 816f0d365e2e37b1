"""One vector for a text from the vectors of its tokens, as sentence-transformers defines it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from bert_onnx.sentence_modules import (
    SENTENCE,
    TOKENS,
    Dense,
    LayerNorm,
    Module,
    Normalize,
    NormalizeTokens,
    Pooling,
    Projection,
    SpladePooling,
)

#: Below every real hidden state: what max pooling puts at padding.
_PADDING_VALUE = -1e9


class SentenceChain(nn.Module):
    """The weights of a chain of modules, and what it computes.

    Args:
        chain: its modules, in order.
    """

    def __init__(self, chain: Sequence[Module]) -> None:
        super().__init__()
        self.chain = tuple(chain)
        self.layers = nn.ModuleList(_layer(module) for module in self.chain)

    def embed(
        self,
        tokens: Tensor,
        attention_mask: Tensor,
        prompt_length: Tensor | None = None,
        makes: str = SENTENCE,
    ) -> Tensor:
        """[B, S, D] token vectors to [B, E]; or to [B, S, E].

        Args:
            tokens: last hidden state; or logits, with V for D, where a SpladePooling reads them.
            attention_mask: [B, S], 1 for real tokens.
            prompt_length: [1], how many of the first real tokens belong to the prompt; None for none.
            makes: TOKENS for the tokens as the modules leave them.
        """
        features, mask = {TOKENS: tokens}, attention_mask
        for module, layer in zip(self.chain, self.layers, strict=True):
            if isinstance(module, Pooling):
                if not module.include_prompt and prompt_length is not None:
                    mask = without_prompt(mask, prompt_length)  # later poolings go without it, too
                features[SENTENCE] = pool(features[TOKENS], mask, module.modes)
            elif isinstance(module, SpladePooling):
                features[SENTENCE] = splade(features[TOKENS], mask, module)
            elif isinstance(module, Dense):
                features[module.writes] = layer(features[module.reads])
            elif isinstance(module, Projection):
                features[TOKENS] = layer(features[TOKENS])
            elif isinstance(module, NormalizeTokens):
                features[TOKENS] = functional.normalize(features[TOKENS], p=2.0, dim=-1)
            elif isinstance(module, LayerNorm):
                features[SENTENCE] = layer(features[SENTENCE])
            elif isinstance(module, Normalize) and SENTENCE in features:
                features[SENTENCE] = functional.normalize(features[SENTENCE], p=2.0, dim=-1)
        return features[TOKENS if makes == TOKENS else SENTENCE]


class DenseLayer(nn.Module):
    """activation(W x + b); its parameters are named as sentence-transformers saves them."""

    def __init__(self, described: Dense) -> None:
        super().__init__()
        self.linear = nn.Linear(described.in_features, described.out_features, described.bias)
        self.activation_function = _activation(described.activation)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in_features] to [..., E]."""
        result: Tensor = self.activation_function(self.linear(x))
        return result


class ProjectionLayer(nn.Module):
    """activation(W x + b), and perhaps x or R x beside it; its parameters are named as PyLate saves them."""

    def __init__(self, described: Projection) -> None:
        super().__init__()
        self.linear = nn.Linear(described.in_features, described.out_features, described.bias)
        self.activation_function = _activation(described.activation)
        self.residual: nn.Module | None = None
        if described.residual:
            same = described.in_features == described.out_features
            self.residual = (
                nn.Identity() if same else nn.Linear(described.in_features, described.out_features, bias=False)
            )

    def forward(self, x: Tensor) -> Tensor:
        """[B, S, in_features] to [B, S, E]."""
        result: Tensor = self.activation_function(self.linear(x))
        return result if self.residual is None else result + self.residual(x)


class Softplus(nn.Module):
    """log(1 + e^x), finite for every x; torch's own has a threshold, for which its exporter writes a function."""

    def forward(self, x: Tensor) -> Tensor:
        """[..., E] to the same."""
        return functional.relu(x) + torch.log(1 + torch.exp(-x.abs()))


class LogSigmoid(Softplus):
    """-softplus(-x), which is finite where the logarithm of a sigmoid, which the exporter writes, is not."""

    def forward(self, x: Tensor) -> Tensor:
        """[..., E] to the same."""
        return -super().forward(-x)


def _activation(name: str) -> nn.Module:
    if name == "RReLU":  # at inference its slope is the mean of those that it draws in training
        drawn = nn.RReLU()
        return nn.LeakyReLU((drawn.lower + drawn.upper) / 2)
    own: dict[str, type[nn.Module]] = {"Softplus": Softplus, "LogSigmoid": LogSigmoid}
    layer: nn.Module = own[name]() if name in own else getattr(nn, name)()
    return layer


class NormLayer(nn.Module):
    """LayerNorm; its parameters are named as sentence-transformers saves them."""

    def __init__(self, described: LayerNorm) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(described.dimension)

    def forward(self, x: Tensor) -> Tensor:
        """[B, E] to the same."""
        result: Tensor = self.norm(x)
        return result


def _layer(module: Module) -> nn.Module:
    if isinstance(module, Dense):
        return DenseLayer(module)
    if isinstance(module, Projection):
        return ProjectionLayer(module)
    return NormLayer(module) if isinstance(module, LayerNorm) else nn.Identity()


def without_prompt(mask: Tensor, prompt_length: Tensor) -> Tensor:
    """[B, S] mask with zeros at the first `prompt_length` places of each text, counted from its first real token."""
    left = _places_left(mask)
    return mask * (left <= _longest(mask, left) - prompt_length).to(mask.dtype)


def pool(hidden: Tensor, attention_mask: Tensor, modes: Sequence[str]) -> Tensor:
    """Pool token vectors to one vector a text.

    Formulas: Reimers and Gurevych 2019 (mean, cls, max over real tokens) and Muennighoff 2022 (weightedmean);
    the mean of no tokens is a zero vector.

    Args:
        hidden: [B, S, D] vectors of the tokens.
        attention_mask: [B, S], 1 for real tokens.
        modes: names among `bert_onnx.sentence_modules.POOLING_MODES`.

    Returns:
        [B, D * modes] vectors.
    """
    mask = attention_mask.unsqueeze(-1).to(hidden.dtype)  # [B, S, 1]
    vectors = [_pool(hidden, attention_mask, mask, mode) for mode in modes]
    return vectors[0] if len(vectors) == 1 else torch.cat(vectors, dim=-1)


def _pool(hidden: Tensor, attention_mask: Tensor, mask: Tensor, mode: str) -> Tensor:
    if mode == "mean":
        return (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1e-9)  # [B, D]
    if mode == "mean_sqrt_len_tokens":
        return (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1e-9).sqrt()  # [B, D]
    if mode == "max":
        return torch.where(mask > 0, hidden, _PADDING_VALUE).amax(dim=1)  # [B, D]
    left = _places_left(attention_mask)
    if mode == "weightedmean":
        weights = mask * (attention_mask.shape[1] + 1 - left).unsqueeze(-1).to(hidden.dtype)  # [B, S, 1]
        return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)  # [B, D]
    # A sum with one term, where a gather by [B] places would be: what skips padding knows sums over tokens.
    chosen = _longest(attention_mask, left) if mode == "cls" else _shortest(attention_mask, left)
    return (hidden * (left == chosen).unsqueeze(-1).to(hidden.dtype)).sum(dim=1)  # [B, D]


def splade(logits: Tensor, attention_mask: Tensor, module: SpladePooling) -> Tensor:
    """[B, S, V] logits to weights of the vocabulary, [B, V]: max or sum over real tokens of log(1 + relu(logits)).

    Formulas: Formal et al. 2021 (SPLADE, sum) and 2021 (SPLADE v2, max); Geng et al. 2024 take the logarithm twice.
    Everything here rises with the logits, so that the maximum is taken first.
    """
    real = logits * attention_mask.unsqueeze(-1).to(logits.dtype)  # [B, S, V], 0 at padding
    if module.strategy == "max":
        return _saturated(real.amax(dim=1), module)
    return _saturated(real, module).sum(dim=1)  # [B, V]


def _saturated(logits: Tensor, module: SpladePooling) -> Tensor:
    weights = torch.log(1 + functional.relu(logits))
    return torch.log(1 + weights) if module.activation == "log1p_relu" else weights


def _places_left(mask: Tensor) -> Tensor:
    """S, S - 1 ... 1, [1, S]: how many places are left in a row, the token's own included."""
    return mask.shape[1] - torch.arange(mask.shape[1], device=mask.device).unsqueeze(0)


def _longest(mask: Tensor, left: Tensor) -> Tensor:
    """[B, 1] `left` of the first real token; 0 where there is none."""
    return torch.where(mask > 0, left, 0).amax(dim=1, keepdim=True)


def _shortest(mask: Tensor, left: Tensor) -> Tensor:
    """[B, 1] `left` of the last real token; S + 1 where there is none."""
    beyond = mask.shape[1] + 1
    return beyond - torch.where(mask > 0, beyond - left, 0).amax(dim=1, keepdim=True)
