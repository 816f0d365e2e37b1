"""`bert-onnx export`: make an artifact from a checkpoint and verify it."""

from __future__ import annotations

import argparse
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bert_onnx.cli.parsing import add_command, add_report_options, is_silent, print_report
from bert_onnx.cli.precision_options import add_precision_options, precision_request
from bert_onnx.cli.printing import print_notes
from bert_onnx.tasks import POOLINGS, TASKS

if TYPE_CHECKING:
    from export.check import CheckedExport
    from export.request import ExportRequest


def add(commands: Any) -> None:
    """Declare the command and its options."""
    parser = add_command(
        commands,
        "export",
        "make an artifact from a checkpoint and verify it",
        (
            "export sample",
            "export bert-base-uncased --task fill-mask --output artifacts/mine",
            "export path/to/checkpoint --target ort-cpu --target openvino --precision fp32,int8",
            "export path/to/config --random-weights 0 --force",
        ),
    )
    parser.add_argument("model", metavar="MODEL", help="a folder, a hub id such as bert-base-uncased, or 'sample'")
    parser.add_argument("--task", default="auto", metavar="TASK", help=f"auto, or one of {', '.join(TASKS)}")
    parser.add_argument("--output", metavar="DIR", help="the artifact's folder (default: artifacts/<model>)")
    parser.add_argument("--target", action="append", metavar="TARGET", help="what will run a graph; repeatable")
    parser.add_argument("--opset", type=int, metavar="N", help="ai.onnx opset, 17 to 23 (default: the target's)")
    parser.add_argument("--revision", metavar="R", help="branch, tag or commit on the hub")
    parser.add_argument("--offline", action="store_true", help="use the hub's local cache only")
    parser.add_argument("--output-attentions", action="store_true", help="also return attention probabilities")
    parser.add_argument("--output-hidden-states", action="store_true", help="also return every layer's states")
    parser.add_argument(
        "--postprocess", action="store_true", help="also return probabilities, labels, answer spans ..."
    )
    parser.add_argument("--pooling", choices=POOLINGS, help="how to make one vector of a text (sentence-similarity)")
    parser.add_argument(
        "--normalize",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="scale sentence embeddings to length 1 (default: as the checkpoint says)",
    )
    parser.add_argument(
        "--precision", default="fp32", metavar="LIST", help="fp32 (default), fp16, bf16, int8, int4; with commas"
    )
    add_precision_options(parser)
    parser.add_argument("--text-input", action="store_true", help="also make graphs that take text (strings in)")
    parser.add_argument("--random-weights", type=int, metavar="SEED", help="use the config alone, with random weights")
    parser.add_argument("--new-head", action="store_true", help="allow a head that the checkpoint has no weights for")
    parser.add_argument("--strict", action="store_true", help="refuse tensors that training left in the checkpoint")
    parser.add_argument("--check-each-pass", action="store_true", help="compare the graph after every pass (slow)")
    parser.add_argument("--force", action="store_true", help="replace an artifact that is there")
    add_report_options(parser)
    parser.set_defaults(command=_export)


def _export(arguments: argparse.Namespace) -> None:
    from export.check import check_export

    request = _request(arguments)
    checked = check_export(request)
    # Torch's threads sleep where they would spin: the cores are shared with a second process and ONNX Runtime.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with _no_garbage_collection():  # the imports make objects, too
        _export_checked(request, checked, arguments)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """While this is entered, Python does not search for garbage.

    An export makes millions of objects that live until it ends. Searching through them takes a tenth of its time and
    finds next to nothing.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _request(arguments: argparse.Namespace) -> ExportRequest:
    from export.request import ExportRequest

    return ExportRequest(
        model=arguments.model,
        task=arguments.task,
        output=arguments.output,
        targets=tuple(arguments.target or ("portable",)),
        opset=arguments.opset,
        revision=arguments.revision,
        offline=arguments.offline,
        output_attentions=arguments.output_attentions,
        output_hidden_states=arguments.output_hidden_states,
        postprocess=arguments.postprocess,
        pooling=arguments.pooling,
        normalize=arguments.normalize,
        precision=precision_request(arguments),
        text_input=arguments.text_input,
        random_seed=arguments.random_weights,
        allow_new_heads=arguments.new_head,
        strict_weights=arguments.strict,
        force=arguments.force,
        check_each_pass=arguments.check_each_pass,
    )


def _export_checked(request: ExportRequest, checked: CheckedExport, arguments: argparse.Namespace) -> None:
    from bert_onnx.cli.progress import progress_bar
    from bert_onnx.cli.render import show_artifact
    from export.reference.prefetch import prefetching

    with progress_bar(quiet=is_silent(arguments)) as progress, prefetching(checked.load) as prefetch:
        from export.pipeline import export  # while the bar is seen

        report = export(request, progress, checked, prefetch)
    print_notes(() if arguments.quiet else report.warnings)
    print_report(arguments, report, lambda: show_artifact(report.artifact, report.seconds))
