"""The manifest: everything that an artifact says about itself, as frozen dataclasses and as stable JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import msgspec

from bert_onnx.artifact.contract.kinds import Count, Positive, Sha256
from bert_onnx.artifact.contract.parity import Parity
from bert_onnx.artifact.contract.passes import PassRecord
from bert_onnx.artifact.contract.quality import Quality
from bert_onnx.artifact.contract.quantization import Quantization
from bert_onnx.artifact.contract.text_graph import TextGraph
from bert_onnx.errors import ArtifactError
from bert_onnx.sentence_settings import SentenceSettings
from bert_onnx.source import Source
from bert_onnx.tasks import Port, TaskOptions

#: Raised whenever a field is added, removed or changes its meaning.
SCHEMA_VERSION = 6


@dataclass(frozen=True)
class FileRecord:
    """One file of the folder: its sha256 (64 hexadecimal digits) and its size in bytes."""

    sha256: Sha256
    size: Count


@dataclass(frozen=True)
class ModelLimits:
    """What a runtime checks inputs against, without reading config.json.

    Args:
        vocab_size: token ids lie in [0, vocab_size).
        max_position_embeddings: the longest sequence, in tokens, cached ones included.
        type_vocab_size: segment ids lie in [0, type_vocab_size).
        pad_token_id: id to pad with; None where the model has none.
        is_decoder: tokens attend to the left only.
    """

    vocab_size: Positive
    max_position_embeddings: Positive
    type_vocab_size: Positive
    pad_token_id: Count | None
    is_decoder: bool

    @property
    def longest_sequence(self) -> int:
        """Most tokens in a row."""
        return self.max_position_embeddings


@dataclass(frozen=True)
class Variant:
    """One .onnx file: a target and a precision.

    Args:
        name: stem of the file, `model` or `model_<variant>`.
        file: its path within the folder, with forward slashes.
        data_file: the file with its external data; None where the weights are inside.
        target: a row of the table of targets.
        precision: `fp32`, `fp16`, `int8` ...
        opset: version of the ai.onnx operator set.
        ir_version: version of the ONNX format.
        nodes: nodes in the graph, subgraphs included.
        size_bytes: file and external data together; `seal` fills it in.
        operators: how many nodes of each operator, by name.
        fused: how many fused operators of each kind.
        passes: the ledger, in the order in which the passes ran.
        excluded_nodes: nodes that quantization left in float.
        parity: the measured verdict.
        quality: what the gate measured on held-out text; None for fp32, which parity alone judges.
        quantization: how it was quantized; None where it was not.
    """

    name: str
    file: str
    data_file: str | None
    target: str
    precision: str
    opset: Positive
    ir_version: Positive
    nodes: Count
    size_bytes: Count
    operators: dict[str, Count]
    fused: dict[str, Count]
    passes: tuple[PassRecord, ...]
    excluded_nodes: tuple[str, ...]
    parity: Parity
    quality: Quality | None = None
    quantization: Quantization | None = None

    @property
    def isa(self) -> str | None:
        """The instruction set that the file is for; None where it suits all."""
        return None if self.quantization is None else self.quantization.isa

    @property
    def paths(self) -> tuple[str, ...]:
        """Its files within the folder."""
        return (self.file,) if self.data_file is None else (self.file, self.data_file)


@dataclass(frozen=True)
class Manifest:
    """An artifact's description of itself. It holds no times and no absolute paths: same input, same bytes.

    Args:
        schema_version: `SCHEMA_VERSION` of the program that wrote it.
        bert_onnx: version of bert-onnx that wrote it.
        tools: version of each tool that had a part in it, by name.
        source: where the weights came from.
        task: a row of `bert_onnx.tasks.TASKS`.
        options: what the user chose about the outputs.
        config: what inputs must satisfy.
        model_max_length: length to which texts are truncated, in tokens.
        inputs, outputs: the ports of every variant, in order.
        variants: the .onnx files; the first is the reference.
        sentence: prompts, similarity and length of vectors, of a model that embeds; prompts of one that ranks.
        text_graphs: variants with a tokenizer in front, which take text.
        files: a record of every file of the folder but manifest.json; `seal` fills it in.
    """

    schema_version: Positive
    bert_onnx: str
    tools: dict[str, str]
    source: Source
    task: str
    options: TaskOptions
    config: ModelLimits
    model_max_length: Positive
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    variants: tuple[Variant, ...]
    sentence: SentenceSettings = field(default_factory=SentenceSettings)
    text_graphs: tuple[TextGraph, ...] = ()
    files: dict[str, FileRecord] = field(default_factory=dict)

    @property
    def longest_text(self) -> int:
        """Most tokens of a text, special ones included: where texts are cut, and what the model has positions for."""
        return min(self.model_max_length, self.config.longest_sequence)

    @property
    def graph_files(self) -> frozenset[str]:
        """Files that belong to graphs, external data included."""
        graphs = (name for graph in self.text_graphs for name in (graph.file, graph.data_file) if name is not None)
        return frozenset((*(name for variant in self.variants for name in variant.paths), *graphs))

    def variant(self, name: str | None = None) -> Variant:
        """The variant called `name`; the first one for None.

        Raises:
            ArtifactError: there is no such variant; the message lists those that there are.
        """
        if name is None:
            return self.variants[0]
        for variant in self.variants:
            if variant.name == name:
                return variant
        names = ", ".join(variant.name for variant in self.variants)
        raise ArtifactError(f"the artifact has no variant {name!r}; it has {names}.")

    def text_graph(self, variant: str | None = None) -> TextGraph:
        """The graph that takes text, of the variant called `variant`; the first one for None.

        Raises:
            ArtifactError: there is none; the message lists the variants that have one.
        """
        for graph in self.text_graphs:
            if variant in (None, graph.variant):
                return graph
        if not self.text_graphs:
            raise ArtifactError("the artifact has no graph that takes text; export it with --text-input.")
        names = ", ".join(graph.variant for graph in self.text_graphs)
        raise ArtifactError(f"the variant {variant!r} has no graph that takes text; these have one: {names}.")

    def to_json(self) -> str:
        """Stable JSON: fields in the order of the classes, tables by key, two spaces, a newline at the end.

        Raises:
            ArtifactError: a figure is not finite.
        """
        try:
            return json.dumps(msgspec.to_builtins(self, order="deterministic"), indent=2, allow_nan=False) + "\n"
        except ValueError:
            raise ArtifactError("a figure of the manifest is not finite; such a graph cannot be published.") from None
