"""`bert-onnx package`: what a host takes that fixes inputs, outputs, pooling and files itself."""

from __future__ import annotations

import argparse
from typing import Any

from bert_onnx.cli.parsing import add_artifact, add_command, artifact_folder
from bert_onnx.cli.printing import print_json

#: Names of `export.hosts.table`, which is imported only where a package is made.
_HOSTS = (
    "spring-ai, langchain4j, vespa, opensearch, typesense, triton, triton-text, openvino, teradata, sql-server, oracle"
)


def add(commands: Any) -> None:
    """Declare the command and its options."""
    parser = add_command(
        commands,
        "package",
        "make what a host takes that fixes inputs, pooling and files itself",
        (
            "package artifacts/all-MiniLM-L6-v2 --for spring-ai",
            "package artifacts/all-MiniLM-L6-v2 --for vespa --variant model_int8 --output models",
        ),
    )
    add_artifact(parser)
    parser.add_argument(
        "--for",
        dest="host",
        metavar="HOST",
        required=True,
        help=f"one of {_HOSTS}",
    )
    parser.add_argument("--output", metavar="DIR", help="the package's folder (default: NAME.HOST beside DIR)")
    parser.add_argument("--variant", metavar="NAME", help="the graph to package (default: the first, model)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(command=_package)


def _package(arguments: argparse.Namespace) -> None:
    from export.hosts.table import find_host

    find_host(arguments.host)  # before what edits graphs is imported
    folder = artifact_folder(arguments, whole=True)
    from export.hosts.package import package

    report = package(folder, arguments.host, arguments.output, arguments.variant)
    if arguments.json:
        print_json(report.to_dict())
        return
    for name, size in report.files.items():
        print(f"{report.folder / name} ({size / 1e3:,.0f} kB)")
    if report.difference is not None:
        print(
            f"As the host computes, results differ by at most {report.difference:.2g} from those of {report.variant}."
        )
    for note in report.notes:
        print(note)
