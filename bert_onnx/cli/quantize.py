"""`bert-onnx quantize`: add variants of lower precision to an artifact."""

from __future__ import annotations

import argparse
from typing import Any

from bert_onnx.cli.parsing import add_command, add_report_options, is_silent, print_report
from bert_onnx.cli.precision_options import add_precision_options, precision_request
from bert_onnx.cli.printing import print_notes


def add(commands: Any) -> None:
    """Declare the command and its options."""
    parser = add_command(
        commands,
        "quantize",
        "add int8 and other variants to an artifact",
        (
            "quantize artifacts/all-MiniLM-L6-v2",
            "quantize artifacts/all-MiniLM-L6-v2 --isa avx512_vnni,avx2 --eval held-out.txt",
        ),
    )
    parser.add_argument("folder", metavar="DIR", help="an artifact; it is replaced by one with the new variants")
    parser.add_argument(
        "--precision", default="int8", metavar="LIST", help="int8 (default), int4, fp16, bf16; with commas"
    )
    parser.add_argument("--target", action="append", metavar="TARGET", help="what will run a graph; repeatable")
    add_precision_options(parser)
    parser.add_argument("--checkpoint", metavar="MODEL", help="where its checkpoint is now (default: as recorded)")
    parser.add_argument("--offline", action="store_true", help="use the hub's local cache only")
    add_report_options(parser)
    parser.set_defaults(command=_quantize)


def _quantize(arguments: argparse.Namespace) -> None:
    from bert_onnx.cli.progress import progress_bar
    from bert_onnx.cli.render import show_artifact
    from export.check import check_extend
    from export.request import ExtendRequest

    request = ExtendRequest(
        folder=arguments.folder,
        targets=tuple(arguments.target or ("portable",)),
        precision=precision_request(arguments),
        checkpoint=arguments.checkpoint,
        offline=arguments.offline,
    )
    check_extend(request)
    from export.pipeline import extend

    with progress_bar(quiet=is_silent(arguments)) as progress:
        report = extend(request, progress)
    print_notes(() if arguments.quiet else report.warnings)
    print_report(arguments, report, lambda: show_artifact(report.artifact, report.seconds))
