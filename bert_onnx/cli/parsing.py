"""The parser of one command, with examples under its `--help`."""

from __future__ import annotations

import argparse
from typing import Any


def add_command(commands: Any, name: str, summary: str, examples: tuple[str, ...]) -> argparse.ArgumentParser:
    """A parser for `bert-onnx NAME`.

    Args:
        commands: the subparsers of the command line.
        summary: one line, without a full stop.
        examples: what may be typed, without the `bert-onnx`.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog="\n".join(["examples:", *(f"  bert-onnx {example}" for example in examples)]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser
