"""Tiny BERTs of transformers with random weights, exported the way other people export them."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import torch
import transformers

LAYERS, HEADS, HIDDEN, POSITIONS, VOCABULARY = 2, 4, 32, 40, 99
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True)
class Recipe:
    """One way to make a graph.

    Args:
        exporter: `torchscript` or `dynamo`, or with `optimum-` before it.
        opset: None for what the exporter chooses.
        attention: transformers' implementation, sdpa or eager.
        model: class of transformers.
        task: optimum's name for what the class does.
        options: of the BertConfig.
    """

    exporter: str
    opset: int | None = None
    attention: str = "sdpa"
    model: str = "BertModel"
    task: str = "feature-extraction"
    options: tuple[tuple[str, object], ...] = field(default=())

    def __str__(self) -> str:
        parts = [self.exporter, str(self.opset or ""), self.attention, self.model.removeprefix("BertFor")]
        return "-".join(part for part in [*parts, *(str(value) for _, value in self.options)] if part)


def make_model(recipe: Recipe) -> torch.nn.Module:
    """The model of `recipe`: every parameter random and different, biases and LayerNorm's included."""
    config = transformers.BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=64,
        max_position_embeddings=POSITIONS,
        attn_implementation=recipe.attention,
        **dict(recipe.options),
    )
    generator = torch.Generator().manual_seed(7)
    model = getattr(transformers, recipe.model)(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            drawn = torch.randn(parameter.shape, generator=generator) * 0.3
            parameter.copy_(drawn + 1.0 if "LayerNorm.weight" in name else drawn)
    return model


def export(recipe: Recipe, folder: Path) -> Path:
    """Export `recipe` into `folder`; returns the .onnx file."""
    with _quiet(), torch.no_grad():
        if recipe.exporter.startswith("optimum-"):
            return _optimum(recipe, folder)
        path = folder / f"{recipe}.onnx"
        make = torchscript if recipe.exporter == "torchscript" else _dynamo
        return make(make_model(recipe), recipe.opset, path)


def _examples() -> dict[str, torch.Tensor]:
    return {
        "input_ids": torch.randint(0, VOCABULARY, (2, 7), generator=torch.Generator().manual_seed(1)),
        "attention_mask": torch.ones(2, 7, dtype=torch.int64),
        "token_type_ids": torch.zeros(2, 7, dtype=torch.int64),
    }


def torchscript(
    model: torch.nn.Module,
    opset: int | None,
    path: Path,
    names: Sequence[str] = INPUTS,
    dynamic: bool = True,
    dtype: torch.dtype = torch.int64,
) -> Path:
    """torch's older exporter on the first inputs of `model`, which the graph calls `names`."""
    with _quiet(), torch.no_grad():
        torch.onnx.export(
            model,
            tuple(tensor.to(dtype) for tensor, _ in zip(_examples().values(), names, strict=False)),
            str(path),
            input_names=list(names),
            dynamic_axes={name: {0: "batch", 1: "sequence"} for name in names} if dynamic else None,
            opset_version=opset,
            dynamo=False,
        )
    return path


def _dynamo(model: torch.nn.Module, opset: int | None, path: Path) -> Path:
    batch, sequence = torch.export.Dim("batch"), torch.export.Dim("sequence")
    torch.onnx.export(
        model,
        (),
        str(path),
        kwargs=_examples(),
        dynamic_shapes={name: {0: batch, 1: sequence} for name in INPUTS},
        opset_version=opset,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    return path


def _optimum(recipe: Recipe, folder: Path) -> Path:
    """optimum's main_export on a saved model.

    optimum-onnx 0.1 always asks torch for its TorchScript exporter. `optimum-dynamo` is the same call with the other
    exporter: optimum's model patches, input names and axes, and torch's dynamo.
    """
    from optimum.exporters.onnx import main_export

    source, output = folder / "source", folder / "exported"
    make_model(recipe).save_pretrained(source)
    torch_export = torch.onnx.export

    def with_dynamo(*arguments: object, **options: object) -> object:
        changed = {**options, "dynamo": True, "external_data": False, "verbose": False}
        return torch_export(*arguments, **changed)  # type: ignore[arg-type]

    replaced = with_dynamo if recipe.exporter == "optimum-dynamo" else torch_export
    with mock.patch.object(torch.onnx, "export", replaced):
        main_export(
            str(source), str(output), task=recipe.task, opset=recipe.opset, do_validation=False, no_post_process=True
        )
    return output / "model.onnx"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Exporters talk a lot."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
