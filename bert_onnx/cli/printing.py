"""What commands print, on consoles of any encoding."""

from __future__ import annotations

import codecs
import io
import json
import sys
from collections.abc import Sequence
from typing import Any


def escape_what_the_console_lacks() -> None:
    """Letters that the encoding of the console does not have are printed as escapes, rather than end the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_json(values: Any) -> None:
    """One line of JSON on standard output; ASCII where the console is not UTF-8, whose escapes would not be JSON's."""
    print(json.dumps(values, ensure_ascii=not _is_utf8(sys.stdout.encoding)))


def print_notes(warnings: Sequence[str]) -> None:
    """What the user should know, on standard error."""
    for warning in warnings:
        print(f"bert-onnx: note: {warning}", file=sys.stderr)


def _is_utf8(encoding: str | None) -> bool:
    return encoding is None or codecs.lookup(encoding).name == "utf-8"
