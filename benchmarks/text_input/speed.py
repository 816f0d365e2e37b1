"""Time of a text graph beside a tokenizer library and the same graph, taking turns in one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Spread
from bert_onnx.artifact import Artifact
from bert_onnx.tokenization import load_tokenizer
from export.evaluation.data import built_in
from runtimes.engines.base import RuntimeOptions
from runtimes.engines.ort.cpu import OnnxRuntimeCpu
from runtimes.engines.ort.text import TextRuntime
from runtimes.pipelines.batches import pad
from runtimes.pipelines.encoding import encode

OUTPUT = "sentence_embedding"


@dataclass(frozen=True)
class Timing:
    """Milliseconds of a call both ways, and the ratio of text graph to library and graph, round by round."""

    texts: int
    tokens: int
    apart: Spread
    together: Spread
    ratio: Spread


@dataclass(frozen=True)
class Opening:
    """Milliseconds to open a session; bytes of the files."""

    apart: Spread
    together: Spread
    bytes_apart: int
    bytes_together: int


def measure_calls(folder: Path, counts: Sequence[int], rounds: int) -> list[Timing]:
    """One text and many: tokenizers library and `onnx/model.onnx`, against `onnx/model_text.onnx`."""
    manifest = Artifact.open(folder).manifest
    graph, tokenizer, longest = manifest.text_graph("model"), load_tokenizer(folder), manifest.model_max_length
    texts = [example.text for example in built_in("evaluation").examples]
    found = []
    with (
        OnnxRuntimeCpu.open(folder / "onnx/model.onnx", manifest.inputs, manifest.outputs) as tokens,
        TextRuntime.open(folder / graph.file, graph.inputs, graph.outputs) as text,
    ):
        for count in counts:
            batches = [texts[start : start + count] for start in range(0, len(texts) - count, count)]

            def apart(batch: list[str]) -> None:
                tokens.run(pad(encode(tokenizer, batch, None, longest), tokenizer.pad_token_id), [OUTPUT])

            def together(batch: list[str]) -> None:
                text.run(batch, outputs=[OUTPUT])

            times = [_turns((apart, together), batches[index % len(batches)]) for index in range(rounds + 5)][5:]
            length = sum(len(window.ids) for window in encode(tokenizer, texts, None, longest)) * count // len(texts)
            columns = list(zip(*times, strict=True))
            ratios = [second / first for first, second in times]
            found.append(Timing(count, length, _spread(columns[0]), _spread(columns[1]), _spread(ratios)))
    return found


def measure_opening(folder: Path, rounds: int) -> Opening:
    """A session of each, opened and closed in turn; the tokenizer's file is read for the first, too."""
    manifest = Artifact.open(folder).manifest
    graph, options = manifest.text_graph("model"), RuntimeOptions()

    def apart(_: object) -> None:
        load_tokenizer(folder)
        OnnxRuntimeCpu.open(folder / "onnx/model.onnx", manifest.inputs, manifest.outputs, options).close()

    def together(_: object) -> None:
        TextRuntime.open(folder / graph.file, graph.inputs, graph.outputs, options).close()

    times = [_turns((apart, together), None) for _ in range(rounds + 1)][1:]
    first, second = (_spread(column) for column in zip(*times, strict=True))
    sizes = (folder / "onnx/model.onnx").stat().st_size + (folder / "tokenizer.json").stat().st_size
    return Opening(first, second, sizes, graph.size_bytes)


def _turns(programs: tuple[Callable[..., None], ...], argument: object) -> tuple[float, ...]:
    """Milliseconds of each."""
    milliseconds = []
    for program in programs:
        started = time.perf_counter()
        program(argument)
        milliseconds.append(1000 * (time.perf_counter() - started))
    return tuple(milliseconds)


def _spread(values: Sequence[float]) -> Spread:
    """Median and the middle 80 per cent."""
    ordered = sorted(values)
    cut = len(ordered) // 10
    kept = ordered[cut : len(ordered) - cut] or ordered
    return Spread(Spread.of(ordered).median, kept[0], kept[-1])
