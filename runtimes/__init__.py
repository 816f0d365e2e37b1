"""Runs artifacts: `runtimes.load(folder)` gives text in, typed results out. Loads no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtimes.loading import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """Import `load` when it is first used."""
    if name != "load":
        raise AttributeError(f"module 'runtimes' has no attribute {name!r}")
    from runtimes.loading import load

    return load
