"""`bert-onnx inspect`: show what is in an artifact or an .onnx file."""

from __future__ import annotations

import argparse
from typing import Any

from bert_onnx.cli.parsing import add_command
from bert_onnx.cli.printing import print_json


def add(commands: Any) -> None:
    """Declare the command and its options."""
    parser = add_command(
        commands,
        "inspect",
        "show what is in an artifact or an .onnx file",
        (
            "inspect artifacts/all-MiniLM-L6-v2",
            "inspect model.onnx --json",
        ),
    )
    parser.add_argument("path", metavar="DIR|FILE", help="an artifact, or an .onnx file")
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.set_defaults(command=_inspect)


def _inspect(arguments: argparse.Namespace) -> None:
    from pathlib import Path

    from bert_onnx.cli.render import show_artifact, show_graph

    path = Path(arguments.path)
    if path.is_dir() or path.suffix != ".onnx":
        from bert_onnx.artifact import Artifact
        from bert_onnx.artifact.hub.fetching import find_artifact

        artifact = Artifact.open(find_artifact(arguments.path, whole=True))
        print(artifact.manifest.to_json(), end="") if arguments.json else show_artifact(artifact)
    else:
        from export.check import check_graph_file

        check_graph_file(path)
        from export.onnx_file.summary import inspect_graph

        graph = inspect_graph(path)
        print_json(graph.to_dict()) if arguments.json else show_graph(graph)
