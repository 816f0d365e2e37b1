"""The command `bert-onnx`: parses, calls, prints. No logic of its own."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence

from bert_onnx.api import missing_package
from bert_onnx.cli import (
    bench,
    completion,
    convert_weights,
    doctor,
    embed,
    export,
    inspect,
    optimize,
    package,
    push,
    quantize,
    report,
    run,
    serve,
    tune,
    verify,
)
from bert_onnx.cli.printing import escape_what_the_console_lacks
from bert_onnx.cli.process import check_current_folder, open_closed_streams, unwritable_output
from bert_onnx.errors import BertOnnxError, exit_status
from bert_onnx.version import __version__

#: Every command, in the order of `--help`.
COMMANDS = (
    export,
    quantize,
    verify,
    inspect,
    optimize,
    run,
    embed,
    serve,
    package,
    push,
    tune,
    bench,
    report,
    doctor,
    convert_weights,
    completion,
)

#: Set to 1 to see where an error came from.
TRACEBACK_VARIABLE = "BERT_ONNX_TRACEBACK"

_EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
_EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0, a row of `errors.EXIT_STATUS`, or 1 for an unforeseen error."""
    open_closed_streams()
    escape_what_the_console_lacks()
    arguments = build_parser().parse_args(argv)
    try:
        check_current_folder()
        arguments.command(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("bert-onnx: interrupted; nothing was published.", file=sys.stderr)
        return _EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as in `bert-onnx ... | head`
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # so that the interpreter's last flush has somewhere to go
        return _EXIT_BROKEN_PIPE
    except Exception as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        known = error if isinstance(error, BertOnnxError) else missing_package(error) or unwritable_output(error)
        if known is not None:
            print(f"bert-onnx: error: {known}", file=sys.stderr)
            return exit_status(known)
        print(
            f"bert-onnx: unforeseen {type(error).__name__}: {error}. This is a bug of bert-onnx; "
            f"{TRACEBACK_VARIABLE}=1 shows where it is.",
            file=sys.stderr,
        )
        return 1
    return 0


def console() -> None:
    """What the command `bert-onnx` runs: `main`, and then an end without the half second of taking torch apart."""
    status = main()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    parser = argparse.ArgumentParser(
        prog="bert-onnx",
        description="Turns BERT checkpoints into verified ONNX artifacts, and runs them.",
        epilog="`bert-onnx COMMAND --help` has the options of a command, and examples.",
    )
    parser.add_argument("--version", action="version", version=f"bert-onnx {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    parser.set_defaults(program=parser)  # for the command that describes all of them to a shell
    for command in COMMANDS:
        command.add(commands)
    return parser
