"""What clients are compared with: inputs of an artifact's vectors.json, outputs of transformers and of the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.compatibility.clients.heads import Published
from benchmarks.compatibility.clients.tensors import Arrays
from bert_onnx.tasks import SEQUENCE

_PAST = "past_key_values"


@dataclass(frozen=True)
class Expected:
    """One output: its shape, and its values at flat places of it."""

    shape: tuple[int, ...]
    places: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Case:
    """Inputs, and every output that is known of them, by name.

    Args:
        transformers: of the checkpoint in transformers, at all real tokens; without it in `eager`.
        eager: of vectors.json, which writes six digits.
        variants: of vectors.json for variants in int8, as ONNX Runtime gave them where it was written.
    """

    name: str
    inputs: Arrays
    transformers: dict[str, Expected]
    eager: dict[str, Expected]
    variants: dict[str, dict[str, Expected]]

    def expected(self, variant: str) -> dict[str, Expected]:
        """What a client must give of `variant`."""
        return self.variants.get(variant, {**self.eager, **self.transformers})


def read_cases(published: Published) -> list[Case]:
    """The cases of vectors.json, with what transformers makes of their inputs."""
    manifest = published.manifest
    on_tokens = {port.name: port.axes[1:2] == (SEQUENCE,) for port in manifest.outputs}
    document = json.loads((published.folder / "vectors.json").read_text(encoding="utf-8"))
    model = _eager_model(published)
    cases = []
    for case in document["cases"]:
        inputs = {port.name: _array(case["inputs"][port.name], port.dtype) for port in manifest.inputs}
        found = {} if model is None else _run(model, inputs)
        mask = inputs["attention_mask"].astype(bool)
        cases.append(
            Case(
                case["name"],
                inputs,
                {name: _known(found[name], mask if on_tokens[name] else None) for name in on_tokens if name in found},
                _written(case["outputs"]),
                {name: _written(outputs) for name, outputs in case["variants"].items()},
            )
        )
    return cases


def differences(case: Case, found: Arrays, variant: str) -> Iterator[tuple[str, float, float]]:
    """Name, largest difference and cosine of each output of `found` that is known.

    Raises:
        ValueError: another shape.
    """
    for name, expected in case.expected(variant).items():
        if name not in found:
            continue
        if found[name].shape != expected.shape:
            raise ValueError(f"{name} of {case.name} has the shape {found[name].shape}, not {expected.shape}")
        values = found[name].reshape(-1)[expected.places].astype(np.float64)
        difference = float(np.abs(values - expected.values).max(initial=0.0))
        lengths = float(np.linalg.norm(values) * np.linalg.norm(expected.values))
        yield name, difference, float(values @ expected.values) / lengths if lengths else 1.0


def _eager_model(published: Published) -> Any:
    """transformers' model; None where it has none, and for caches, which it takes as objects of its own."""
    import transformers

    architecture = published.head.architecture
    if architecture is None or published.head.task.endswith("-with-past"):
        return None
    return getattr(transformers, architecture).from_pretrained(published.checkpoint).eval()


def _run(model: Any, inputs: Arrays) -> dict[str, np.ndarray]:
    import torch

    with torch.no_grad():
        found = model(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    return {name: value.numpy() for name, value in found.items() if name != _PAST}


def _known(array: np.ndarray, mask: np.ndarray | None) -> Expected:
    real = np.ones(array.shape, bool) if mask is None else np.zeros(array.shape, bool)
    if mask is not None:
        real[mask] = True
    places = np.flatnonzero(real)
    return Expected(array.shape, places, array.reshape(-1)[places].astype(np.float64))


def _written(outputs: dict[str, Any]) -> dict[str, Expected]:
    return {
        name: Expected(
            tuple(tensor["shape"]),
            np.array(tensor.get("offsets", range(len(tensor["values"]))), np.int64),
            np.array(tensor["values"], np.float64),
        )
        for name, tensor in outputs.items()
    }


def _array(tensor: dict[str, Any], dtype: str) -> np.ndarray:
    return np.array(tensor["values"], dtype).reshape(tensor["shape"])
