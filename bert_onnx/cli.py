"""The command `bert-onnx`: parses, calls, prints. No logic of its own."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from bert_onnx import __version__
from bert_onnx.errors import BertOnnxError, exit_status
from bert_onnx.tasks import POOLINGS, TASKS

#: Set to 1 to see where an error came from.
TRACEBACK_VARIABLE = "BERT_ONNX_TRACEBACK"

_EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
_EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0, a row of `errors.EXIT_STATUS`, or 1 for an unforeseen error."""
    arguments = build_parser().parse_args(argv)
    try:
        arguments.command(arguments)
        sys.stdout.flush()
    except BertOnnxError as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        print(f"bert-onnx: error: {error}", file=sys.stderr)
        return exit_status(error)
    except KeyboardInterrupt:
        print("bert-onnx: interrupted; nothing was published.", file=sys.stderr)
        return _EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as in `bert-onnx ... | head`
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # so that the interpreter's last flush has somewhere to go
        return _EXIT_BROKEN_PIPE
    except Exception as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        print(
            f"bert-onnx: unforeseen {type(error).__name__}: {error}. This is a bug of bert-onnx; "
            f"{TRACEBACK_VARIABLE}=1 shows where it is.",
            file=sys.stderr,
        )
        return 1
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    parser = argparse.ArgumentParser(
        prog="bert-onnx", description="Turns BERT checkpoints into verified ONNX artifacts, and runs them."
    )
    parser.add_argument("--version", action="version", version=f"bert-onnx {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_export(commands)
    _add_verify(commands)
    _add_inspect(commands)
    _add_optimize(commands)
    _add_run(commands)
    _add_convert_weights(commands)
    return parser


def _add_export(commands: Any) -> None:
    parser = commands.add_parser("export", help="make an artifact from a checkpoint and verify it")
    parser.add_argument("model", metavar="MODEL", help="a folder, a hub id such as bert-base-uncased, or 'sample'")
    parser.add_argument("--task", default="auto", metavar="TASK", help=f"auto, or one of {', '.join(TASKS)}")
    parser.add_argument("--output", metavar="DIR", help="the artifact's folder (default: artifacts/<model>)")
    parser.add_argument("--target", action="append", metavar="TARGET", help="what will run a graph; repeatable")
    parser.add_argument("--opset", type=int, metavar="N", help="ai.onnx opset, 17 to 23 (default: the target's)")
    parser.add_argument("--revision", metavar="R", help="branch, tag or commit on the hub")
    parser.add_argument("--offline", action="store_true", help="use the hub's local cache only")
    parser.add_argument("--output-attentions", action="store_true", help="also return attention probabilities")
    parser.add_argument("--output-hidden-states", action="store_true", help="also return every layer's states")
    parser.add_argument("--pooling", choices=POOLINGS, help="how to make one vector of a text (sentence-similarity)")
    parser.add_argument(
        "--normalize",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="scale sentence embeddings to length 1 (default: as the checkpoint says)",
    )
    parser.add_argument("--random-weights", type=int, metavar="SEED", help="use the config alone, with random weights")
    parser.add_argument("--new-head", action="store_true", help="allow a head that the checkpoint has no weights for")
    parser.add_argument("--check-each-pass", action="store_true", help="compare the graph after every pass (slow)")
    parser.add_argument("--force", action="store_true", help="replace an artifact that is there")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(command=_export)


def _export(arguments: argparse.Namespace) -> None:
    from export.collector import collector_paused

    with collector_paused():  # the imports are a good part of it
        _export_uncollected(arguments)


def _export_uncollected(arguments: argparse.Namespace) -> None:
    from bert_onnx.console import progress_bar, show_artifact
    from export.pipeline import ExportRequest, export

    request = ExportRequest(
        model=arguments.model,
        task=arguments.task,
        output=arguments.output,
        targets=tuple(arguments.target or ("portable",)),
        opset=arguments.opset,
        revision=arguments.revision,
        offline=arguments.offline,
        output_attentions=arguments.output_attentions,
        output_hidden_states=arguments.output_hidden_states,
        pooling=arguments.pooling,
        normalize=arguments.normalize,
        random_seed=arguments.random_weights,
        allow_new_heads=arguments.new_head,
        force=arguments.force,
        check_each_pass=arguments.check_each_pass,
    )
    with progress_bar(quiet=arguments.json) as progress:
        report = export(request, progress)
    for warning in report.warnings:
        print(f"bert-onnx: note: {warning}", file=sys.stderr)
    _print_json(report.to_dict()) if arguments.json else show_artifact(report.artifact, report.seconds)


def _add_verify(commands: Any) -> None:
    parser = commands.add_parser("verify", help="compare an artifact with the eager model again")
    parser.add_argument("folder", metavar="DIR", help="an artifact")
    parser.add_argument("--checkpoint", metavar="MODEL", help="where its checkpoint is now (default: as recorded)")
    parser.add_argument("--offline", action="store_true", help="use the hub's local cache only")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(command=_verify)


def _verify(arguments: argparse.Namespace) -> None:
    from bert_onnx.console import progress_bar, show_verdicts
    from export.reverify import verify_artifact

    with progress_bar(quiet=arguments.json) as progress:
        report = verify_artifact(arguments.folder, arguments.checkpoint, arguments.offline, progress)
    _print_json(report.to_dict()) if arguments.json else show_verdicts(report)
    report.raise_if_failed()


def _add_inspect(commands: Any) -> None:
    parser = commands.add_parser("inspect", help="show what is in an artifact or an .onnx file")
    parser.add_argument("path", metavar="DIR|FILE", help="an artifact, or an .onnx file")
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.set_defaults(command=_inspect)


def _inspect(arguments: argparse.Namespace) -> None:
    from pathlib import Path

    from bert_onnx.console import show_artifact, show_graph

    path = Path(arguments.path)
    if path.is_dir() or path.suffix != ".onnx":
        from bert_onnx.artifact import Artifact

        artifact = Artifact.open(path)
        print(artifact.manifest.to_json(), end="") if arguments.json else show_artifact(artifact)
    else:
        from export.inspect_graph import inspect_graph

        graph = inspect_graph(path)
        _print_json(graph.to_dict()) if arguments.json else show_graph(graph)


def _add_optimize(commands: Any) -> None:
    parser = commands.add_parser("optimize", help="rewrite a BERT graph of any exporter for a target")
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

    from bert_onnx.console import show_optimized
    from export.optimize import optimize

    report = optimize(
        Path(arguments.source),
        Path(arguments.destination),
        arguments.target,
        heads=arguments.heads,
        hidden=arguments.hidden,
        opset=arguments.opset,
    )
    _print_json(report.to_dict()) if arguments.json else show_optimized(report)


def _add_run(commands: Any) -> None:
    parser = commands.add_parser("run", help="answer with an artifact")
    parser.add_argument("folder", metavar="DIR", help="an artifact")
    parser.add_argument("texts", metavar="TEXT", nargs="+", help="texts; for question-answering the question")
    parser.add_argument("--pair", metavar="TEXT", help="the second text: context, next sentence, or hypothesis")
    parser.add_argument("--top-k", type=int, metavar="K", help="how many answers (fill-mask, classification, QA)")
    parser.add_argument("--max-new-tokens", type=int, metavar="N", help="how many tokens to generate")
    parser.add_argument("--threads", type=int, metavar="N", help="threads (default: what this machine allows)")
    parser.add_argument("--json", action="store_true", help="print the answers as JSON, one line")
    parser.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> None:
    from bert_onnx.console import show_answers
    from runtimes.answers import answer

    answers = answer(
        arguments.folder,
        arguments.texts,
        pair=arguments.pair,
        top_k=arguments.top_k,
        max_new_tokens=arguments.max_new_tokens,
        threads=arguments.threads,
    )
    _print_json([item.to_dict() for item in answers]) if arguments.json else show_answers(answers)


def _add_convert_weights(commands: Any) -> None:
    parser = commands.add_parser("convert-weights", help="turn a folder's pickled weights into model.safetensors")
    parser.add_argument("folder", metavar="FOLDER", help="a folder with pytorch_model.bin")
    parser.set_defaults(command=_convert_weights)


def _convert_weights(arguments: argparse.Namespace) -> None:
    from pathlib import Path

    from bert_onnx.weights import convert_weights

    print(convert_weights(Path(arguments.folder)))


def _print_json(values: Any) -> None:
    print(json.dumps(values, ensure_ascii=False))


if __name__ == "__main__":
    sys.exit(main())
