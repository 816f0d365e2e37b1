"""`--help` of every command: a purpose, and examples that the parser takes."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys

import pytest
from repository import ROOT

from bert_onnx import __version__
from bert_onnx.cli.main import COMMANDS, build_parser
from bert_onnx.errors import EXIT_STATUS


def _subparsers() -> dict[str, argparse.ArgumentParser]:
    actions = build_parser()._actions
    return next(action.choices for action in actions if isinstance(action, argparse._SubParsersAction))


@pytest.mark.parametrize("name", sorted(_subparsers()))
def test_every_example_is_one(name: str) -> None:
    parser = _subparsers()[name]
    assert parser.description is not None
    assert parser.epilog is not None
    head, *examples = parser.epilog.splitlines()
    assert head == "examples:"
    assert examples
    for example in examples:
        program, *words = shlex.split(example)
        assert program == "bert-onnx"
        assert build_parser().parse_args(words).command is parser.get_default("command")
        assert len(example) <= 100


def test_every_command_is_listed() -> None:
    assert len(_subparsers()) == len(COMMANDS)


def test_it_runs_as_a_module() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "bert_onnx", "--version"], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == f"bert-onnx {__version__}"


def test_the_page_has_every_option_and_every_exit_status() -> None:
    sections = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8").split("\n## ")
    page = {section.partition("\n")[0]: section for section in sections}
    for name, parser in _subparsers().items():
        rows = page[name].splitlines()
        for action in parser._actions:
            if not isinstance(action, argparse._HelpAction):
                words = f"`{action.option_strings[0]}" if action.option_strings else "| `"
                listed = any(
                    words in row and row.endswith(f" | {(action.help or '').replace('%%', '%')} |") for row in rows
                )
                assert listed, f"docs/cli.md lacks of {name}: {words} | {action.help} |"
    for status in EXIT_STATUS.values():
        assert f"\n| {status} |" in page["Exit status"]
