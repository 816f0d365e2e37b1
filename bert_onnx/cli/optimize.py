"""`bert-onnx optimize`: rewrite a BERT graph of any exporter for a target."""

from __future__ import annotations

import argparse
from typing import Any

from bert_onnx.cli.parsing import add_command
from bert_onnx.cli.printing import print_json


def add(commands: Any) -> None:
    """Declare the command and its options."""
    parser = add_command(
        commands,
        "optimize",
        "rewrite a BERT graph of any exporter for a target",
        (
            "optimize model.onnx model_ort_cpu.onnx --target ort-cpu",
            "optimize in.onnx out.onnx --target openvino --heads 12 --hidden 768",
        ),
    )
    parser.add_argument("source", metavar="IN.onnx", help="a graph; it is left as it is")
    parser.add_argument("destination", metavar="OUT.onnx", help="the file to write")
    parser.add_argument("--target", required=True, metavar="TARGET", help="what will run the graph")
    parser.add_argument("--heads", type=int, metavar="H", help="attention heads, where the graph does not tell")
    parser.add_argument("--hidden", type=int, metavar="D", help="hidden size, where the graph does not tell")
    parser.add_argument("--opset", type=int, metavar="N", help="ai.onnx opset, 17 to 23 (default: the target's)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(command=_optimize)


def _optimize(arguments: argparse.Namespace) -> None:
    from pathlib import Path

    from bert_onnx.cli.render import show_optimized
    from export.check import check_optimize

    source, destination = Path(arguments.source), Path(arguments.destination)
    check_optimize(source, destination, arguments.target, arguments.heads, arguments.hidden, arguments.opset)
    from export.external_graph.optimize import optimize

    report = optimize(
        source,
        destination,
        arguments.target,
        heads=arguments.heads,
        hidden=arguments.hidden,
        opset=arguments.opset,
    )
    print_json(report.to_dict()) if arguments.json else show_optimized(report)
