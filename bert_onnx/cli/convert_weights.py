"""`bert-onnx convert-weights`: turn a folder's pickled weights into model.safetensors."""

from __future__ import annotations

import argparse
from typing import Any

from bert_onnx.cli.parsing import add_command


def add(commands: Any) -> None:
    """Declare the command and its options."""
    parser = add_command(
        commands,
        "convert-weights",
        "turn a folder's pickled weights into model.safetensors",
        ("convert-weights path/to/checkpoint",),
    )
    parser.add_argument("folder", metavar="FOLDER", help="a folder with pytorch_model.bin")
    parser.set_defaults(command=_convert_weights)


def _convert_weights(arguments: argparse.Namespace) -> None:
    from pathlib import Path

    from bert_onnx.checkpoint import convert_checkpoint

    for path in convert_checkpoint(Path(arguments.folder)):
        print(path)
