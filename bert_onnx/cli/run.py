"""`bert-onnx run`: run an artifact on texts."""

from __future__ import annotations

import argparse
from typing import Any

from bert_onnx.cli.parsing import add_artifact, add_command, add_runtime_options, artifact_folder, text
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
            'run artifacts/reranker "The cat sat on the mat." "A dog ran off." --query "Who sat?"',
            'run artifacts/nli "The cat sat on the mat." --labels animals,politics',
        ),
    )
    add_artifact(parser)
    parser.add_argument(
        "texts",
        type=text,
        metavar="TEXT",
        nargs="+",
        help="texts; for question-answering the question, with --query documents",
    )
    parser.add_argument(
        "--pair", type=text, metavar="TEXT", help="the second text: context, next sentence, or hypothesis"
    )
    parser.add_argument(
        "--top-k", type=int, metavar="K", help="how many predictions (labels, tokens, spans, documents)"
    )
    parser.add_argument(
        "--query", type=text, metavar="TEXT", help="rank the texts, which are documents, for it (ranking)"
    )
    parser.add_argument(
        "--labels", type=text, metavar="A,B,C", help="judge texts by these labels (classification, by NLI models)"
    )
    parser.add_argument("--multi-label", action="store_true", help="with --labels: several of them may be right")
    parser.add_argument(
        "--hypothesis-template", type=text, metavar="TEXT", help='with --labels (default: "This example is {}.")'
    )
    parser.add_argument("--function-to-apply", metavar="F", help="what makes scores: sigmoid, softmax or none")
    parser.add_argument("--max-new-tokens", type=int, metavar="N", help="how many tokens to generate")
    parser.add_argument("--prompt-name", metavar="NAME", help="prompt to put before texts (embeddings, ranking)")
    parser.add_argument("--truncate-dim", type=int, metavar="N", help="values of a vector that are kept")
    parser.add_argument("--variant", metavar="NAME", help="which graph (default: the best here)")
    add_runtime_options(parser)
    parser.add_argument("--text-input", action="store_true", help="use a graph that takes text, no tokenizer beside it")
    parser.add_argument("--json", action="store_true", help="print the predictions as JSON, one line")
    parser.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> None:
    from bert_onnx.cli.predictions import show_predictions
    from runtimes.run_once import RunOptions, predict
    from runtimes.selection.request import RuntimeRequest

    options = RunOptions(
        pair=arguments.pair,
        top_k=arguments.top_k,
        max_new_tokens=arguments.max_new_tokens,
        prompt_name=arguments.prompt_name,
        truncate_dim=arguments.truncate_dim,
        query=arguments.query,
        labels=arguments.labels,
        hypothesis_template=arguments.hypothesis_template,
        multi_label=arguments.multi_label or None,
        function_to_apply=arguments.function_to_apply,
    )
    predictions = predict(
        artifact_folder(arguments, whole=False),
        arguments.texts,
        options,
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
