"""A line on standard error that says how far long work is; no library is needed for it."""

from __future__ import annotations

import sys
import time
from typing import TextIO

#: Work that takes less time shows nothing.
_PATIENCE = 2.0
_INTERVAL = 0.2
_WIDTH = 30


class ProgressLine:
    """Shows `done of total`, a bar, a rate and the time that is left.

    Nothing is shown where the stream is no terminal, and in the first two seconds.

    Args:
        what: what is counted, such as `texts`.
        total: how many there are; None where that is not known.
        shown: False never shows anything; None decides by the stream.
        stream: where to; standard error unless said otherwise.
    """

    def __init__(self, what: str, total: int | None, shown: bool | None = None, stream: TextIO | None = None) -> None:
        self._what = what
        self._total = total
        self._stream = stream or sys.stderr
        self._shown = self._stream.isatty() if shown is None else shown
        self._begun = time.monotonic()
        self._last = self._begun + _PATIENCE - _INTERVAL
        self._width = 0

    def update(self, done: int) -> None:
        """Tell how many are done."""
        now = time.monotonic()
        if not self._shown or now - self._last < _INTERVAL:
            return
        self._last = now
        rate = done / max(now - self._begun, 1e-9)
        if self._total:
            filled = round(_WIDTH * min(1.0, done / self._total))
            bar = "#" * filled + "." * (_WIDTH - filled)
            left = duration((self._total - done) / rate) if done else "?"
            text = f"[{bar}] {done:,} of {self._total:,} {self._what}, {rate:,.0f} a second, {left} left"
        else:
            text = f"{done:,} {self._what}, {rate:,.0f} a second"
        self._stream.write(f"\r{text.ljust(self._width)}")
        self._stream.flush()
        self._width = len(text)

    def close(self) -> None:
        """Take the line away."""
        if self._width:
            self._stream.write(f"\r{' ' * self._width}\r")
            self._stream.flush()
            self._width = 0


def duration(seconds: float) -> str:
    """`0:07`, `12:30`, `1:02:03`."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
