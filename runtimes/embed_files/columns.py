"""What a model makes of texts as columns of Arrow, and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from runtimes.embed_files.rows import Rows

#: The tokens of ids.
ToTokens = Callable[[list[int]], list[str | None]]


def row_columns(
    arrow: Any, rows: Rows, width: int, to_tokens: ToTokens, present: np.ndarray | None = None
) -> dict[str, Any]:
    """Columns with an entry a text: `embedding`, one vector of `width` values or a list of them, or `indices`,
    `weights` and `tokens`.

    Args:
        present: [n], False for entries that no text belongs to, and which are null; None where all have one.
    """
    full = present is None or bool(present.all())
    mask = None if present is None or full else arrow.array(~present)
    if rows.counts is None:
        vectors = rows.vectors if full else _spread(rows.vectors, present)
        return {"embedding": arrow.FixedSizeListArray.from_arrays(arrow.array(vectors.reshape(-1)), width, mask=mask)}
    counts = rows.counts if full else _spread(rows.counts, present)
    offsets = arrow.array(np.concatenate([[0], np.cumsum(counts)]), arrow.int32())
    if rows.indices is not None:
        flat = {
            "indices": arrow.array(rows.indices),
            "weights": arrow.array(rows.vectors[:, 0]),
            "tokens": arrow.array(to_tokens(rows.indices.tolist()), arrow.string()),
        }
        return {name: arrow.ListArray.from_arrays(offsets, values, mask=mask) for name, values in flat.items()}
    vectors = arrow.FixedSizeListArray.from_arrays(arrow.array(rows.vectors.reshape(-1)), width)
    return {"embedding": arrow.ListArray.from_arrays(offsets, vectors, mask=mask)}


def _spread(values: np.ndarray, present: Any) -> np.ndarray:
    """`values` [m, ...] at the places [n] where `present` is True, zeros elsewhere."""
    spread = np.zeros((len(present), *values.shape[1:]), values.dtype)
    spread[present] = values
    return spread


def open_lists(arrow: Any, batch: Any, names: Sequence[str]) -> Any:
    """`batch` whose columns `names` have lists of any length, since Spark has none of a fixed one."""
    fields = [field.with_type(_open(arrow, field.type)) if field.name in names else field for field in batch.schema]
    return batch.cast(arrow.schema(fields))


def _open(arrow: Any, kind: Any) -> Any:
    lists = arrow.types.is_list(kind) or arrow.types.is_fixed_size_list(kind)
    return arrow.list_(_open(arrow, kind.value_type)) if lists else kind


def digits(values: list[Any]) -> list[Any]:
    """Nested lists of numbers with nine digits each, which give every float32 back exactly."""
    return [digits(value) if isinstance(value, list) else float(f"{value:.9g}") for value in values]
