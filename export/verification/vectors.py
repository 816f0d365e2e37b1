"""vectors.json: a few inputs and the eager model's answers, so that a program in any language can check itself.

Tensors are written as `shape` and flat `values` in C order. An output that has a value for every token is sampled:
`offsets` then says where in the flat output each of `values` stands, always at a real token, never at padding. A
variant in int8 or int4 has answers of its own beside the model's, as ONNX Runtime gave them here: how far it may be
from the model is the gate's matter, and a client must give what Python gives. 16 bits are near enough to the model's.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bert_onnx.artifact import Variant
from bert_onnx.tasks import BATCH, CHOICES, ENCODER_SEQUENCE, PAST, SEQUENCE, Port, axis_length
from bert_onnx.tokenization import BertTokenizerFast, load_tokenizer
from runtimes.engines.base import Runtime, RuntimeOptions
from runtimes.engines.inputs import Limits
from runtimes.engines.ort.cpu import OnnxRuntimeCpu
from runtimes.pipelines.batches import pad
from runtimes.pipelines.encoding import Window, encode

VECTORS_NAME = "vectors.json"
SCHEMA_VERSION = 1

#: Outputs with at most so many values are written in full, unless they have a value for every token.
_WHOLE = 4096
#: Values that are written of every other output.
_SAMPLED = 16
#: Below so many tokens a text is nothing but special ones: ids are drawn instead.
_SHORTEST = 8
_ENCODER = 2
_OWN_ANSWERS = ("int8", "int4")


@dataclass(frozen=True)
class _Sample:
    name: str
    texts: tuple[str, ...]
    pairs: tuple[str, ...] | None = None


@dataclass(frozen=True)
class _Case:
    """A sample and its arrays; `texts` is None where no tokenizer made them."""

    name: str
    texts: tuple[str, ...] | None
    pairs: tuple[str, ...] | None
    inputs: dict[str, np.ndarray]


_SAMPLES = (
    _Sample("sentence", ("The cat sat on the mat.",)),
    _Sample("word", ("Hello",)),
    _Sample("scripts", ("Ünïcödé at the café: 北京, Москва, e\u0301 and 🙂!",)),
    _Sample("special token", ("Paris is the [MASK] of France.",)),
    _Sample("too long", (" ".join(["The river rises in the hills above the town and reaches the sea."] * 42),)),
    _Sample("pair", ("A man is playing a guitar.",), ("Somebody makes music.",)),
    _Sample(
        "padded",
        (
            "A dog ran off.",
            "How do I renew my passport when I live abroad?",
            "Renewing a passport from another country is done at the consulate, by post or in person.",
        ),
    ),
)


def write_vectors(
    stage: Path, reference: Runtime, limits: Limits, longest: int, variants: Iterable[Variant] = ()
) -> Path:
    """Write `stage`/vectors.json.

    Args:
        stage: a staged artifact that has its tokenizer (without one, token ids are drawn) and its graphs.
        reference: the eager model.
        limits: what its tables can look up.
        longest: length to which texts are cut, in tokens.
        variants: the graphs; those in int8 or int4 are run, too.

    Raises:
        ArtifactError: a graph cannot be opened.
    """
    cases = _make_cases(stage, reference.inputs, limits, longest)
    answers = [_answers(reference, case) for case in cases]
    own: list[dict[str, Any]] = [{} for _ in cases]
    for variant in variants:
        if variant.precision not in _OWN_ANSWERS:
            continue
        ports, exact = (reference.inputs, reference.outputs), RuntimeOptions(exact_integers=True)
        with OnnxRuntimeCpu.open(stage / variant.file, *ports, exact, limits) as runtime:
            for case, answer in zip(cases, own, strict=True):
                answer[variant.name] = _answers(runtime, case)
    head = {"schema_version": SCHEMA_VERSION, "reference": "eager PyTorch, float32", "max_length": longest}
    lines = [
        {
            "name": case.name,
            "texts": case.texts,
            "pairs": case.pairs,
            "inputs": {name: _tensor(array) for name, array in case.inputs.items()},
            "outputs": outputs,
            "variants": variant_outputs,
        }
        for case, outputs, variant_outputs in zip(cases, answers, own, strict=True)
    ]
    path = stage / VECTORS_NAME
    path.write_text(_json(head, lines), encoding="utf-8", newline="\n")
    return path


def vector_inputs(stage: Path, ports: Sequence[Port], limits: Limits, longest: int) -> Iterator[dict[str, np.ndarray]]:
    """What `write_vectors` will ask the reference; the same arguments."""
    for case in _make_cases(stage, ports, limits, longest):
        yield case.inputs


def _make_cases(stage: Path, ports: Sequence[Port], limits: Limits, longest: int) -> list[_Case]:
    tokenizer = load_tokenizer(stage) if (stage / "tokenizer.json").is_file() and longest >= _SHORTEST else None
    return [_make_case(sample, tokenizer, ports, limits, longest) for sample in _SAMPLES]


def _make_case(
    sample: _Sample, tokenizer: BertTokenizerFast | None, ports: Sequence[Port], limits: Limits, longest: int
) -> _Case:
    """The arrays for `ports`. For multiple choice the texts of a sample are the choices of one question."""
    pairs = sample.pairs if limits.type_vocab_size > 1 else None
    if tokenizer is None:
        rng = np.random.default_rng(zlib.crc32(sample.name.encode()))
        lengths = [min(len(text.split()) + 2, longest) for text in sample.texts]
        rows = [rng.integers(0, limits.vocab_size, length).tolist() for length in lengths]
        arrays = pad([Window(index, ids, [0] * len(ids)) for index, ids in enumerate(rows)], 0)
        return _Case(sample.name, None, None, _complete(arrays, ports))
    windows = encode(tokenizer, list(sample.texts), None if pairs is None else list(pairs), longest)
    return _Case(sample.name, sample.texts, pairs, _complete(pad(windows, tokenizer.pad_token_id), ports))


def _complete(arrays: dict[str, np.ndarray], ports: Sequence[Port]) -> dict[str, np.ndarray]:
    """`arrays` in the ranks of `ports`, with an empty cache and small states of an encoder where the graph has them."""
    rows, length = arrays["input_ids"].shape
    choices = CHOICES in ports[0].axes
    lengths = {
        BATCH: 1 if choices else rows,
        CHOICES: rows,
        SEQUENCE: length,
        PAST: 0,
        ENCODER_SEQUENCE: _ENCODER,
    }
    result = {}
    for port in ports:
        shape = tuple(axis_length(axis, lengths) for axis in port.axes)
        if port.name in arrays:
            result[port.name] = arrays[port.name].reshape(shape)
        elif port.dtype == "int64":
            result[port.name] = np.ones(shape, np.int64)
        else:  # tenths, so that they are short to write
            values = np.random.default_rng(zlib.crc32(port.name.encode())).integers(-20, 21, shape)
            result[port.name] = (values / 10).astype(np.float32)
    return result


def _answers(runtime: Runtime, case: _Case) -> dict[str, Any]:
    outputs = runtime.run(case.inputs)
    mask = case.inputs["attention_mask"]
    return {port.name: _output(port, outputs[port.name], mask) for port in runtime.outputs}


def _output(port: Port, array: np.ndarray, mask: np.ndarray) -> dict[str, Any]:
    """An output in full, or its values at places that are spread evenly over the real tokens."""
    if SEQUENCE not in port.axes and array.size <= _WHOLE:
        return _tensor(array)
    real = np.ones(array.shape, bool)
    if SEQUENCE in port.axes:
        at = port.axes.index(SEQUENCE)
        tokens = mask.reshape(array.shape[0], -1)[:, -array.shape[at] :] > 0  # [B, S] of this output
        real &= tokens.reshape(array.shape[0], *[1] * (at - 1), array.shape[at], *[1] * (array.ndim - at - 1))
    places = np.flatnonzero(real)
    offsets = places[np.unique(np.linspace(0, places.size - 1, min(_SAMPLED, places.size)).astype(np.int64))]
    return {"shape": list(array.shape), "offsets": offsets.tolist(), "values": _numbers(array.ravel()[offsets])}


def _tensor(array: np.ndarray) -> dict[str, Any]:
    return {"shape": list(array.shape), "values": _numbers(array.ravel())}


def _numbers(values: np.ndarray) -> list[int] | list[float]:
    """Integers as they are; floats with six digits, which is more than a client can differ by."""
    if values.dtype.kind == "i":
        return [int(value) for value in values]
    return [float(f"{value:.6g}") for value in values]


def _json(head: dict[str, Any], cases: list[dict[str, Any]]) -> str:
    """One case a line, so that a change shows where it is."""

    def dump(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)

    lines = ",\n".join(dump(case) for case in cases)
    return f'{dump(head)[:-1]},\n"cases":[\n{lines}\n]}}\n'
