"""`bert-onnx run`: run an artifact on texts."""

from __future__ import annotations

import argparse
from typing import Any

from bert_onnx.cli.parsing import add_artifact, add_command, artifact_folder
from bert_onnx.cli.printing import print_json


def add(commands: Any) -> None:
    """Declare the command and its options."""
    parser = add_command(
        commands,
        "run",
        "run an artifact on texts",
        (
            'run artifacts/all-MiniLM-L6-v2 "The cat sat on the mat." "A dog ran off."',
            'run artifacts/qa "Who sat on the mat?" --pair "The cat sat on the mat." --top-k 3',
        ),
    )
    add_artifact(parser)
    parser.add_argument("texts", metavar="TEXT", nargs="+", help="texts; for question-answering the question")
    parser.add_argument("--pair", metavar="TEXT", help="the second text: context, next sentence, or hypothesis")
    parser.add_argument("--top-k", type=int, metavar="K", help="how many predictions (labels, tokens, spans)")
    parser.add_argument("--max-new-tokens", type=int, metavar="N", help="how many tokens to generate")
    parser.add_argument("--prompt-name", metavar="NAME", help="prompt to put before texts (embeddings)")
    parser.add_argument("--truncate-dim", type=int, metavar="N", help="values of a vector that are kept")
    parser.add_argument("--variant", metavar="NAME", help="which graph (default: the best here)")
    parser.add_argument("--runtime", metavar="NAME", help="what runs it (default: the best here)")
    parser.add_argument("--precision", metavar="P", help="fp32 (default), int8, bf16 ... or fastest")
    parser.add_argument("--threads", type=int, metavar="N", help="threads (default: what this machine allows)")
    parser.add_argument("--text-input", action="store_true", help="use a graph that takes text, no tokenizer beside it")
    parser.add_argument("--json", action="store_true", help="print the predictions as JSON, one line")
    parser.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> None:
    from bert_onnx.cli.predictions import show_predictions
    from runtimes.run_once import predict
    from runtimes.selection.request import RuntimeRequest

    predictions = predict(
        artifact_folder(arguments, whole=False),
        arguments.texts,
        pair=arguments.pair,
        top_k=arguments.top_k,
        max_new_tokens=arguments.max_new_tokens,
        prompt_name=arguments.prompt_name,
        truncate_dim=arguments.truncate_dim,
        request=RuntimeRequest(
            arguments.variant,
            arguments.runtime,
            arguments.precision,
            arguments.threads,
            text_input=arguments.text_input,
            offline=arguments.offline,
        ),
    )
    print_json([item.to_dict() for item in predictions]) if arguments.json else show_predictions(predictions)
