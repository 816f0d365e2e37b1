"""Pauses Python's search for garbage: an export makes millions of objects that live until it ends.

Searching through them takes a tenth of an export's time and finds next to nothing.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """While this is entered, cycles of dead objects are not looked for; meant for processes that end soon."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
