"""Tables and aligned rows on standard output, no wider than its terminal; into files and pipes nothing is wrapped."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Sequence

Rows = Sequence[tuple[str, str]]

_GAP = "  "
#: No column becomes narrower than this.
_NARROWEST = 8
#: Where a long name may be broken: behind a separator.
_PIECES = re.compile(r"[^/_\-.\s]*[/_\-.\s]|[^/_\-.\s]+")


def terminal_width() -> int | None:
    """Columns of the terminal, or of the variable COLUMNS; None where standard output is a file or a pipe."""
    return shutil.get_terminal_size(fallback=(0, 0)).columns or None


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, two spaces apart, with a rule under the header.

    On a terminal that is too narrow for that, the widest columns are narrowed and their cells take several lines.
    """
    widths = _narrowed([max(len(row[column]) for row in (header, *rows)) for column in range(len(header))])
    lines = [line for row in (header, *rows) for line in _table_lines(row, widths)]
    lines.insert(len(_table_lines(header, widths)), _GAP.join("-" * width for width in widths))
    return "\n".join(lines)


def format_rows(rows: Rows) -> str:
    """`name  value` lines, the values aligned; further lines of a value are indented as the first.

    Long values are wrapped at spaces; a path is never broken, so that it can be copied.
    """
    width = max(len(name) for name, _ in rows)
    indent = "\n" + " " * (width + len(_GAP))
    terminal = terminal_width()
    room = None if terminal is None else max(terminal - width - len(_GAP), _NARROWEST)
    texts = [(name, "\n".join(_wrapped(line, room) for line in value.splitlines())) for name, value in rows]
    return "\n".join(f"{name.ljust(width)}{_GAP}{value.replace(chr(10), indent)}" for name, value in texts)


def format_notes(notes: Sequence[str]) -> str:
    """`[1] note` lines, to stand under a table that refers to them."""
    return format_rows([(f"[{number}]", note) for number, note in enumerate(notes, 1)])


def size_text(size: int) -> str:
    """`90.9 MB`; decimal units, as disks are sold."""
    amount, unit = float(size), "B"
    for larger in ("kB", "MB", "GB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


def _narrowed(widths: list[int]) -> list[int]:
    """`widths` with the largest ones lowered until all of them fit the terminal."""
    terminal = terminal_width()
    if terminal is None:
        return widths
    room = terminal - len(_GAP) * (len(widths) - 1)
    while sum(widths) > room and max(widths) > _NARROWEST:
        widest = widths.index(max(widths))
        second = max((width for width in widths if width < widths[widest]), default=_NARROWEST)
        widths[widest] = max(widths[widest] - (sum(widths) - room), min(second, widths[widest] - 1), _NARROWEST)
    return widths


def _table_lines(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    cells = [_cell_lines(cell, width) for cell, width in zip(row, widths, strict=True)]
    lines = []
    for number in range(max(map(len, cells))):
        parts = [cell[number] if number < len(cell) else "" for cell in cells]
        lines.append(_GAP.join(part.ljust(width) for part, width in zip(parts, widths, strict=True)).rstrip())
    return lines


def _cell_lines(cell: str, width: int) -> list[str]:
    """`cell` in lines of `width` at most, broken behind spaces and the separators of names where that is possible."""
    if len(cell) <= width:
        return [cell]
    lines = [""]
    for piece in _PIECES.findall(cell):
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
        while len(lines[-1].rstrip()) > width:
            lines[-1:] = [lines[-1][:width], lines[-1][width:]]
    return [line.rstrip() for line in lines]


def _wrapped(line: str, width: int | None) -> str:
    if width is None or len(line) <= width:
        return line
    return "\n".join(textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False))
