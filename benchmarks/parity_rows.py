"""One row of the parity table: a checkpoint written by transformers, its reference, and what three programs answer.

transformers saves the checkpoint, our exporter publishes an artifact of it, and then transformers, our eager model and
ONNX Runtime answer the cases that every export is verified on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

from bert_onnx.artifact import Artifact
from bert_onnx.checkpoint import find_checkpoint
from bert_onnx.checkpoint.finding import sample_folder
from bert_onnx.sentence_modules import Pooling
from bert_onnx.tasks import TASKS, Task, TaskOptions, find_task
from export.pipeline import export
from export.reference.load import load_eager
from export.reference.runtime import Reference
from export.request import ExportRequest
from export.verification.cases import verification_cases
from export.verification.tolerances import find_tolerance
from runtimes.engines.ort.cpu import OnnxRuntimeCpu

TINY, BASE, SAMPLE = "tiny, random", "BERT-base, random", "all-MiniLM-L6-v2, trained"

_TINY_CONFIG: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
}
#: Standard deviation of every weight and bias. Tiny models have ten times what BERT starts with, so that a mistake
#: shows; BERT-base has enough for attention that is not uniform.
_SCALES = {TINY: 0.2, BASE: 0.05}
_LABELLED = ("text-classification", "token-classification")


@dataclass(frozen=True)
class Row:
    """What one row measures: a head, on a model, with changes to its config."""

    task: str
    model: str = TINY
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The head, and what is special about its config."""
        names = {"relative_key": "relative key", "relative_key_query": "relative key and query"}
        notes = [names[self.changes["position_embedding_type"]]] if "position_embedding_type" in self.changes else []
        notes += ["cross-attention"] if self.changes.get("add_cross_attention") else []
        return f"{self.task} ({', '.join(notes)})" if notes else self.task


ROWS = (
    *(Row(task) for task in TASKS),
    Row("feature-extraction", TINY, {"position_embedding_type": "relative_key"}),
    Row("feature-extraction", TINY, {"position_embedding_type": "relative_key_query"}),
    Row("text-generation", TINY, {"add_cross_attention": True}),
    Row("text-generation-with-past", TINY, {"add_cross_attention": True}),
    Row("text-generation-with-past", TINY, {"position_embedding_type": "relative_key_query"}),
    Row("fill-mask", BASE),
    Row("question-answering", BASE),
    Row("feature-extraction", SAMPLE),
    Row("sentence-similarity", SAMPLE),
)
QUICK_ROWS = (Row("feature-extraction"), Row("text-generation-with-past"))


@dataclass
class Figure:
    """One output of one row.

    Args:
        name: the output; the layers of a cache are taken together.
        from_transformers: largest difference of our eager model from transformers.
        from_eager: largest difference of ONNX Runtime from our eager model.
        strain: largest share of the allowed difference that this used up in one case.
        largest: largest magnitude of the eager output.
    """

    name: str
    from_transformers: float = 0.0
    from_eager: float = 0.0
    strain: float = 0.0
    largest: float = 0.0

    def add(self, reference: np.ndarray | None, eager: np.ndarray, onnx: np.ndarray, seen: np.ndarray | None) -> None:
        """Take one case into account.

        Args:
            reference: None where transformers has no answer to compare with.
            seen: queries [B, S] that have something to look at; the answer to others is arbitrary.
        """
        if eager.size == 0:
            return
        largest, difference = float(np.abs(eager).max()), float(np.abs(onnx - eager).max())
        self.largest = max(self.largest, largest)
        self.from_eager = max(self.from_eager, difference)
        limit = find_tolerance("fp32", OnnxRuntimeCpu.name, self.name).limit(largest)
        self.strain = max(self.strain, difference / limit)
        if reference is None:
            return
        if seen is not None and eager.shape[: seen.ndim] == seen.shape:
            reference, eager = reference[seen], eager[seen]
        if eager.size:
            self.from_transformers = max(self.from_transformers, float(np.abs(reference - eager).max()))


@dataclass(frozen=True)
class Measured:
    """The figures of one row."""

    row: Row
    opset: int
    cases: int
    verdict: str
    figures: tuple[Figure, ...]


def measure(row: Row) -> Measured:
    """Export the model of `row` and compare the three programs on the verification cases."""
    with TemporaryDirectory() as scratch, torch.no_grad():
        checkpoint, theirs = make_checkpoint(row, Path(scratch) / "checkpoint")
        artifact = export(ExportRequest(str(checkpoint), row.task, str(Path(scratch) / "artifact"))).artifact
        manifest = artifact.manifest
        task, options = find_task(manifest.task), manifest.options
        reference = TransformersModel(theirs, task, options)
        eager = load_eager(find_checkpoint(str(checkpoint)), task, options)
        ours, figures, count = Reference(eager), {}, 0
        with _open(artifact, eager.config) as runtime:
            for case in verification_cases(task, eager.config, manifest.inputs):
                expected = reference.run(case.inputs) if _is_comparable(row, case.inputs) else {}
                eager_answer, answer = ours.run(case.inputs), runtime.run(case.inputs)
                seen = _seen(task, case.inputs)
                for port in manifest.outputs:
                    figure = figures.setdefault(family := port.name.partition(".")[0], Figure(family))
                    figure.add(expected.get(port.name), eager_answer[port.name], answer[port.name], seen)
                count += 1
        variant = manifest.variants[0]
        return Measured(row, variant.opset, count, variant.parity.verdict, tuple(figures.values()))


def embed_difference(texts: list[str]) -> float:
    """Largest difference between our embeddings of `texts` and those of sentence-transformers, for the sample."""
    import sentence_transformers

    from runtimes import load

    with TemporaryDirectory() as scratch:
        folder = export(ExportRequest("sample", "sentence-similarity", f"{scratch}/artifact")).artifact.folder
        with load(folder) as pipeline:
            ours = pipeline.embed(texts)
    library = sentence_transformers.SentenceTransformer(str(sample_folder()), device="cpu")
    return float(np.abs(ours - library.encode(texts)).max())


def _is_comparable(row: Row, inputs: Mapping[str, np.ndarray]) -> bool:
    """Whether both mean the same: with a cache, transformers' relative positions take every new token for the last."""
    relative = "position_embedding_type" in row.changes and find_task(row.task).cached
    return not relative or inputs["input_ids"].shape[1] == 1


def _seen(task: Task, inputs: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Which queries [B, S] of a decoder see a key at all; those that see none get an arbitrary answer."""
    if not task.decoder:
        return None
    length = inputs["input_ids"].shape[-1]
    return inputs["attention_mask"].cumsum(-1)[:, -length:] > 0


def make_checkpoint(row: Row, folder: Path) -> tuple[Path, nn.Module]:
    """A checkpoint folder and transformers' model of it."""
    task = find_task(row.task)
    model_class = getattr(transformers, task.model_class)
    if row.model == SAMPLE:
        source = sample_folder()
        return source, model_class.from_pretrained(source, attn_implementation="eager").eval()
    fields = (_TINY_CONFIG if row.model == TINY else {}) | {"is_decoder": task.decoder} | dict(row.changes)
    if row.task in _LABELLED:
        fields["num_labels"] = 3
    model = model_class(transformers.BertConfig(**fields, attn_implementation="eager")).eval()
    _randomise(model, _SCALES[row.model])
    model.save_pretrained(folder)
    return folder, model


def _randomise(model: nn.Module, scale: float) -> None:
    """Draw every parameter, biases and LayerNorms included: the usual zeros and ones would hide mistakes."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator) * scale
        parameter.copy_(noise + 1.0 if name.endswith("LayerNorm.weight") else noise)


@contextmanager
def _open(artifact: Artifact, limits: Any) -> Iterator[OnnxRuntimeCpu]:
    manifest = artifact.manifest
    with OnnxRuntimeCpu.open(artifact.path(), manifest.inputs, manifest.outputs, limits=limits) as runtime:
        yield runtime


class TransformersModel:
    """transformers' model, with sentence-transformers' pooling behind it, asked and answering as our graphs do."""

    def __init__(self, model: nn.Module, task: Task, options: TaskOptions) -> None:
        self._model, self._task, self._options = model, task, options

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by the names of our ports."""
        tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
        past = [tensors.pop(name) for name in list(tensors) if name.startswith("past_key_values.")]
        arguments: dict[str, Any] = dict(tensors)
        if self._task.decoder:
            arguments["use_cache"] = self._task.cached
        if self._task.cached:
            arguments["past_key_values"] = self._cache(past)
        result = self._model(**arguments)
        named = {name: value for name, value in result.items() if isinstance(value, Tensor)}
        if self._task.cached:
            cache = result.past_key_values
            layers = getattr(cache, "self_attention_cache", cache).layers
            for index, layer in enumerate(layers):
                named |= {f"present.{index}.key": layer.keys, f"present.{index}.value": layer.values}
        if self._task.name == "sentence-similarity":
            named["sentence_embedding"] = self._pooled(result.last_hidden_state, tensors["attention_mask"])
        return {name: tensor.numpy() for name, tensor in named.items()}

    def _cache(self, past: list[Tensor]) -> Any:
        cache = DynamicCache.from_legacy_cache(tuple(zip(past[::2], past[1::2], strict=True)))
        return EncoderDecoderCache(cache, DynamicCache()) if self._model.config.add_cross_attention else cache

    def _pooled(self, states: Tensor, mask: Tensor) -> Tensor:
        from sentence_transformers import models

        features = {"token_embeddings": states, "attention_mask": mask}
        for module in self._options.modules:
            pools = isinstance(module, Pooling)
            layer = models.Pooling(states.shape[-1], pooling_mode=module.modes) if pools else models.Normalize()
            features = layer(features)
        return features["sentence_embedding"]


def to_json(measured: Measured) -> str:
    """One line for programs."""
    return json.dumps(
        {
            "head": measured.row.label,
            "model": measured.row.model,
            "opset": measured.opset,
            "cases": measured.cases,
            "verdict": measured.verdict,
            "outputs": {figure.name: vars(figure) for figure in measured.figures},
        }
    )
