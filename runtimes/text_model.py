"""An artifact's graph that takes text: strings in, predictions out, with no tokenizer beside the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bert_onnx.errors import RuntimeUnavailableError, UsageError
from bert_onnx.sentence_modules import SENTENCE
from bert_onnx.text_input import TRUNCATED
from runtimes.engines.base import RuntimeOptions
from runtimes.engines.ort.text import TextRuntime
from runtimes.pipelines.activations import find_activation
from runtimes.pipelines.base import Pipeline, PipelineParts
from runtimes.pipelines.batches import BatchInputs, BatchOptions, Outputs, Row, run_rows, stream_vectors
from runtimes.pipelines.classification import label_scores, ranked_labels
from runtimes.pipelines.encoding import check_texts
from runtimes.pipelines.results import Result
from runtimes.pipelines.sentence_pair import next_sentence
from runtimes.pipelines.sentences import DEFAULT_EMBEDDING, Embedding, EmbeddingOptions, SentencePipeline
from runtimes.selection.request import RuntimeRequest

if TYPE_CHECKING:
    from bert_onnx.artifact import Artifact, TextGraph

_BATCH = 32
#: Outputs that have an entry for every token.
_TOKENS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True, eq=False)
class TextOutputs(Result):
    """What the graph returns for one text, where a task has no shorter prediction.

    Args:
        input_ids: the tokens that it read [S], for multiple choice those of each choice [C, S].
        outputs: the model's outputs by name; without padding where they have a value for every token.
        truncated: the end of the text was not read.
    """

    input_ids: np.ndarray
    outputs: dict[str, np.ndarray]
    truncated: bool

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        named = {name: array.tolist() for name, array in self.outputs.items()}
        return {"input_ids": self.input_ids.tolist(), **named, TRUNCATED: self.truncated}


class TextModel(SentencePipeline):
    """Predicts with a graph that takes text. Use it as a context manager, or call `close`."""

    runtime: TextRuntime

    def __init__(self, parts: PipelineParts) -> None:
        super().__init__(parts)
        self._activation_fn = parts.activation_fn

    def run(self, texts: Sequence[str], pairs: Sequence[Any] | None = None) -> dict[str, np.ndarray]:
        """All outputs of one call, by name; see `TextRuntime.run`."""
        return self.runtime.run(texts, pairs)

    def __call__(
        self,
        texts: str | Sequence[str],
        pairs: str | Sequence[Any] | None = None,
        batch_size: int = _BATCH,
        prompt_name: str | None = None,
        prompt: str | None = None,
        truncate_dim: int | None = None,
    ) -> list[Result]:
        """A prediction for each text, in their order.

        Embeddings, labels and next sentences come as the pipelines of those tasks give them, others as `TextOutputs`.

        Args:
            texts: what to read.
            pairs: the second text of each; a single one goes with every text. For multiple choice, lists of choices,
                the same number for each text.
            batch_size: texts that are run together.
            prompt_name, prompt: what is put before texts, of models that have prompts.
            truncate_dim: of sentence embeddings; see `EmbeddingOptions`.

        Raises:
            InputError: something that is no text, or second texts that do not fit.
            UsageError: there is no such prompt.
        """
        options = BatchOptions.of_size(batch_size)
        first = [texts] if isinstance(texts, str) else list(texts)
        second = [pairs] * len(first) if isinstance(pairs, str) else pairs
        if not first:
            return []
        chosen = self._chosen(EmbeddingOptions(prompt_name, prompt, truncate_dim))
        prompted = self._inputs([chosen.prompt + text for text in check_texts(first)], second)
        if not self._embeds:
            return run_rows(prompted, options, lambda _, row: self._predict(row))
        return run_rows(
            prompted, options, lambda _, row: Embedding(chosen.finish(row[SENTENCE]), bool(np.any(row[TRUNCATED])))
        )

    def embed_stream(
        self,
        texts: Iterable[str],
        options: BatchOptions | None = None,
        done: Callable[[int], None] = lambda count: None,
        embedding: EmbeddingOptions = DEFAULT_EMBEDDING,
    ) -> Iterator[np.ndarray]:
        """Vectors [n, E] of one piece of `texts` after the other, in their order.

        Raises:
            InputError: something among `texts` is not a text.
            UsageError: the artifact makes no sentence embeddings, or there is no such prompt.
        """
        if not self._embeds:
            raise UsageError(f"this artifact ({self.task}) makes no sentence embeddings; call it instead.")
        chosen = self._chosen(embedding)

        def prepare(piece: list[str]) -> BatchInputs:
            return self._inputs([chosen.prompt + text for text in check_texts(piece)], outputs=[SENTENCE])

        vectors = stream_vectors(prepare, texts, SENTENCE, options or BatchOptions.of_size(_BATCH), done)
        return map(chosen.finish, vectors)

    @property
    def _embeds(self) -> bool:
        return SENTENCE in [port.name for port in self.runtime.outputs]

    def _inputs(
        self, texts: Sequence[str], pairs: Sequence[Any] | None = None, outputs: Sequence[str] | None = None
    ) -> BatchInputs:
        """The texts, sorted by characters, since tokens are not known before the graph runs."""
        feeds = self.runtime.feeds(texts, pairs)

        def run(batch: list[int]) -> Outputs:
            results = self.runtime.run_feeds({name: array[batch] for name, array in feeds.items()}, outputs)
            # An output may have no row for each text.
            return {name: array for name, array in results.items() if len(array) == len(batch)}

        lengths = [max(map(len, np.ravel(row))) for row in zip(*feeds.values(), strict=True)]
        return BatchInputs(lengths, run, "characters")

    def _predict(self, row: Row) -> Result:
        truncated = bool(np.any(row[TRUNCATED]))
        if self.task in ("text-classification", "text-ranking"):
            logits, name = row["logits"], self._activation_fn
            scores = label_scores(logits, self.config.problem_type) if name is None else find_activation(name)(logits)
            return ranked_labels(scores, self.config.id2label, None, truncated)
        if self.task == "next-sentence-prediction":
            return next_sentence(row["logits"], truncated)
        return self._outputs(row, truncated)

    def _outputs(self, row: Row, truncated: bool) -> TextOutputs:
        length = int(row["attention_mask"].sum(axis=-1).max())
        per_token = {port.name for port in self.runtime.outputs if "sequence_length" in port.axes[1:2]}
        named = {
            name: array[:length] if name in per_token else array
            for name, array in row.items()
            if name not in (*_TOKENS, TRUNCATED)
        }
        return TextOutputs(row["input_ids"][..., :length], named, truncated)


def open_text_model(
    artifact: Artifact, folder: Path, request: RuntimeRequest, load: Callable[..., Pipeline]
) -> TextModel:
    """The graph of `artifact` that takes text: of the variant or the precision that was named, else the first.

    Args:
        load: opens the same again, in another process.

    Raises:
        ArtifactError: the artifact has none.
        RuntimeUnavailableError: onnxruntime or its extensions are missing, or this processor would give wrong sums.
        UsageError: a runtime that cannot run it.
    """
    from bert_onnx.artifact.hub.fetching import fetch_graph
    from bert_onnx.config import BertConfig
    from runtimes.machine.processor import this_processor

    if request.runtime not in (None, TextRuntime.name):
        raise UsageError(f"{request.runtime} does not run graphs that take text; {TextRuntime.name} does.")
    manifest = artifact.manifest
    graph = _chosen(artifact, request)
    variant = manifest.variant(graph.variant)
    if variant.precision == "int8" and this_processor().saturates(variant.isa):
        raise RuntimeUnavailableError(
            f"the sums of {variant.name} would saturate on this processor, which has no VNNI, and its outputs would be "
            "wrong; use another variant, or export int8 for avx2."
        )
    fetch_graph(artifact, (graph.file, graph.data_file), request.offline)
    options = RuntimeOptions(threads=request.threads)
    parts = PipelineParts(
        task=manifest.task,
        runtime=TextRuntime.open(artifact.folder / graph.file, graph.inputs, graph.outputs, options),
        tokenizer=None,
        config=BertConfig.from_pretrained(artifact.folder),
        max_length=manifest.model_max_length,
        variant=graph.name,
        precision=variant.precision,
        why=f"a graph that takes text was asked for; {graph.name} holds {variant.name}.",
        folder=folder,
        request=request,
        load=load,
        sentence=manifest.sentence,
        activation_fn=manifest.options.activation_fn,
    )
    return TextModel(parts)


def _chosen(artifact: Artifact, request: RuntimeRequest) -> TextGraph:
    manifest = artifact.manifest
    if request.variant is not None or request.precision is None:
        name = request.variant
        by_name = [graph for graph in manifest.text_graphs if graph.name == name]
        return by_name[0] if by_name else manifest.text_graph(name)
    fitting = [g for g in manifest.text_graphs if manifest.variant(g.variant).precision == request.precision]
    if manifest.text_graphs and not fitting:
        raise UsageError(f"no graph of the artifact takes text in {request.precision}; export it with that precision.")
    return fitting[0] if fitting else manifest.text_graph()
