"""One row of the parity table: a checkpoint written by transformers, and what three programs return.

transformers saves the checkpoint, our exporter publishes an artifact of it and compares the graph on ONNX Runtime with
our eager model, and then transformers and our eager model run the cases that every export is verified on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

from bert_onnx.artifact.contract.parity import OutputParity
from bert_onnx.checkpoint import find_checkpoint
from bert_onnx.checkpoint.finding import sample_folder
from bert_onnx.family import FAMILIES, Family
from bert_onnx.sentence_modules import TOKENS, Pooling, SpladePooling
from bert_onnx.tasks import TASKS, Task, TaskOptions, find_task
from export.pipeline import export
from export.reference.load import load_eager
from export.reference.runtime import Reference
from export.request import ExportRequest
from export.verification.cases import verification_cases
from export.verification.rounding import strain

TINY, SMALL, SAMPLE = "tiny, random", "24 layers of 96, random", "all-MiniLM-L6-v2, trained"
BASE, LARGE = "BERT-base, random", "BERT-large, random"

_TINY_CONFIG: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
}
_CONFIGS: dict[str, dict[str, Any]] = {
    TINY: _TINY_CONFIG,
    SMALL: _TINY_CONFIG | {"hidden_size": 96, "num_hidden_layers": 24, "intermediate_size": 384},
    BASE: {},
    LARGE: {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
}
#: Standard deviation of every weight and bias. Tiny models have ten times what BERT starts with, so that a mistake
#: shows; large ones have that of trained weights, and attention that is not uniform.
_SCALES = {TINY: 0.2, SMALL: 0.2, BASE: 0.05, LARGE: 0.05}
_LABELLED = ("text-classification", "token-classification")
#: Values of a token's vector in late interaction.
_PROJECTED = 16


#: Changes that show what a family has of its own.
_NARROW: dict[str, dict[str, Any]] = {
    "electra": {"embedding_size": 16},
    "albert": {"embedding_size": 16},
    "modernbert": {
        **{"pad_token_id": 3, "bos_token_id": 1, "cls_token_id": 1, "eos_token_id": 2, "sep_token_id": 2},
        "local_attention": 8,
    },
}


def _tasks_of(family: Family) -> tuple[str, ...]:
    """One task for each class that the family has, and the tasks that make more of one."""
    return tuple(
        name
        for name, task in TASKS.items()
        if task.model_class in family.classes and name not in ("sparse-embedding", "late-interaction", "text-ranking")
    )


@dataclass(frozen=True)
class Row:
    """What one row measures: a head, on a model of a family, with changes to its config."""

    task: str
    model: str = TINY
    changes: Mapping[str, Any] = field(default_factory=dict)
    family: str = "bert"

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
    Row("feature-extraction", SMALL),
    Row("fill-mask", BASE),
    Row("question-answering", BASE),
    Row("feature-extraction", LARGE),
    Row("feature-extraction", SAMPLE),
    Row("sentence-similarity", SAMPLE),
)
#: Heads of the other families: a task for each class of transformers, tiny, and many layers.
FAMILY_ROWS = tuple(
    row
    for family in FAMILIES.values()
    if family.model_type != "bert"
    for row in (
        *(Row(task, TINY, _NARROW.get(family.model_type, {}), family.model_type) for task in _tasks_of(family)),
        Row("feature-extraction", SMALL, _NARROW.get(family.model_type, {}), family.model_type),
    )
)
QUICK_ROWS = (Row("feature-extraction"), Row("text-generation-with-past"))


@dataclass(frozen=True)
class Figure:
    """One output of one row.

    Args:
        name: the output; of the layers of a cache, the one whose graph uses up most of what is allowed.
        from_transformers: largest difference of our eager model from transformers.
        parity: the published graph against our eager model in float32 and float64, from the manifest.
        largest: largest magnitude of the eager output.
    """

    name: str
    from_transformers: float
    parity: OutputParity
    largest: float


@dataclass(frozen=True)
class Measured:
    """The figures of one row."""

    row: Row
    opset: int
    cases: int
    verdict: str
    figures: tuple[Figure, ...]


def measure(row: Row) -> Measured:
    """Export the model of `row`, which compares the graph with eager, and compare eager with transformers."""
    with TemporaryDirectory() as scratch, torch.no_grad():
        checkpoint, theirs = make_checkpoint(row, Path(scratch) / "checkpoint")
        artifact = export(ExportRequest(str(checkpoint), row.task, str(Path(scratch) / "artifact"))).artifact
        manifest = artifact.manifest
        task, options = find_task(manifest.task), manifest.options
        reference = TransformersModel(theirs, task, options)
        eager = load_eager(find_checkpoint(str(checkpoint)), task, options)
        ours = Reference(eager)
        from_transformers: dict[str, float] = {}
        largest: dict[str, float] = {}
        for case in verification_cases(task, eager.config, manifest.inputs):
            expected = reference.run(case.inputs) if _is_comparable(row, case.inputs) else {}
            seen = _seen(task, case.inputs)
            for name, output in ours.run(case.inputs).items():
                largest[name] = max(largest.get(name, 0.0), float(np.abs(output).max(initial=0.0)))
                difference = _difference(expected[name], output, seen) if name in expected else 0.0
                from_transformers[name] = max(from_transformers.get(name, 0.0), difference)
        variant = manifest.variants[0]
        worst: dict[str, OutputParity] = {}
        for one in sorted(variant.parity.outputs, key=strain):
            worst[one.name.partition(".")[0]] = one
        figures = tuple(
            Figure(family, _most(from_transformers, family), worst[family], _most(largest, family))
            for family in dict.fromkeys(port.name.partition(".")[0] for port in manifest.outputs)
        )
        return Measured(row, variant.opset, len(variant.parity.cases), variant.parity.verdict, figures)


def _difference(reference: np.ndarray, eager: np.ndarray, seen: np.ndarray | None) -> float:
    """Largest difference between transformers and our eager model.

    Args:
        seen: queries [B, S] that have something to look at; the outputs of others are arbitrary.
    """
    if seen is not None and eager.shape[: seen.ndim] == seen.shape:
        reference, eager = reference[seen], eager[seen]
    return float(np.abs(reference - eager).max(initial=0.0))


def _most(figures: Mapping[str, float], family: str) -> float:
    return max(figure for name, figure in figures.items() if name.partition(".")[0] == family)


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
    family = FAMILIES[row.family]
    model_class = getattr(transformers, family.classes[task.model_class])
    if row.model == SAMPLE:
        source = sample_folder()
        return source, model_class.from_pretrained(source, attn_implementation="eager").eval()
    fields = _CONFIGS[row.model] | {"is_decoder": task.decoder} | dict(row.changes)
    if row.task in _LABELLED:
        fields["num_labels"] = 3
    if row.task == "text-ranking":
        fields["num_labels"] = 1
    named = {family.fields.get(name, name): value for name, value in fields.items() if name not in family.lacks}
    config = transformers.AutoConfig.for_model(row.family, **named, attn_implementation="eager")
    model = model_class(config).eval()
    if row.task == "late-interaction":
        model.linear = nn.Linear(model.config.hidden_size, _PROJECTED, bias=False)
    _randomise(model, _SCALES[row.model])
    model.save_pretrained(folder)
    if row.task == "late-interaction":  # as Stanford's library saves it
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        (folder / "config.json").write_text(json.dumps(config | {"architectures": ["HF_ColBERT"]}), encoding="utf-8")
    return folder, model


def _randomise(model: nn.Module, scale: float) -> None:
    """Draw every parameter, biases and LayerNorms included: the usual zeros and ones would hide mistakes."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator) * scale
        parameter.copy_(noise + 1.0 if "norm" in name.lower() and name.endswith("weight") else noise)


class TransformersModel:
    """transformers' model, with sentence-transformers' pooling behind it, called and returning as our graphs do."""

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
        if self._task.embedding is not None:
            tokens = named[self._task.reads]
            if self._task.embedding == TOKENS:
                named[TOKENS] = nn.functional.normalize(self._model.linear(tokens), dim=-1)
            else:
                named[self._task.embedding] = self._pooled(tokens, tensors["attention_mask"])
        return {name: tensor.numpy() for name, tensor in named.items()}

    def _cache(self, past: list[Tensor]) -> Any:
        cache = DynamicCache.from_legacy_cache(tuple(zip(past[::2], past[1::2], strict=True)))
        return EncoderDecoderCache(cache, DynamicCache()) if self._model.config.add_cross_attention else cache

    def _pooled(self, states: Tensor, mask: Tensor) -> Tensor:
        from sentence_transformers import models
        from sentence_transformers.sparse_encoder import modules as sparse_modules

        features = {"token_embeddings": states.clone(), "attention_mask": mask}
        for module in self._options.modules:
            if isinstance(module, SpladePooling):
                layer = sparse_modules.SpladePooling(module.strategy, module.activation).eval()
            else:
                pools = isinstance(module, Pooling)
                layer = models.Pooling(states.shape[-1], pooling_mode=module.modes) if pools else models.Normalize()
            features = layer(features)
        return features["sentence_embedding"]


def to_json(measured: Measured) -> str:
    """One line for programs."""
    return json.dumps(
        {
            "head": measured.row.label,
            "family": measured.row.family,
            "model": measured.row.model,
            "opset": measured.opset,
            "cases": measured.cases,
            "verdict": measured.verdict,
            "outputs": {figure.name: asdict(figure) for figure in measured.figures},
        }
    )
