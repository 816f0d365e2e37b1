"""One line of the table of clients: a client on one head, every file of the artifact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

import bert_onnx
from benchmarks.compatibility.clients.heads import Head, Published
from benchmarks.compatibility.clients.tensors import TENSOR_CLIENTS, Arrays, Run
from benchmarks.compatibility.clients.texts import TEXT_CLIENTS, TextClient
from benchmarks.compatibility.clients.vectors import Case, differences
from bert_onnx.artifact import Variant
from export.targets import find_target

FP32 = "fp32"


@dataclass(frozen=True)
class Cell:
    """What a client gave of one file.

    Args:
        refused: what an error said; None where there was none.
        difference: the largest, of all outputs that it returns.
        cosine: the least of an output.
        outputs: names of those that were compared.
    """

    refused: str | None = None
    difference: float = 0.0
    cosine: float = 1.0
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    """A client on one head, by target and precision."""

    client: str
    task: str
    cells: dict[tuple[str, str], Cell] = field(default_factory=dict)


def measure_tensors(published: Published, cases: Sequence[Case]) -> list[Line]:
    """Every client that takes arrays."""
    return [
        _line(_called(name, published.head), published, lambda variant, opened=opened: _compare(opened, variant, cases))
        for name, opened in ((name, _opener(open_file, published)) for name, open_file in TENSOR_CLIENTS.items())
    ]


def measure_texts(published: Published) -> list[Line]:
    """Every client that takes texts and has something for this head."""
    return [
        _line(
            client.name,
            published,
            lambda variant, client=client: _ask(client, published, variant),
            lambda variant, client=client: not (client.reads_padding and find_target(variant.target).zero_padding),
        )
        for client in TEXT_CLIENTS
        if client.task == published.head.task
    ]


def _called(name: str, head: Head) -> str:
    return name if name != "optimum" else f"optimum, {head.ort_class or 'ORTModelForCustomTasks'}"


def _opener(open_file: Callable[..., Run], published: Published) -> Callable[[Variant], Run]:
    return lambda variant: open_file(published.folder, variant.file, published.head)


def _line(
    client: str,
    published: Published,
    measure: Callable[[Variant], Cell],
    fits: Callable[[Variant], bool] = lambda variant: True,
) -> Line:
    line = Line(client, published.head.task)
    for variant in filter(fits, published.manifest.variants):
        try:
            cell = measure(variant)
        except Exception as error:  # whatever another library raises is the finding
            said = str(error).strip().splitlines() or [""]
            cell = Cell(refused=f"{type(error).__name__}: {said[0]}")
        line.cells[variant.target, variant.precision] = cell
    return line


def _compare(opened: Callable[[Variant], Run], variant: Variant, cases: Sequence[Case]) -> Cell:
    run = opened(variant)
    figures = [figure for case in cases for figure in differences(case, run(case.inputs), variant.name)]
    names = tuple(dict.fromkeys(name for name, _, _ in figures))
    return Cell(None, max(one for _, one, _ in figures), min(one for _, _, one in figures), names)


def _ask(client: TextClient, published: Published, variant: Variant) -> Cell:
    """fp32 beside the checkpoint's own library; int8 beside what we make of the same file."""
    if variant.precision == FP32:
        expected: Arrays = {"result": client.library.ask(published.checkpoint)}
    else:
        with bert_onnx.load(published.folder, variant.name) as model:
            expected = {"result": client.library.ask_ours(model)}
    found, wanted = client.ask(published.folder, variant.file), expected["result"]
    if found.shape != wanted.shape:
        raise ValueError(f"the shape is {found.shape}, not {wanted.shape}")
    difference = float(np.abs(found.astype(np.float64) - wanted).max(initial=0.0))
    lengths = float(np.linalg.norm(found) * np.linalg.norm(wanted))
    return Cell(None, difference, float(found.ravel() @ wanted.ravel()) / lengths, ("result",))
