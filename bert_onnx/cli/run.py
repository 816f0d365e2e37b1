"""`bert-onnx run`: answer with an artifact."""

from __future__ import annotations

import argparse
from typing import Any

from bert_onnx.cli.printing import print_json


def add(commands: Any) -> None:
    """Tell the parser about it."""
    parser = commands.add_parser("run", help="answer with an artifact")
    parser.add_argument("folder", metavar="DIR", help="an artifact")
    parser.add_argument("texts", metavar="TEXT", nargs="+", help="texts; for question-answering the question")
    parser.add_argument("--pair", metavar="TEXT", help="the second text: context, next sentence, or hypothesis")
    parser.add_argument("--top-k", type=int, metavar="K", help="how many answers (fill-mask, classification, QA)")
    parser.add_argument("--max-new-tokens", type=int, metavar="N", help="how many tokens to generate")
    parser.add_argument("--variant", metavar="NAME", help="which graph (default: the best here)")
    parser.add_argument("--runtime", metavar="NAME", help="what runs it (default: the best here)")
    parser.add_argument("--precision", metavar="P", help="fp32 (default), int8, bf16 ... or fastest")
    parser.add_argument("--threads", type=int, metavar="N", help="threads (default: what this machine allows)")
    parser.add_argument("--text-input", action="store_true", help="use a graph that takes text, no tokenizer beside it")
    parser.add_argument("--json", action="store_true", help="print the answers as JSON, one line")
    parser.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> None:
    from bert_onnx.cli.render import show_answers
    from runtimes.run_once import answer
    from runtimes.selection.select import Wanted

    answers = answer(
        arguments.folder,
        arguments.texts,
        pair=arguments.pair,
        top_k=arguments.top_k,
        max_new_tokens=arguments.max_new_tokens,
        where=Wanted(arguments.variant, arguments.runtime, arguments.precision, arguments.threads),
        text_input=arguments.text_input,
    )
    print_json([item.to_dict() for item in answers]) if arguments.json else show_answers(answers)
