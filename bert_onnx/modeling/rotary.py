"""Rotary positions: queries and keys are turned by angles that grow with their places, so that scores know distances.

    (x, y) -> (x cos a - y sin a, y cos a + x sin a),  a = place / theta^(2 i / K)       (Su et al. 2021, section 3.2)

x and y are the numbers i and i + K / 2 of a head. Cosines and sines are tables, as wide as half a head, so that every
runtime has the same ones: of angles of thousands, float32 has few digits left, and libraries differ in them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Cosines and sines, each [S, 1, K / 2] or [B, S, 1, K / 2].
Rotation = tuple[Tensor, Tensor]


class RotaryTables(nn.Module):
    """Cosines and sines of every place, [P, K / 2] each, in float32 as transformers computes them.

    Args:
        places: P.
        head_size: K.
        theta: base of the frequencies.
    """

    cosines: Tensor
    sines: Tensor

    def __init__(self, places: int, head_size: int, theta: float) -> None:
        super().__init__()
        exponents = torch.arange(0, head_size, 2, dtype=torch.int64).float() / head_size
        angles = torch.arange(places).float()[:, None] * (1.0 / theta**exponents)
        self.register_buffer("cosines", angles.cos(), persistent=False)
        self.register_buffer("sines", angles.sin(), persistent=False)

    def forward(self, hidden: Tensor, position_ids: Tensor | None) -> Rotation:
        """The rotation of states [B, S, D] at the places `position_ids` [B, S] or [1, S]; None means 0, 1, ..."""
        if position_ids is None:
            length = hidden.shape[1]
            return self.cosines[:length].unsqueeze(1), self.sines[:length].unsqueeze(1)
        return F.embedding(position_ids, self.cosines).unsqueeze(2), F.embedding(position_ids, self.sines).unsqueeze(2)


def rotate(heads: Tensor, rotation: Rotation) -> Tensor:
    """[B, S, H, K] -> the same, turned."""
    cosines, sines = rotation
    first, second = heads.chunk(2, dim=-1)
    return torch.cat((first * cosines - second * sines, second * cosines + first * sines), dim=-1)
