"""`bert-onnx push`: publish an artifact on a model hub."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from bert_onnx.cli.parsing import add_command
from bert_onnx.cli.printing import print_json


def add(commands: Any) -> None:
    """Declare the command and its options."""
    parser = add_command(
        commands,
        "push",
        "publish an artifact on a model hub",
        (
            "push artifacts/all-MiniLM-L6-v2 my-name/all-MiniLM-L6-v2-onnx",
            "push artifacts/mine my-company/mine --private --revision int8",
        ),
    )
    parser.add_argument("folder", metavar="DIR", help="an artifact; every file is compared with its sha256 first")
    parser.add_argument("repository", metavar="REPO", help="owner/name; it is made where there is none")
    parser.add_argument("--private", action="store_true", help="make a repository that only you see")
    parser.add_argument("--revision", metavar="R", help="branch to publish on (default: main)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(command=_push)


def _push(arguments: argparse.Namespace) -> None:
    from bert_onnx.artifact.hub.pushing import push

    pushed = push(arguments.folder, arguments.repository, private=arguments.private, revision=arguments.revision)
    if arguments.json:
        print_json(asdict(pushed))
        return
    print(f"{pushed.files} files in {pushed.url} at commit {pushed.commit}")
    print(f'bert_onnx.load("{pushed.model}") opens them')
