"""vectors.json: a few inputs and the eager model's outputs, so that a program in any language can check itself.

Tensors are written as `shape` and flat `values` in C order. An output that has a value for every token is sampled:
`offsets` then says where in the flat output each of `values` stands, always at a real token, never at padding. A
variant in int8 or int4 has outputs of its own beside the model's, as ONNX Runtime gave them here: how far it may be
from the model is the gate's matter, and a client must give what Python gives. 16 bits are near enough to the model's.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bert_onnx.artifact import Variant
from bert_onnx.errors import InputError
from bert_onnx.tasks import BATCH, CHOICES, ENCODER_SEQUENCE, PAST, PROMPT_LENGTH, SEQUENCE, Port, arrays_for
from bert_onnx.text_input import tells_pairs_apart
from bert_onnx.tokenization import FastTokenizer, load_tokenizer
from export.reference.runtime import Reference
from runtimes.engines.base import Runtime, RuntimeOptions
from runtimes.engines.inputs import Limits
from runtimes.engines.ort.cpu import OnnxRuntimeCpu
from runtimes.pipelines.batches import pad
from runtimes.pipelines.encoding import Window, encode, prompt_length

VECTORS_NAME = "vectors.json"
SCHEMA_VERSION = 1

#: Outputs with at most so many values are written in full, unless they have a value for every token.
_WHOLE = 4096
#: Values that are written of every other output.
_SAMPLED = 16
#: Below so many tokens a text is nothing but special ones: ids are drawn instead.
_SHORTEST = 8
_ENCODER = 2
_OWN_OUTPUTS = ("int8", "int4")


@dataclass(frozen=True)
class _Sample:
    name: str
    texts: tuple[str, ...]
    pairs: tuple[str, ...] | None = None


@dataclass(frozen=True)
class VectorCase:
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
    stage: Path,
    cases: Sequence[VectorCase],
    reference: Reference,
    longest: int,
    variants: Iterable[Variant] = (),
    prompt: str = "",
) -> Path:
    """Write `stage`/vectors.json.

    Args:
        stage: a staged artifact that has its graphs.
        cases: those of `vector_cases`.
        reference: the eager model.
        longest: length to which texts were cut, in tokens.
        variants: the graphs; those in int8 or int4 are run, too.
        prompt: what all texts begin with; the file says it.

    Raises:
        ArtifactError: a graph cannot be opened.
    """
    expected = [_outputs(reference, case) for case in cases]
    own: list[dict[str, Any]] = [{} for _ in cases]
    for variant in variants:
        if variant.precision not in _OWN_OUTPUTS:
            continue
        ports, exact = (reference.inputs, reference.outputs), RuntimeOptions(exact_integers=True)
        with OnnxRuntimeCpu.open(stage / variant.file, *ports, exact, reference.limits) as runtime:
            for case, outputs in zip(cases, own, strict=True):
                outputs[variant.name] = _outputs(runtime, case)
    head = {"schema_version": SCHEMA_VERSION, "reference": "eager PyTorch, float32", "max_length": longest}
    if prompt:
        head["prompt"] = prompt
    lines = [
        {
            "name": case.name,
            "texts": case.texts,
            "pairs": case.pairs,
            "inputs": {name: _tensor(array) for name, array in case.inputs.items()},
            "outputs": outputs,
            "variants": variant_outputs,
        }
        for case, outputs, variant_outputs in zip(cases, expected, own, strict=True)
    ]
    path = stage / VECTORS_NAME
    path.write_text(_json(head, lines), encoding="utf-8", newline="\n")
    return path


def vector_cases(
    stage: Path, ports: Sequence[Port], limits: Limits, longest: int, prompt: str = ""
) -> list[VectorCase]:
    """The inputs of the test vectors.

    Args:
        stage: a staged artifact that has its tokenizer; without one token ids are drawn, as for a text that the
            model has no tokens for.
        ports: the graph's inputs.
        limits: what the model's tables can look up.
        longest: length to which texts are cut, in tokens.
        prompt: what stands before every text, in `texts` as in the arrays.
    """
    readable = (stage / "tokenizer.json").is_file() and longest >= _SHORTEST
    tokenizer = load_tokenizer(stage, limits.vocab_size) if readable else None
    return [_make_case(sample, tokenizer, ports, limits, longest, prompt) for sample in _SAMPLES]


def _make_case(
    sample: _Sample,
    tokenizer: FastTokenizer | None,
    ports: Sequence[Port],
    limits: Limits,
    longest: int,
    prompt: str,
) -> VectorCase:
    """The arrays for `ports`. For multiple choice the texts of a sample are the choices of one question."""
    if tokenizer is not None:
        with suppress(InputError):  # a vocabulary without [MASK], or without a token for the unknown
            return _tokenized(sample, tokenizer, ports, limits, longest, prompt)
    rng = np.random.default_rng(zlib.crc32(sample.name.encode()))
    lengths = [min(len(text.split()) + 2, longest) for text in sample.texts]
    rows = [rng.integers(0, limits.vocab_size, length).tolist() for length in lengths]
    arrays = pad([Window(index, ids, [0] * len(ids)) for index, ids in enumerate(rows)], 0)
    arrays[PROMPT_LENGTH] = np.array([0], np.int64)
    return VectorCase(sample.name, None, None, _complete(arrays, ports))


def _tokenized(
    sample: _Sample, tokenizer: FastTokenizer, ports: Sequence[Port], limits: Limits, longest: int, prompt: str
) -> VectorCase:
    """The arrays of the texts of `sample`. Raises InputError for a text that the model has no tokens for."""
    pairs = sample.pairs if tells_pairs_apart(limits.type_vocab_size, ports) else None
    texts = tuple(prompt + text for text in sample.texts)
    windows = encode(tokenizer, list(texts), None if pairs is None else list(pairs), longest)
    arrays = pad(windows, tokenizer.padding_id)
    arrays[PROMPT_LENGTH] = np.array([prompt_length(tokenizer, prompt, longest)], np.int64)
    return VectorCase(sample.name, texts, pairs, _complete(arrays, ports))


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

    def make(port: Port, shape: tuple[int, ...]) -> np.ndarray:
        if port.name in arrays:
            return arrays[port.name].reshape(shape)
        if port.dtype == "int64":
            return np.ones(shape, np.int64)
        tenths = np.random.default_rng(zlib.crc32(port.name.encode())).integers(-20, 21, shape)  # short to write
        return (tenths / 10).astype(np.float32)

    return arrays_for(ports, lengths, make)


def _outputs(runtime: Runtime, case: VectorCase) -> dict[str, Any]:
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
