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


def add_artifact(parser: argparse.ArgumentParser, what: str = "an artifact") -> None:
    """The argument that names an artifact, and the options that say which of a hub's it is."""
    parser.add_argument("folder", metavar="DIR", help=f"{what}: a folder, or owner/name on a model hub")
    parser.add_argument("--revision", metavar="R", help="branch, tag or commit on the hub")
    parser.add_argument("--offline", action="store_true", help="use the hub's local cache only")


def artifact_folder(arguments: argparse.Namespace, *, whole: bool) -> str:
    """The folder that the arguments of `add_artifact` name; `whole`: with all of its graphs."""
    from bert_onnx.artifact.hub.fetching import find_artifact

    return str(find_artifact(arguments.folder, arguments.revision, arguments.offline, whole=whole))
