"""Types of Arrow that a step cannot take, exchanged for those that it can, however deep they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runtimes.parquet import import_pyarrow


def without_views(batch: Any) -> Any:
    """`batch` with strings and bytes in the place of views of them, which some writers note in parquet's schema, and
    which Arrow has no kernel to filter."""
    types = import_pyarrow("").types

    def plain(kind: Any) -> Any:
        if types.is_string_view(kind):
            return import_pyarrow("").large_string()
        return import_pyarrow("").large_binary() if types.is_binary_view(kind) else kind

    return _exchanged(batch, plain)


def without_nanoseconds(batch: Any) -> Any:
    """`batch` with times in nanoseconds, which Python's own cannot hold, as text, and durations as their number."""
    arrow = import_pyarrow("")

    def spelled(kind: Any) -> Any:
        if kind in (arrow.time64("ns"), arrow.duration("ns")):
            return arrow.string() if arrow.types.is_time(kind) else arrow.int64()
        return arrow.string() if arrow.types.is_timestamp(kind) and kind.unit == "ns" else kind

    return _exchanged(batch, spelled)


def _exchanged(batch: Any, swap: Callable[[Any], Any]) -> Any:
    arrow = import_pyarrow("")
    fields = [field.with_type(_within(arrow, field.type, swap)) for field in batch.schema]
    schema = arrow.schema(fields, batch.schema.metadata)
    return batch if schema.equals(batch.schema) else batch.cast(schema)


def _within(arrow: Any, kind: Any, swap: Callable[[Any], Any]) -> Any:
    """`kind` with `swap` of every type within it."""
    types = arrow.types
    if types.is_struct(kind):
        return arrow.struct([field.with_type(_within(arrow, field.type, swap)) for field in kind])
    if types.is_map(kind):
        return arrow.map_(_within(arrow, kind.key_type, swap), _within(arrow, kind.item_type, swap))
    if types.is_fixed_size_list(kind):
        return arrow.list_(_within(arrow, kind.value_type, swap), kind.list_size)
    if types.is_list(kind) or types.is_large_list(kind):
        make = arrow.list_ if types.is_list(kind) else arrow.large_list
        return make(_within(arrow, kind.value_type, swap))
    return swap(kind)
