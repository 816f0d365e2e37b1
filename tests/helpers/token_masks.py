"""Every kind of attention mask, and inputs with one."""

from __future__ import annotations

import numpy as np

from export.reference.module import GraphModule

CHOICES = 3


def masks(rows: int, length: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Every kind of mask, [rows, length]."""
    full = np.ones((rows, length), np.int64)
    ends = np.concatenate([[length], rng.integers(1, length + 1, rows - 1)])
    right = (np.arange(length) < ends[:, None]).astype(np.int64)
    empty = right.copy()
    empty[rows // 2] = 0
    return {
        "full": full,
        "right": right,
        "left": right[:, ::-1].copy(),
        "holed": rng.integers(0, 2, full.shape),
        "an empty row": empty,
        "all empty": np.zeros_like(full),
        "first only": np.eye(1, length, dtype=np.int64).repeat(rows, 0),
    }


def feeds_for(module: GraphModule, mask: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs with `mask` [B, S], for multiple choice [B / CHOICES, CHOICES, S]."""
    rng = np.random.default_rng(seed)
    shape = (-1, CHOICES, mask.shape[1]) if module.task.choices else mask.shape
    arrays = {
        "input_ids": rng.integers(0, 50, mask.shape),
        "attention_mask": mask,
        "token_type_ids": rng.integers(0, 2, mask.shape),
    }
    return {name: array.reshape(shape) for name, array in arrays.items()}
