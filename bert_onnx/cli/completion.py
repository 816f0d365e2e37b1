"""`bert-onnx completion`: what a shell needs to complete commands, options, tasks, targets and paths."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from bert_onnx.cli.parsing import add_command
from bert_onnx.errors import RuntimeUnavailableError

SHELLS = ("bash", "zsh", "fish")
_FOLDERS = frozenset({"DIR", "DIR ...", "FOLDER", "REPO"})
_FILES = frozenset({"FILE", "F", "INPUT", "OUTPUT", "IN.onnx", "OUT.onnx", "DIR|FILE", "MODEL"})


def add(commands: Any) -> None:
    """Declare the command and its options."""
    parser = add_command(
        commands,
        "completion",
        "print what makes a shell complete commands and options",
        ("completion bash", "completion zsh", "completion fish"),
    )
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help="bash, zsh or fish")
    parser.set_defaults(command=_completion)


def _completion(arguments: argparse.Namespace) -> None:
    try:
        import shtab
    except ModuleNotFoundError:
        raise RuntimeUnavailableError(
            'shtab is not installed; install it with pip install "bert-onnx[completion]".'
        ) from None
    for action in _actions(arguments.program):
        _tell_values(action, shtab)
    print(shtab.complete(arguments.program, arguments.shell))


def _actions(parser: argparse.ArgumentParser) -> Iterator[Any]:
    """Those of every command."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
        else:
            yield action


def _tell_values(action: Any, shtab: Any) -> None:
    """Say of an option what it takes: names of a table, or paths."""
    tables = _tables()
    if action.dest in tables:
        action.choices = tables[action.dest]
    elif action.metavar in _FOLDERS:
        action.complete = shtab.DIRECTORY
    elif action.metavar in _FILES:
        action.complete = shtab.FILE


def _tables() -> dict[str, tuple[str, ...]]:
    """What may be typed, by the name that an option has in the parsed arguments."""
    from bert_onnx.tasks import TASKS
    from export.targets import TARGETS
    from runtimes.engines.table import RUNTIMES
    from runtimes.selection.request import FASTEST, PRECISIONS

    return {
        "task": ("auto", *TASKS),
        "target": tuple(TARGETS),
        "runtime": tuple(RUNTIMES),
        "precision": (*PRECISIONS, FASTEST),
    }
