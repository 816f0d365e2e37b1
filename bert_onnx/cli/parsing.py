"""The parser of one command, with examples under its `--help`."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable
from typing import Any, Protocol

from bert_onnx.cli.printing import print_json


class Report(Protocol):
    """What a command that works for long ends with."""

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        ...


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


def text(argument: str) -> str:
    """A text of the command line, which Python decodes by the locale: what is UTF-8 is half surrogates in the C locale.

    Bytes that are not UTF-8 either stay as they are, and the command says what is wrong with them.
    """
    if any("\udc80" <= character <= "\udcff" for character in argument):
        with contextlib.suppress(UnicodeError):
            return os.fsencode(argument).decode("utf-8")
    return argument


def add_artifact(parser: argparse.ArgumentParser, what: str = "an artifact") -> None:
    """The argument that names an artifact, and the options that say which of a hub's it is."""
    parser.add_argument("folder", metavar="DIR", help=f"{what}: a folder, or owner/name on a model hub")
    parser.add_argument("--revision", metavar="R", help="branch, tag or commit on the hub")
    parser.add_argument("--offline", action="store_true", help="use the hub's local cache only")


def add_runtime_options(parser: argparse.ArgumentParser) -> None:
    """What runs the artifact, in which precision, and on how many threads."""
    parser.add_argument("--runtime", metavar="NAME", help="what runs it (default: the best here)")
    parser.add_argument("--precision", metavar="P", help="fp32 (default), int8, bf16 ... or fastest")
    parser.add_argument("--threads", type=int, metavar="N", help="threads (default: what this machine allows)")


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """How a command that works for long shows its work and its report."""
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--quiet", action="store_true", help="show no progress, notes or report, but errors and --json")


def is_silent(arguments: argparse.Namespace) -> bool:
    """Whether the options of `add_report_options` leave no progress to show."""
    return bool(arguments.json or arguments.quiet)


def print_report(arguments: argparse.Namespace, report: Report, show: Callable[[], None]) -> None:
    """`report` as JSON, by `show`, or not at all: as the options of `add_report_options` say."""
    if arguments.json:
        print_json(report.to_dict())
    elif not arguments.quiet:
        show()


def artifact_folder(arguments: argparse.Namespace, *, whole: bool) -> str:
    """The folder that the arguments of `add_artifact` name; `whole`: with all of its graphs."""
    from bert_onnx.artifact.hub.fetching import find_artifact

    return str(find_artifact(arguments.folder, arguments.revision, arguments.offline, whole=whole))
